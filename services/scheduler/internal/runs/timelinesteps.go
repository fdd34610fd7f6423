package runs

import (
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// maxDigest bounds what is shown of a payload, characters.
const maxDigest = 200

// digest is the beginning of payloads as JSON, and their whole size in bytes.
func digest(payloads *commonpb.Payloads) (text string, size int64) {
	var parts []string
	for _, p := range payloads.GetPayloads() {
		size += int64(len(p.GetData()))
		if len(parts) < maxDigest {
			parts = append(parts, cut(resultJSON(&commonpb.Payloads{Payloads: []*commonpb.Payload{p}})))
		}
	}
	return cut(strings.Join(parts, ", ")), size
}

// cut takes the first characters of a text.
func cut(text string) string {
	count := 0
	for i := range text {
		if count++; count > maxDigest {
			return text[:i] + "…"
		}
	}
	return text
}

func put(entry *schedulerv1.TimelineEntry, payloads *commonpb.Payloads) {
	entry.Payload, entry.PayloadBytes = digest(payloads)
}

func fail(entry *schedulerv1.TimelineEntry, f *failurepb.Failure) {
	run := &schedulerv1.Run{}
	explain(run, f)
	entry.ErrorType, entry.ErrorMessage = run.GetErrorType(), cut(run.GetErrorMessage())
}

// begin remembers what is going to end.
func (t *teller) begin(entry *schedulerv1.TimelineEntry, what, name string) {
	entry.What, entry.Name = what, name
	t.began[entry.GetEventId()] = began{name: name, at: entry.GetTime().AsTime()}
}

// end names what began with an event, and says how long it took.
func (t *teller) end(entry *schedulerv1.TimelineEntry, what string, beganID int64) {
	start := t.began[beganID]
	delete(t.began, beganID)
	entry.What, entry.Name = what, start.name
	if !start.at.IsZero() {
		entry.Duration = durationpb.New(entry.GetTime().AsTime().Sub(start.at))
	}
	if start.attempt > 1 {
		entry.Attempt = start.attempt
	}
}

func (t *teller) ofActivity(event *historypb.HistoryEvent, entry *schedulerv1.TimelineEntry) {
	switch a := event.GetAttributes().(type) {
	case *historypb.HistoryEvent_ActivityTaskScheduledEventAttributes:
		t.begin(entry, "activity asked for", a.ActivityTaskScheduledEventAttributes.GetActivityType().GetName())
		put(entry, a.ActivityTaskScheduledEventAttributes.GetInput())
	case *historypb.HistoryEvent_ActivityTaskCompletedEventAttributes:
		t.end(entry, "activity completed", a.ActivityTaskCompletedEventAttributes.GetScheduledEventId())
		put(entry, a.ActivityTaskCompletedEventAttributes.GetResult())
	case *historypb.HistoryEvent_ActivityTaskFailedEventAttributes:
		t.end(entry, "activity failed", a.ActivityTaskFailedEventAttributes.GetScheduledEventId())
		fail(entry, a.ActivityTaskFailedEventAttributes.GetFailure())
	case *historypb.HistoryEvent_ActivityTaskTimedOutEventAttributes:
		t.end(entry, "activity timed out", a.ActivityTaskTimedOutEventAttributes.GetScheduledEventId())
		fail(entry, a.ActivityTaskTimedOutEventAttributes.GetFailure())
	case *historypb.HistoryEvent_ActivityTaskCanceledEventAttributes:
		t.end(entry, "activity cancelled", a.ActivityTaskCanceledEventAttributes.GetScheduledEventId())
	case *historypb.HistoryEvent_ActivityTaskCancelRequestedEventAttributes:
		entry.What = "activity asked to end"
		entry.Name = t.began[a.ActivityTaskCancelRequestedEventAttributes.GetScheduledEventId()].name
	}
}

func (t *teller) ofTimer(event *historypb.HistoryEvent, entry *schedulerv1.TimelineEntry) {
	switch a := event.GetAttributes().(type) {
	case *historypb.HistoryEvent_TimerStartedEventAttributes:
		length := a.TimerStartedEventAttributes.GetStartToFireTimeout().AsDuration()
		t.begin(entry, fmt.Sprintf("timer of %s set", length.Round(time.Millisecond)), a.TimerStartedEventAttributes.GetTimerId())
	case *historypb.HistoryEvent_TimerFiredEventAttributes:
		t.end(entry, "timer fired", a.TimerFiredEventAttributes.GetStartedEventId())
	case *historypb.HistoryEvent_TimerCanceledEventAttributes:
		t.end(entry, "timer cancelled", a.TimerCanceledEventAttributes.GetStartedEventId())
	}
}

func (t *teller) ofChild(event *historypb.HistoryEvent, entry *schedulerv1.TimelineEntry) {
	switch a := event.GetAttributes().(type) {
	case *historypb.HistoryEvent_StartChildWorkflowExecutionInitiatedEventAttributes:
		t.begin(entry, "child run asked for", nameOf(a.StartChildWorkflowExecutionInitiatedEventAttributes.GetWorkflowType().GetName()))
		put(entry, a.StartChildWorkflowExecutionInitiatedEventAttributes.GetInput())
	case *historypb.HistoryEvent_StartChildWorkflowExecutionFailedEventAttributes:
		t.end(entry, "child run not started", a.StartChildWorkflowExecutionFailedEventAttributes.GetInitiatedEventId())
		entry.ErrorMessage = a.StartChildWorkflowExecutionFailedEventAttributes.GetCause().String()
	case *historypb.HistoryEvent_ChildWorkflowExecutionStartedEventAttributes:
		entry.What = "child run began: " + a.ChildWorkflowExecutionStartedEventAttributes.GetWorkflowExecution().GetRunId()
		entry.Name = nameOf(a.ChildWorkflowExecutionStartedEventAttributes.GetWorkflowType().GetName())
	case *historypb.HistoryEvent_ChildWorkflowExecutionCompletedEventAttributes:
		t.end(entry, "child run completed", a.ChildWorkflowExecutionCompletedEventAttributes.GetInitiatedEventId())
		put(entry, a.ChildWorkflowExecutionCompletedEventAttributes.GetResult())
	case *historypb.HistoryEvent_ChildWorkflowExecutionFailedEventAttributes:
		t.end(entry, "child run failed", a.ChildWorkflowExecutionFailedEventAttributes.GetInitiatedEventId())
		fail(entry, a.ChildWorkflowExecutionFailedEventAttributes.GetFailure())
	case *historypb.HistoryEvent_ChildWorkflowExecutionCanceledEventAttributes:
		t.end(entry, "child run cancelled", a.ChildWorkflowExecutionCanceledEventAttributes.GetInitiatedEventId())
	case *historypb.HistoryEvent_ChildWorkflowExecutionTerminatedEventAttributes:
		t.end(entry, "child run terminated", a.ChildWorkflowExecutionTerminatedEventAttributes.GetInitiatedEventId())
	case *historypb.HistoryEvent_ChildWorkflowExecutionTimedOutEventAttributes:
		t.end(entry, "child run timed out", a.ChildWorkflowExecutionTimedOutEventAttributes.GetInitiatedEventId())
	}
}

// ofStep tells of steps of the run's code that did not go well, and of resets, which
// Temporal writes down as one.
func ofStep(event *historypb.HistoryEvent, entry *schedulerv1.TimelineEntry) {
	switch a := event.GetAttributes().(type) {
	case *historypb.HistoryEvent_WorkflowTaskFailedEventAttributes:
		failed := a.WorkflowTaskFailedEventAttributes
		entry.What = "step of the code failed"
		fail(entry, failed.GetFailure())
		if failed.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
			entry.What, entry.By, entry.ErrorType = "reset: goes on from here, from run "+failed.GetBaseRunId(), failed.GetIdentity(), ""
		}
	case *historypb.HistoryEvent_WorkflowTaskTimedOutEventAttributes:
		entry.What = "step of the code took too long"
	}
}

