package replays

import (
	"encoding/base64"
	"encoding/json"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
)

// Kinds of steps.
const (
	kindStart    = "start"
	kindActivity = "activity"
	kindChild    = "child"
	kindTimer    = "timer"
	kindSignal   = "signal"
	kindEnd      = "end"
)

// step is one thing that a run did or was told.
type step struct {
	kind, name string
	// begin and end are numbers of events; end is 0 while the step is open.
	begin, end    int64
	input, result string // JSON
	failure       string
	attempts      int32
	startedAt     time.Time
	endedAt       time.Time
}

// stepsOf reads the steps out of a history, in the order in which they began.
func stepsOf(events []*historypb.HistoryEvent) []step {
	r := reader{open: map[int64]int{}}
	for _, e := range events {
		if !r.begins(e) && !r.ends(e) {
			r.closes(e)
		}
	}
	return r.steps
}

type reader struct {
	steps []step
	open  map[int64]int // number of the event that began it to index
}

func (r *reader) begin(e *historypb.HistoryEvent, kind, name, input string) {
	r.open[e.GetEventId()] = len(r.steps)
	r.steps = append(r.steps, step{kind: kind, name: name, begin: e.GetEventId(), input: input, startedAt: e.GetEventTime().AsTime()})
}

// instant is a step that is over as it begins.
func (r *reader) instant(e *historypb.HistoryEvent, s step) {
	s.begin, s.end, s.startedAt, s.endedAt = e.GetEventId(), e.GetEventId(), e.GetEventTime().AsTime(), e.GetEventTime().AsTime()
	r.steps = append(r.steps, s)
}

func (r *reader) finish(e *historypb.HistoryEvent, begun int64, result, failure string) {
	i, ok := r.open[begun]
	if !ok {
		return
	}
	s := &r.steps[i]
	s.end, s.endedAt, s.result, s.failure = e.GetEventId(), e.GetEventTime().AsTime(), result, failure
	delete(r.open, begun)
}

// begins says whether e is the start of a step.
func (r *reader) begins(e *historypb.HistoryEvent) bool {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		a := e.GetWorkflowExecutionStartedEventAttributes()
		r.instant(e, step{kind: kindStart, name: a.GetWorkflowType().GetName(), input: listOf(a.GetInput()), attempts: a.GetAttempt()})
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		a := e.GetActivityTaskScheduledEventAttributes()
		r.begin(e, kindActivity, a.GetActivityType().GetName(), listOf(a.GetInput()))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:
		a := e.GetActivityTaskStartedEventAttributes()
		if i, ok := r.open[a.GetScheduledEventId()]; ok {
			r.steps[i].attempts = a.GetAttempt()
		}
	case enumspb.EVENT_TYPE_START_CHILD_WORKFLOW_EXECUTION_INITIATED:
		a := e.GetStartChildWorkflowExecutionInitiatedEventAttributes()
		r.begin(e, kindChild, a.GetWorkflowType().GetName(), listOf(a.GetInput()))
	case enumspb.EVENT_TYPE_TIMER_STARTED:
		a := e.GetTimerStartedEventAttributes()
		r.begin(e, kindTimer, a.GetStartToFireTimeout().AsDuration().String(), "[]")
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_SIGNALED:
		a := e.GetWorkflowExecutionSignaledEventAttributes()
		r.instant(e, step{kind: kindSignal, name: a.GetSignalName(), input: listOf(a.GetInput())})
	default:
		return false
	}
	return true
}

// ends says whether e is the end of a step.
func (r *reader) ends(e *historypb.HistoryEvent) bool {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		a := e.GetActivityTaskCompletedEventAttributes()
		r.finish(e, a.GetScheduledEventId(), oneOf(a.GetResult()), "")
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		a := e.GetActivityTaskFailedEventAttributes()
		r.finish(e, a.GetScheduledEventId(), "", failureText(a.GetFailure()))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		a := e.GetActivityTaskTimedOutEventAttributes()
		r.finish(e, a.GetScheduledEventId(), "", failureText(a.GetFailure()))
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		r.finish(e, e.GetActivityTaskCanceledEventAttributes().GetScheduledEventId(), "", "canceled")
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_COMPLETED:
		a := e.GetChildWorkflowExecutionCompletedEventAttributes()
		r.finish(e, a.GetInitiatedEventId(), oneOf(a.GetResult()), "")
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_FAILED:
		a := e.GetChildWorkflowExecutionFailedEventAttributes()
		r.finish(e, a.GetInitiatedEventId(), "", failureText(a.GetFailure()))
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_CANCELED:
		r.finish(e, e.GetChildWorkflowExecutionCanceledEventAttributes().GetInitiatedEventId(), "", "canceled")
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TIMED_OUT:
		r.finish(e, e.GetChildWorkflowExecutionTimedOutEventAttributes().GetInitiatedEventId(), "", "timed out")
	case enumspb.EVENT_TYPE_CHILD_WORKFLOW_EXECUTION_TERMINATED:
		r.finish(e, e.GetChildWorkflowExecutionTerminatedEventAttributes().GetInitiatedEventId(), "", "terminated")
	case enumspb.EVENT_TYPE_TIMER_FIRED:
		r.finish(e, e.GetTimerFiredEventAttributes().GetStartedEventId(), "", "")
	case enumspb.EVENT_TYPE_TIMER_CANCELED:
		r.finish(e, e.GetTimerCanceledEventAttributes().GetStartedEventId(), "", "canceled")
	default:
		return false
	}
	return true
}

// closes takes the end of the run.
func (r *reader) closes(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		r.instant(e, step{kind: kindEnd, name: runs.Completed, result: oneOf(e.GetWorkflowExecutionCompletedEventAttributes().GetResult())})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		r.instant(e, step{kind: kindEnd, name: runs.Failed, failure: failureText(e.GetWorkflowExecutionFailedEventAttributes().GetFailure())})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		r.instant(e, step{kind: kindEnd, name: runs.Canceled})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		r.instant(e, step{kind: kindEnd, name: runs.Terminated, failure: e.GetWorkflowExecutionTerminatedEventAttributes().GetReason()})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		r.instant(e, step{kind: kindEnd, name: runs.TimedOut})
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW:
		r.instant(e, step{kind: kindEnd, name: "continued", input: listOf(e.GetWorkflowExecutionContinuedAsNewEventAttributes().GetInput())})
	}
}

// listOf is payloads as a JSON array.
func listOf(p *commonpb.Payloads) string {
	list := make([]json.RawMessage, 0, len(p.GetPayloads()))
	for _, one := range p.GetPayloads() {
		list = append(list, text(one))
	}
	raw, _ := json.Marshal(list) // each is JSON
	return string(raw)
}

// oneOf is the first payload as JSON.
func oneOf(p *commonpb.Payloads) string {
	if len(p.GetPayloads()) == 0 {
		return "null"
	}
	return string(text(p.GetPayloads()[0]))
}

func text(p *commonpb.Payload) json.RawMessage {
	raw, err := payloads.JSONOf(p)
	if err != nil || !json.Valid(raw) {
		raw, _ = json.Marshal(base64.StdEncoding.EncodeToString(p.GetData())) // a string always encodes
	}
	return raw
}

func failureText(f *failurepb.Failure) string {
	kind, message := runs.Explain(f)
	return kind + ": " + message
}
