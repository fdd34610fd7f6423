package runs

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	sweepEvery = 5 * time.Second
	sweepBatch = 100
	// sweepRounds bounds how many batches one sweep goes through when many runs ended at
	// once, as after a bulk operation.
	sweepRounds = 20
	pruneEvery  = time.Hour
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

// sweep looks at the open runs that nobody has looked at for longest, and goes on while
// it finds many that ended.
func (s *Service) sweep(ctx context.Context) error {
	for range sweepRounds {
		ended, err := s.sweepOnce(ctx)
		if err != nil || ended < sweepBatch/2 {
			return err
		}
	}
	return nil
}

func (s *Service) sweepOnce(ctx context.Context) (ended int, err error) {
	now := s.deps.Now()
	runs, err := s.deps.Store.RunsToCheck(ctx, now.Add(-sweepEvery), now, sweepBatch)
	if err != nil {
		return 0, err
	}
	byOrg := map[string][]store.Run{}
	for _, run := range runs {
		byOrg[run.OrgID] = append(byOrg[run.OrgID], run)
	}
	for org, theirs := range byOrg {
		suspects, err := s.notOpen(ctx, org, theirs)
		if err != nil {
			return ended, err
		}
		for _, run := range suspects {
			over, err := s.look(ctx, run)
			if err != nil {
				return ended, err
			}
			if over {
				ended++
			}
		}
	}
	return ended, nil
}

// notOpen leaves out the runs that Temporal lists as open, which is one question for all.
// The list may be late; then the next sweep finds what has ended.
func (s *Service) notOpen(ctx context.Context, org string, runs []store.Run) ([]store.Run, error) {
	c, err := s.deps.Namespaces.Client(ctx, org)
	if err != nil {
		return nil, err
	}
	ids := make([]string, len(runs))
	for i, run := range runs {
		ids[i] = quote(run.RunID)
	}
	listed, err := c.ListWorkflow(ctx, &workflowservice.ListWorkflowExecutionsRequest{
		PageSize: int32(len(runs)), Query: "RunId IN (" + strings.Join(ids, ", ") + ")", //nolint:gosec // at most sweepBatch
	})
	if namespaces.IsNotFound(err) {
		return runs, nil
	}
	if err != nil {
		return nil, err
	}
	open := map[string]bool{}
	for _, info := range listed.GetExecutions() {
		_, over := outcomes[info.GetStatus()]
		open[info.GetExecution().GetRunId()] = !over
	}
	return slices.DeleteFunc(runs, func(r store.Run) bool { return open[r.RunID] }), nil
}

// look says whether a run is over, and writes it down.
func (s *Service) look(ctx context.Context, run store.Run) (over bool, _ error) {
	c, err := s.deps.Namespaces.Client(ctx, run.OrgID)
	if err != nil {
		return false, err
	}
	d, err := c.DescribeWorkflowExecution(ctx, run.WorkflowID, run.RunID)
	if namespaces.IsNotFound(err) {
		return true, s.deps.Record.Closed(ctx, run, Terminated, s.deps.Now()) // retention or an operator took it
	}
	if err != nil {
		return false, err
	}
	info := d.GetWorkflowExecutionInfo()
	outcome, over := outcomes[info.GetStatus()]
	if !over {
		return false, nil
	}
	if outcome == Terminated { // whose force it was, only the event says
		told := fromInfo(info)
		if err := addEnd(ctx, c, told); err != nil {
			return false, err
		}
		if told.GetStatus() == schedulerv1.RunStatus_RUN_STATUS_CANCELED {
			outcome = Canceled
		}
	}
	return true, s.deps.Record.Closed(ctx, run, outcome, info.GetCloseTime().AsTime())
}