// ofOthers tells of what came from outside, and of what the code noted.
func ofOthers(event *historypb.HistoryEvent, entry *schedulerv1.TimelineEntry) {
	switch a := event.GetAttributes().(type) {
	case *historypb.HistoryEvent_WorkflowExecutionSignaledEventAttributes:
		entry.What, entry.Name = "signal received", a.WorkflowExecutionSignaledEventAttributes.GetSignalName()
		put(entry, a.WorkflowExecutionSignaledEventAttributes.GetInput())
	case *historypb.HistoryEvent_WorkflowExecutionCancelRequestedEventAttributes:
		entry.What = "asked to end"
		entry.ErrorMessage = a.WorkflowExecutionCancelRequestedEventAttributes.GetCause()
	case *historypb.HistoryEvent_WorkflowExecutionPausedEventAttributes:
		entry.What, entry.By = "paused", a.WorkflowExecutionPausedEventAttributes.GetIdentity()
		entry.ErrorMessage = a.WorkflowExecutionPausedEventAttributes.GetReason()
	case *historypb.HistoryEvent_WorkflowExecutionUnpausedEventAttributes:
		entry.What, entry.By = "unpaused", a.WorkflowExecutionUnpausedEventAttributes.GetIdentity()
		entry.ErrorMessage = a.WorkflowExecutionUnpausedEventAttributes.GetReason()
	case *historypb.HistoryEvent_MarkerRecordedEventAttributes:
		entry.What, entry.Name = "marker", a.MarkerRecordedEventAttributes.GetMarkerName()
	case *historypb.HistoryEvent_SignalExternalWorkflowExecutionInitiatedEventAttributes:
		entry.What, entry.Name = "signal to another run", a.SignalExternalWorkflowExecutionInitiatedEventAttributes.GetSignalName()
	case *historypb.HistoryEvent_WorkflowExecutionUpdateAcceptedEventAttributes:
		entry.What = "update accepted"
		entry.Name = a.WorkflowExecutionUpdateAcceptedEventAttributes.GetAcceptedRequest().GetInput().GetName()
	}
}
