package runs

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	maxWait = 60 * time.Second
	// timeToAnswer is kept of a call's deadline.
	timeToAnswer = time.Second
	// maxChain bounds how many continuations of a run are followed.
	maxChain = 50
)

// GetRun tells how a run is. One who does not wait may get what was told a moment ago.
func (s *Service) GetRun(ctx context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	if req.GetRunId() == "" || req.GetWait().AsDuration() > 0 {
		return s.getRun(ctx, req)
	}
	t, err := s.recentOwner(ctx, req)
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

// recentOwner is owner for one who may be told what was so a moment ago.
func (s *Service) recentOwner(ctx context.Context, req *schedulerv1.GetRunRequest) (store.Target, error) {
	if req.GetTargetId() == "" {
		return s.owner(ctx, req.GetTargetId(), "", req.GetRunId())
	}
	return s.deps.Store.RecentTarget(ctx, req.GetTargetId())
}

func (s *Service) getRun(ctx context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	f, err := s.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	wait, cancel := s.waiting(ctx, req.GetWait().AsDuration())
	defer cancel()
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

// waiting is a context for as long as a caller wants to wait, which leaves time to
// answer before the call's own deadline, and ends before the process does.
func (s *Service) waiting(ctx context.Context, wanted time.Duration) (context.Context, context.CancelFunc) {
	wanted = min(max(wanted, 0), maxWait)
	if deadline, ok := ctx.Deadline(); ok {
		wanted = min(wanted, time.Until(deadline)-timeToAnswer)
	}
	wait, cancel := context.WithTimeout(ctx, wanted)
	go func() {
		select {
		case <-s.deps.Draining:
			cancel()
		case <-wait.Done():
		}
	}()
	return wait, cancel
}

// wait returns f as it is when it has closed or the wait is over.
func (s *Service) wait(ctx, wait context.Context, f found) (found, error) {
	open := func() bool { return !closed(f) }
	if !open() || wait.Err() != nil {
		return f, nil //nolint:nilerr // the end of the wait is no failure
	}
	events := f.client.GetWorkflowHistory(wait, f.workflowID, f.runID, true, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if events.HasNext() {
		if _, err := events.Next(); err != nil && !endOfWait(wait, err) {
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
	run.Retention = durationpb.New(s.deps.Retention)
	run.CancelRequested = f.description.GetWorkflowExtendedInfo().GetCancelRequested()
	if err := s.addStarter(ctx, f.runID, run); err != nil {
		return nil, err
	}
	outcome, over := outcomes[info.GetStatus()]
	if !over {
		return run, addPending(ctx, f, run)
	}
	if err := s.addWholeEnd(ctx, f, run); err != nil {
		return nil, err
	}
	if run.GetStatus() == schedulerv1.RunStatus_RUN_STATUS_CANCELED {
		outcome = Canceled // by force, too
	}
	fact := store.Run{RunID: f.runID, WorkflowID: f.workflowID, TargetID: f.target.ID, OrgID: f.target.OrgID}
	return run, s.deps.Record.Closed(ctx, fact, outcome, info.GetCloseTime().AsTime())
}

// addWholeEnd adds result or failure of a closed run.
func (s *Service) addWholeEnd(ctx context.Context, f found, run *schedulerv1.Run) error {
	events := f.client.GetWorkflowHistory(ctx, run.GetWorkflowId(), run.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if !events.HasNext() {
		return nil
	}
	event, err := events.Next()
	if err != nil {
		return away(err)
	}
	return s.complete(ctx, f.target.OrgID, run, event)
}

// addStarter says who started a run, where they listen, and when it last asked, as far
// as that was written down.
func (s *Service) addStarter(ctx context.Context, runID string, run *schedulerv1.Run) error {
	known, err := s.deps.Store.Run(ctx, runID)
	if fault.NotFound.Is(err) {
		return nil
	}
	if err != nil {
		return err
	}
	run.SessionId, run.ProgressTokenJson = known.SessionID, known.ProgressToken
	changed, err := s.deps.Store.QuestionsChanged(ctx, runID)
	if !changed.IsZero() {
		run.QuestionChangedAt = timestamppb.New(changed)
	}
	return err
}
