package runs

import (
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// quiet are the events that say nothing to a reader: a step of the code that is due,
// begins or went well, and an activity's try, of which its end tells.
var quiet = map[enumspb.EventType]bool{
	enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED: true,
	enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:   true,
	enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED: true,
	enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED:   true,
}

// tell takes the next event.
func (t *teller) tell(event *historypb.HistoryEvent) {
	t.last = event.GetEventId()
	if status, ok := turns[event.GetEventType()]; ok {
		t.status = status
		t.over = event.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED && event.GetEventType() != enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED
	}
	if try := event.GetActivityTaskStartedEventAttributes(); try != nil {
		start := t.began[try.GetScheduledEventId()]
		start.attempt = try.GetAttempt()
		t.began[try.GetScheduledEventId()] = start
	}
	if quiet[event.GetEventType()] || staleQueue(event) {
		return
	}
	entry := &schedulerv1.TimelineEntry{
		EventId: event.GetEventId(), Time: event.GetEventTime(), Type: event.GetEventType().String(), What: plainType(event.GetEventType()),
	}
	t.ofRun(event, entry)
	t.ofActivity(event, entry)
	t.ofTimer(event, entry)
	t.ofChild(event, entry)
	ofStep(event, entry)
	ofOthers(event, entry)
	if event.GetEventId() > t.after {
		t.entries = append(t.entries, entry)
	}
}

// staleQueue is a step that its last worker did not fetch, which another one gets.
func staleQueue(event *historypb.HistoryEvent) bool {
	a := event.GetWorkflowTaskTimedOutEventAttributes()
	return a != nil && a.GetTimeoutType() == enumspb.TIMEOUT_TYPE_SCHEDULE_TO_START
}

// plainType puts the name of an event's kind into words, for those that have no better.
func plainType(kind enumspb.EventType) string {
	words := &strings.Builder{}
	for i, r := range kind.String() {
		if i > 0 && r >= 'A' && r <= 'Z' {
			words.WriteByte(' ')
		}
		words.WriteRune(r)
	}
	return strings.ToLower(words.String())
}

func (t *teller) ofRun(event *historypb.HistoryEvent, entry *schedulerv1.TimelineEntry) {
	if a := event.GetWorkflowExecutionStartedEventAttributes(); a != nil {
		t.start = event.GetEventTime().AsTime()
		entry.What, entry.Name = "run began", nameOf(a.GetWorkflowType().GetName())
		put(entry, a.GetInput())
		return
	}
	switch a := event.GetAttributes().(type) {
	case *historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes:
		entry.What = "run completed"
		put(entry, a.WorkflowExecutionCompletedEventAttributes.GetResult())
	case *historypb.HistoryEvent_WorkflowExecutionFailedEventAttributes:
		entry.What = "run failed"
		fail(entry, a.WorkflowExecutionFailedEventAttributes.GetFailure())
	case *historypb.HistoryEvent_WorkflowExecutionTimedOutEventAttributes:
		entry.What = "run timed out"
	case *historypb.HistoryEvent_WorkflowExecutionCanceledEventAttributes:
		entry.What = "run cancelled"
	case *historypb.HistoryEvent_WorkflowExecutionTerminatedEventAttributes:
		entry.What, entry.By = "run terminated", a.WorkflowExecutionTerminatedEventAttributes.GetIdentity()
		entry.ErrorMessage = a.WorkflowExecutionTerminatedEventAttributes.GetReason()
	case *historypb.HistoryEvent_WorkflowExecutionContinuedAsNewEventAttributes:
		entry.What, t.next = "run goes on as a new run", a.WorkflowExecutionContinuedAsNewEventAttributes.GetNewExecutionRunId()
		entry.Name = t.next
	default:
		return
	}
	entry.Duration = durationpb.New(event.GetEventTime().AsTime().Sub(t.start))
}
