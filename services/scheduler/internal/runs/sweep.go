package runs

import (
	"context"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	sweepEvery = 5 * time.Second
	sweepBatch = 100
	pruneEvery = time.Hour
)

// Run completes the picture of runs that ended without anybody here seeing it
// (timeouts, terminations, tools), and forgets old ones. It returns when ctx ends.
func (s *Service) Run(ctx context.Context) error {
	sweep, prune := time.NewTicker(sweepEvery), time.NewTicker(pruneEvery)
	defer sweep.Stop()
	defer prune.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-sweep.C:
			s.warn(ctx, "open runs were not all looked at", s.sweep(ctx))
		case <-prune.C:
			s.warn(ctx, "old runs were not forgotten", s.deps.Store.PruneRuns(ctx, s.deps.Now().Add(-s.deps.Retention)))
		}
	}
}

func (s *Service) warn(ctx context.Context, text string, err error) {
	if err != nil && ctx.Err() == nil {
		s.deps.Log.WarnContext(ctx, text, "error", err)
	}
}

// sweep looks at the open runs that nobody has looked at for longest.
func (s *Service) sweep(ctx context.Context) error {
	now := s.deps.Now()
	runs, err := s.deps.Store.RunsToCheck(ctx, now.Add(-sweepEvery), now, sweepBatch)
	if err != nil {
		return err
	}
	for _, run := range runs {
		if err := s.look(ctx, run); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) look(ctx context.Context, run store.Run) error {
	c, err := s.deps.Namespaces.Client(ctx, run.OrgID)
	if err != nil {
		return err
	}
	d, err := c.DescribeWorkflowExecution(ctx, run.WorkflowID, run.RunID)
	if namespaces.IsNotFound(err) {
		return s.deps.Record.Closed(ctx, run, Terminated, s.deps.Now()) // retention or an operator took it
	}
	if err != nil {
		return err
	}
	info := d.GetWorkflowExecutionInfo()
	if outcome, over := outcomes[info.GetStatus()]; over {
		return s.deps.Record.Closed(ctx, run, outcome, info.GetCloseTime().AsTime())
	}
	return nil
}
