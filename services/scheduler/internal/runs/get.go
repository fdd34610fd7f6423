package runs

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	maxWait = 60 * time.Second
	// maxChain bounds how many continuations of a run are followed.
	maxChain = 50
)

// GetRun tells how a run is. One who does not wait may get what was told a moment ago.
func (s *Service) GetRun(ctx context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	if req.GetRunId() == "" || req.GetWait().AsDuration() > 0 {
		return s.getRun(ctx, req)
	}
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	run, err := s.recent.get(ctx, req.GetRunId(), func(ctx context.Context) (*schedulerv1.Run, error) {
		res, err := s.getRun(ctx, &schedulerv1.GetRunRequest{TargetId: t.ID, RunId: req.GetRunId()})
		return res.GetRun(), err
	})
	if err != nil {
		return nil, err
	}
	if run.GetTargetId() != t.ID || req.GetWorkflowId() != "" && run.GetWorkflowId() != req.GetWorkflowId() {
		return nil, errNoRun
	}
	return &schedulerv1.GetRunResponse{Run: run}, nil
}

func (s *Service) getRun(ctx context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	f, err := s.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	wait, cancel := context.WithTimeout(ctx, min(max(req.GetWait().AsDuration(), 0), maxWait))
	defer cancel()
	go func() {
		select {
		case <-s.deps.Draining:
			cancel()
		case <-wait.Done():
		}
	}()
	asked := f.runID
	for range maxChain {
		if f, err = s.wait(ctx, wait, f); err != nil {
			return nil, err
		}
		next := f.description.GetWorkflowExecutionInfo()
		if next.GetStatus() != enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW {
			break
		}
		if f, err = s.continuation(ctx, f); err != nil {
			return nil, err
		}
	}
	run, err := s.tell(ctx, f)
	if err != nil {
		return nil, err
	}
	run.RunId = asked
	return &schedulerv1.GetRunResponse{Run: run}, nil
}

// wait returns f as it is when it has closed or the wait is over.
func (s *Service) wait(ctx, wait context.Context, f found) (found, error) {
	open := func() bool { return !closed(f) }
	if !open() || wait.Err() != nil {
		return f, nil //nolint:nilerr // the end of the wait is no failure
	}
	events := f.client.GetWorkflowHistory(wait, f.workflowID, f.runID, true, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if events.HasNext() {
		if _, err := events.Next(); err != nil && wait.Err() == nil {
			return f, away(err)
		}
	}
	return s.find(ctx, f.target.ID, f.workflowID, f.runID)
}

func closed(f found) bool {
	_, over := outcomes[f.description.GetWorkflowExecutionInfo().GetStatus()]
	return over
}

// continuation is the run that goes on with f's work.
func (s *Service) continuation(ctx context.Context, f found) (found, error) {
	events := f.client.GetWorkflowHistory(ctx, f.workflowID, f.runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	event, err := events.Next()
	if err != nil {
		return f, away(err)
	}
	next := event.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
	return s.find(ctx, f.target.ID, f.workflowID, next)
}

// tell describes a run completely, and writes down its end when that is news.
func (s *Service) tell(ctx context.Context, f found) (*schedulerv1.Run, error) {
	info := f.description.GetWorkflowExecutionInfo()
	run := fromInfo(info)
	if err := s.addStarter(ctx, f.runID, run); err != nil {
		return nil, err
	}
	outcome, over := outcomes[info.GetStatus()]
	if !over {
		return run, addPending(ctx, f, run)
	}
	if err := addEnd(ctx, f.client, run); err != nil {
		return nil, err
	}
	fact := store.Run{RunID: f.runID, WorkflowID: f.workflowID, TargetID: f.target.ID, OrgID: f.target.OrgID}
	return run, s.deps.Record.Closed(ctx, fact, outcome, info.GetCloseTime().AsTime())
}

// addStarter says who started a run and where they listen, as far as that was written down.
func (s *Service) addStarter(ctx context.Context, runID string, run *schedulerv1.Run) error {
	known, err := s.deps.Store.Run(ctx, runID)
	if fault.NotFound.Is(err) {
		return nil
	}
	if err != nil {
		return err
	}
	run.SessionId, run.ProgressTokenJson = known.SessionID, known.ProgressToken
	return nil
}
