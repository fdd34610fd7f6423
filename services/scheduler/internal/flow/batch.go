package flow

import (
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// BatchWake is the signal that says that somebody has paused, resumed, cancelled or
// retried a batch. What exactly is in the rows.
const BatchWake = "wake"

// AdvanceBatch is the activity that brings a batch forward by one window of items.
const AdvanceBatch = "AdvanceBatch"

// BatchStep is how a batch is after a window.
type BatchStep struct {
	// Done says that every item has ended.
	Done bool `json:"done"`
	// Paused says that nothing may start now.
	Paused bool `json:"paused"`
}

const (
	// windowLimit is above the longest window, which ends by itself; a run in it may
	// wait for a person, and is then met again in the next window.
	windowLimit = time.Hour
	// batchHeartbeat is how long the death of the process that runs a window goes
	// unnoticed.
	batchHeartbeat = 10 * time.Second
	// pausedLook is how often a paused batch is looked at, in case the signal was lost.
	pausedLook = 5 * time.Minute
	// windowsPerHistory bounds a history.
	windowsPerHistory = 100
)

// Batch brings a batch to its end, window by window. Items are runs of their own and
// their states are rows: nothing here grows with their number.
func Batch(ctx workflow.Context, batchID string) error {
	window := workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: windowLimit, HeartbeatTimeout: batchHeartbeat,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 300 * time.Millisecond, BackoffCoefficient: 1.7, MaximumInterval: 10 * time.Second},
	})
	wake := workflow.GetSignalChannel(ctx, BatchWake)
	for range windowsPerHistory {
		for wake.ReceiveAsync(nil) { // the rows are read after this
		}
		var now BatchStep
		if err := act(window, AdvanceBatch, &now, batchID); err != nil {
			return err
		}
		switch {
		case now.Paused:
			wake.ReceiveWithTimeout(ctx, pausedLook, nil)
		case now.Done && wake.Len() == 0:
			return nil
		}
	}
	return workflow.NewContinueAsNewError(ctx, BatchWorkflow, batchID)
}
