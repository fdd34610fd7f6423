package flow

import (
	"context"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// StopInput is a run that somebody wants to end.
type StopInput struct {
	TargetID   string `json:"target_id"`
	OrgID      string `json:"org_id"`
	WorkflowID string `json:"workflow_id"`
	RunID      string `json:"run_id"`
	// Grace is how long the run may do nothing new before it is ended by force.
	Grace time.Duration `json:"grace"`
	// Longest is how long it may clean up in all.
	Longest time.Duration `json:"longest"`
}

// StopLook is how a run is that was asked to end.
type StopLook struct {
	Over bool `json:"over"`
	// Busy says that it has begun something since, or still does.
	Busy bool `json:"busy"`
}

// StopSteps are the local activities of Stop. Each may run more than once.
type StopSteps interface {
	// AskToEnd asks the run to end and takes its open questions back.
	AskToEnd(ctx context.Context, in StopInput) error
	// LookAtEnd looks what the run has done since it was asked and since the last look.
	LookAtEnd(ctx context.Context, in StopInput, asked, last time.Time) (StopLook, error)
	// EndByForce terminates the run with StopReason.
	EndByForce(ctx context.Context, in StopInput) error
}

// Stop asks a run to end, gives it time to clean up, and ends it by force when it does
// nothing more, or does so for too long.
func Stop(ctx workflow.Context, in StopInput) error {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: 10 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 300 * time.Millisecond, BackoffCoefficient: 1.7, MaximumInterval: 10 * time.Second},
	})
	if err := stopStep(ctx, "AskToEnd", nil, in); err != nil {
		return err
	}
	asked := workflow.Now(ctx)
	for last, end := asked, asked.Add(in.Longest); last.Before(end); last = workflow.Now(ctx) {
		if err := workflow.Sleep(ctx, min(in.Grace, end.Sub(last))); err != nil {
			return err
		}
		var look StopLook
		if err := stopStep(ctx, "LookAtEnd", &look, in, asked, last); err != nil {
			return err
		}
		if look.Over {
			return nil
		}
		if !look.Busy {
			break
		}
	}
	return stopStep(ctx, "EndByForce", nil, in)
}

func stopStep(ctx workflow.Context, name string, result any, args ...any) error {
	return workflow.ExecuteLocalActivity(ctx, name, args...).Get(ctx, result)
}
