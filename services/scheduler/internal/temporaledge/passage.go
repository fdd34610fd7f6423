package temporaledge

import (
	"context"
	"slices"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// factWithin bounds what the record of a fact may add to a call.
const factWithin = 5 * time.Second

// passage is one call on its way through.
type passage struct {
	edge *Edge
	who  caller
	// workflowID and runID name the run of a task that is handed in.
	workflowID, runID string
	// polls is the normal queue that a call waits on; empty: it is no such call.
	polls      string
	activities bool
	// keepsRoom says that the worker has a place for urgent runs.
	keepsRoom bool
}

// enter checks a request.
func (p *passage) enter(ctx context.Context, check rule, req proto.Message) error {
	if r, ok := req.(interface{ GetNamespace() string }); ok && r.GetNamespace() != p.who.OrgID {
		return denied("namespace %q is not this agent's", r.GetNamespace())
	}
	return check(ctx, p, req)
}

// unseal puts Temporal's own task token into a request that hands in a sealed one.
func (p *passage) unseal(req proto.Message, sealed []byte) error {
	token, workflowID, runID, ok := unseal(p.who.token, sealed)
	if !ok {
		return denied("this task was not given to this agent")
	}
	p.workflowID, p.runID = workflowID, runID
	m := req.ProtoReflect()
	m.Set(m.Descriptor().Fields().ByName("task_token"), protoreflect.ValueOfBytes(token))
	return nil
}

// leave seals the tasks in an answer and reports what has happened.
func (p *passage) leave(ctx context.Context, req proto.Message, answer any) {
	switch a := answer.(type) {
	case *workflowservice.PollWorkflowTaskQueueResponse:
		p.workflowTask(ctx, a)
	case *workflowservice.PollActivityTaskQueueResponse:
		p.activityTask(a)
	case *workflowservice.RespondWorkflowTaskCompletedResponse:
		p.ended(ctx, req.(*workflowservice.RespondWorkflowTaskCompletedRequest))
		p.workflowTask(ctx, a.GetWorkflowTask())
		for _, eager := range a.GetActivityTasks() {
			p.activityTask(eager)
		}
	case *workflowservice.StartWorkflowExecutionResponse:
		r := req.(*workflowservice.StartWorkflowExecutionRequest)
		p.started(ctx, store.Run{RunID: a.GetRunId(), WorkflowID: r.GetWorkflowId(), Type: r.GetWorkflowType().GetName()})
		p.workflowTask(ctx, a.GetEagerWorkflowTask())
	case *workflowservice.SignalWithStartWorkflowExecutionResponse:
		r := req.(*workflowservice.SignalWithStartWorkflowExecutionRequest)
		p.started(ctx, store.Run{RunID: a.GetRunId(), WorkflowID: r.GetWorkflowId(), Type: r.GetWorkflowType().GetName()})
	}
}

func (p *passage) activityTask(t *workflowservice.PollActivityTaskQueueResponse) {
	e := t.GetWorkflowExecution()
	t.TaskToken = seal(p.who.token, t.GetTaskToken(), e.GetWorkflowId(), e.GetRunId())
}

// workflowTask seals a task; the first of a run tells that the run began, also when a
// workflow started it as its child.
func (p *passage) workflowTask(ctx context.Context, t *workflowservice.PollWorkflowTaskQueueResponse) {
	if len(t.GetTaskToken()) == 0 {
		return
	}
	e := t.GetWorkflowExecution()
	t.TaskToken = seal(p.who.token, t.GetTaskToken(), e.GetWorkflowId(), e.GetRunId())
	events := t.GetHistory().GetEvents()
	if len(events) == 0 {
		return
	}
	run, ok := beginning(e.GetWorkflowId(), e.GetRunId(), events[0])
	if !ok {
		return // a worker that knows the run gets its news only
	}
	if reset := resetTo(e.GetRunId(), events); reset != nil {
		run.StartedAt = reset.GetEventTime().AsTime()
		p.resumed(ctx, run, reset.GetWorkflowTaskFailedEventAttributes().GetBaseRunId())
	} else if t.GetPreviousStartedEventId() == 0 {
		p.started(ctx, run)
	}
}

// beginning reads the first event of a history.
func beginning(workflowID, runID string, first *historypb.HistoryEvent) (store.Run, bool) {
	a := first.GetWorkflowExecutionStartedEventAttributes()
	return store.Run{
		RunID: runID, WorkflowID: workflowID, Type: a.GetWorkflowType().GetName(), StartedAt: first.GetEventTime().AsTime(),
		ParentWorkflowID: a.GetParentWorkflowExecution().GetWorkflowId(), ParentRunID: a.GetParentWorkflowExecution().GetRunId(),
	}, a != nil
}

// resetTo finds the event by which a reset made a run. It counts only while the run's
// code has not taken a step since.
func resetTo(runID string, events []*historypb.HistoryEvent) *historypb.HistoryEvent {
	for _, event := range slices.Backward(events) {
		if event.GetEventType() == enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED {
			return nil
		}
		if a := event.GetWorkflowTaskFailedEventAttributes(); a.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW && a.GetNewRunId() == runID {
			return event
		}
	}
	return nil
}

// resumed reports a run that a reset made of another.
func (p *passage) resumed(ctx context.Context, run store.Run, baseRunID string) {
	run.TargetID, run.OrgID, run.VersionID = p.who.TargetID, p.who.OrgID, p.who.VersionID
	p.fact(ctx, run.WorkflowID, func(ctx context.Context) error { return p.edge.deps.Facts.Resumed(ctx, run, baseRunID) })
}

func (p *passage) started(ctx context.Context, run store.Run) {
	run.TargetID, run.OrgID, run.VersionID = p.who.TargetID, p.who.OrgID, p.who.VersionID
	if run.StartedAt.IsZero() {
		run.StartedAt = p.edge.deps.Now()
	}
	p.fact(ctx, run.WorkflowID, func(ctx context.Context) error { return p.edge.deps.Facts.Started(ctx, run) })
}

var endings = map[enumspb.CommandType]string{
	enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION:        runs.Completed,
	enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION:            runs.Failed,
	enumspb.COMMAND_TYPE_CANCEL_WORKFLOW_EXECUTION:          runs.Canceled,
	enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION: runs.Completed,
}

// ended reports a run whose end Temporal has just accepted.
func (p *passage) ended(ctx context.Context, req *workflowservice.RespondWorkflowTaskCompletedRequest) {
	for _, command := range req.GetCommands() {
		outcome, ok := endings[command.GetCommandType()]
		if !ok {
			continue
		}
		run := store.Run{RunID: p.runID, WorkflowID: p.workflowID, TargetID: p.who.TargetID, OrgID: p.who.OrgID}
		p.fact(ctx, run.WorkflowID, func(ctx context.Context) error {
			return p.edge.deps.Facts.Closed(ctx, run, outcome, p.edge.deps.Now())
		})
	}
}

// fact records something that has happened to a run already, so a failure cannot undo it:
// the sweep finds what is missing later. Of the cloud's own runs there is no record.
func (p *passage) fact(ctx context.Context, workflowID string, record func(context.Context) error) {
	if agentenv.OfTheCloud(workflowID) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), factWithin)
	defer cancel()
	if err := record(ctx); err != nil {
		p.edge.deps.Log.WarnContext(ctx, "a fact about a run was not recorded", "run", p.runID, "error", err)
	}
}
