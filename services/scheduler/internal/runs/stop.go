package runs

import (
	"context"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// lookBack is how many of a run's newest events are searched for what it has begun.
const lookBack = 100

// CancelRun asks a run to end. What follows, when the run does not, is a workflow, which
// no restart here forgets.
func (s *Service) CancelRun(ctx context.Context, req *schedulerv1.CancelRunRequest) (*schedulerv1.CancelRunResponse, error) {
	f, err := s.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if missing(err) {
		return &schedulerv1.CancelRunResponse{}, nil
	}
	if err != nil {
		return nil, err
	}
	if closed(f) {
		return &schedulerv1.CancelRunResponse{}, nil // Temporal takes the request and does nothing
	}
	in := flow.StopInput{
		TargetID: f.target.ID, OrgID: f.target.OrgID, WorkflowID: f.workflowID, RunID: f.runID,
		Grace: s.deps.Stop.Grace, Longest: s.deps.Stop.Longest,
	}
	defer s.deps.Bell.Hold(ctx, in.TargetID)()
	s.deps.Tools.Ensure(in.OrgID)
	_, err = f.client.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: flow.StopID(in.RunID), TaskQueue: flow.ToolsQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, flow.StopWorkflow, in)
	if err != nil {
		return nil, away(err)
	}
	// The workflow does the same; here, whoever reads the run next sees it done.
	if err := (stopping{namespaces: s.deps.Namespaces, record: s.deps.Record}).AskToEnd(ctx, in); err != nil {
		return nil, away(err)
	}
	s.deps.Bell.Stirred(in.TargetID)
	s.recent.forget(in.RunID)
	return &schedulerv1.CancelRunResponse{Found: true}, nil
}

// Changed makes the next look at a run a new one.
func (s *Service) Changed(runID string) { s.recent.forget(runID) }

// stopping does the steps of flow.Stop.
type stopping struct {
	namespaces Namespaces
	record     *Recorder
}

var _ flow.StopSteps = stopping{}

func (s stopping) register(r worker.Registry) {
	r.RegisterWorkflowWithOptions(flow.Stop, workflow.RegisterOptions{Name: flow.StopWorkflow})
	for name, step := range map[string]any{"AskToEnd": s.AskToEnd, "LookAtEnd": s.LookAtEnd, "EndByForce": s.EndByForce} {
		r.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
}

// AskToEnd implements flow.StopSteps.
func (s stopping) AskToEnd(ctx context.Context, in flow.StopInput) error {
	c, err := s.namespaces.Client(ctx, in.OrgID)
	if err != nil {
		return err
	}
	if err := c.CancelWorkflow(ctx, in.WorkflowID, in.RunID); err != nil && !namespaces.IsNotFound(err) {
		return err
	}
	return s.record.Withdraw(ctx, in.RunID, time.Now())
}

// LookAtEnd implements flow.StopSteps. A run is busy that has begun a step since the last
// look, or still does one that it began after it was asked. One whose worker sleeps has not
// heard yet.
func (s stopping) LookAtEnd(ctx context.Context, in flow.StopInput, asked, last time.Time) (flow.StopLook, error) {
	c, err := s.namespaces.Client(ctx, in.OrgID)
	if err != nil {
		return flow.StopLook{}, err
	}
	d, err := c.DescribeWorkflowExecution(ctx, in.WorkflowID, in.RunID)
	if namespaces.IsNotFound(err) {
		return flow.StopLook{Over: true}, nil
	}
	if err != nil {
		return flow.StopLook{}, err
	}
	if _, over := outcomes[d.GetWorkflowExecutionInfo().GetStatus()]; over {
		return flow.StopLook{Over: true}, nil
	}
	if asleep, err := s.record.store.Asleep(ctx, in.TargetID, agentenv.RoleWorker); asleep || err != nil {
		return flow.StopLook{Busy: asleep}, err
	}
	for _, pending := range d.GetPendingActivities() {
		if pending.GetScheduledTime().AsTime().After(asked) {
			return flow.StopLook{Busy: true}, nil
		}
	}
	page, err := c.WorkflowService().GetWorkflowExecutionHistoryReverse(ctx, &workflowservice.GetWorkflowExecutionHistoryReverseRequest{
		Namespace: in.OrgID, MaximumPageSize: lookBack,
		Execution: &commonpb.WorkflowExecution{WorkflowId: in.WorkflowID, RunId: in.RunID},
	})
	return flow.StopLook{Busy: begunSince(page.GetHistory(), last)}, err
}

// begunSince says whether a step was begun after a time.
func begunSince(newestFirst *historypb.History, last time.Time) bool {
	for _, event := range newestFirst.GetEvents() {
		if !event.GetEventTime().AsTime().After(last) {
			return false
		}
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED, enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
			return true
		}
	}
	return false
}

// EndByForce implements flow.StopSteps.
func (s stopping) EndByForce(ctx context.Context, in flow.StopInput) error {
	c, err := s.namespaces.Client(ctx, in.OrgID)
	if err != nil {
		return err
	}
	err = c.TerminateWorkflow(ctx, in.WorkflowID, in.RunID, flow.StopReason)
	if namespaces.IsNotFound(err) {
		return nil // it ended meanwhile
	}
	if err != nil {
		return err
	}
	run := store.Run{RunID: in.RunID, WorkflowID: in.WorkflowID, TargetID: in.TargetID, OrgID: in.OrgID}
	return s.record.Closed(ctx, run, Canceled, time.Now())
}
