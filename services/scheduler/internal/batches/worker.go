package batches

import (
	"context"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/poller"
)

const (
	// windowsAtOnce bounds the batches that one process brings forward; others wait.
	windowsAtOnce = 100
	tendEvery     = time.Minute
	// uploadLimit is how long inputs may take to come.
	uploadLimit = time.Hour
	oldBatches  = 20
)

// Run steers batches and forgets old ones until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { s.poll(ctx); return nil })
	group.Go(func() error { s.tend(ctx); return nil })
	return group.Wait()
}

// poll keeps one worker up until ctx ends.
func (s *Service) poll(ctx context.Context) {
	poller.Job{
		Name: "batches", Client: s.system, Queue: flow.BatchesQueue, Log: s.deps.Log,
		Options: func(ctx context.Context) (worker.Options, error) {
			return worker.Options{BackgroundActivityContext: ctx, MaxConcurrentActivityExecutionSize: windowsAtOnce}, nil
		},
		Register: func(w worker.Registry) {
			w.RegisterWorkflowWithOptions(flow.Batch, workflow.RegisterOptions{Name: flow.BatchWorkflow})
			w.RegisterActivityWithOptions(s.Advance, activity.RegisterOptions{Name: flow.AdvanceBatch})
		},
	}.Run(ctx)
}

// tend takes up batches whose starter died before Temporal knew, and forgets those that
// nobody needs.
func (s *Service) tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		if err := s.tendOnce(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "batches were not all looked after", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Service) tendOnce(ctx context.Context) error {
	c, err := s.system(ctx)
	if err != nil {
		return err
	}
	ids, err := s.deps.Store.BatchesUnderWay(ctx)
	if err != nil {
		return err
	}
	for _, batchID := range ids {
		if _, err := c.ExecuteWorkflow(ctx, steering(batchID), flow.BatchWorkflow, batchID); err != nil {
			return err
		}
	}
	now := s.deps.Now()
	old, err := s.deps.Store.OldBatches(ctx, now.Add(-s.deps.Retention), now.Add(-uploadLimit), oldBatches)
	if err != nil {
		return err
	}
	for _, b := range old {
		if err := s.deps.Store.DeleteBatch(ctx, b.ID); err != nil {
			return err
		}
	}
	return nil
}
