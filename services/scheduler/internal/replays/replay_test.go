package replays

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

var noon = time.Date(2026, 1, 2, 12, 0, 0, 0, time.UTC)

// numbered gives events their numbers and a second each.
func numbered(events ...*historypb.HistoryEvent) []*historypb.HistoryEvent {
	for i, e := range events {
		e.EventId, e.EventTime = int64(i+1), timestamppb.New(noon.Add(time.Duration(i)*time.Second))
	}
	return events
}

func values(t *testing.T, values ...any) *commonpb.Payloads {
	t.Helper()
	p, err := converter.GetDefaultDataConverter().ToPayloads(values...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func started(t *testing.T, kind string, memo map[string]any, args ...any) *historypb.HistoryEvent {
	t.Helper()
	fields := map[string]*commonpb.Payload{}
	for name, value := range memo {
		fields[name] = values(t, value).GetPayloads()[0]
	}
	return &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED,
		Attributes: &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{
			WorkflowType: &commonpb.WorkflowType{Name: kind}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Input: values(t, args...),
			Memo: &commonpb.Memo{Fields: fields}, Attempt: 1, OriginalExecutionRunId: "00000000-0000-4000-8000-000000000000",
		}},
	}
}

func taskScheduled() *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_WORKFLOW_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskScheduledEventAttributes{WorkflowTaskScheduledEventAttributes: &historypb.WorkflowTaskScheduledEventAttributes{
			TaskQueue: &taskqueuepb.TaskQueue{Name: "q"},
		}},
	}
}

func taskStarted(scheduled int64) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskStartedEventAttributes{WorkflowTaskStartedEventAttributes: &historypb.WorkflowTaskStartedEventAttributes{ScheduledEventId: scheduled}},
	}
}

func taskCompleted(scheduled int64) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED,
		Attributes: &historypb.HistoryEvent_WorkflowTaskCompletedEventAttributes{WorkflowTaskCompletedEventAttributes: &historypb.WorkflowTaskCompletedEventAttributes{ScheduledEventId: scheduled, StartedEventId: scheduled + 1}},
	}
}

func activityScheduled(t *testing.T, number, name string, args ...any) *historypb.HistoryEvent {
	t.Helper()
	return &historypb.HistoryEvent{
		EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED,
		Attributes: &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{
			ActivityId: number, ActivityType: &commonpb.ActivityType{Name: name}, TaskQueue: &taskqueuepb.TaskQueue{Name: "q"}, Input: values(t, args...),
		}},
	}
}

func activityStarted(scheduled int64, attempt int32) *historypb.HistoryEvent {
	return &historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED,
		Attributes: &historypb.HistoryEvent_ActivityTaskStartedEventAttributes{ActivityTaskStartedEventAttributes: &historypb.ActivityTaskStartedEventAttributes{ScheduledEventId: scheduled, Attempt: attempt}},
	}
}

func activityCompleted(t *testing.T, scheduled int64, result any) *historypb.HistoryEvent {
	t.Helper()
	return &historypb.HistoryEvent{
		EventType:  enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED,
		Attributes: &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: scheduled, StartedEventId: scheduled + 1, Result: values(t, result)}},
	}
}

// toolRun is the history of a run of the tool add whose step has the given name.
func toolRun(t *testing.T, activity string) []*historypb.HistoryEvent {
	t.Helper()
	memo := map[string]any{flow.MemoToolsQueue: "q", flow.MemoActivity: flow.ActivityPolicy{Heartbeat: time.Minute, MaxTries: 3}}
	return numbered(
		started(t, "AutoWorkflow_add", memo, map[string]int{"a": 2}),
		taskScheduled(), taskStarted(2), taskCompleted(2),
		activityScheduled(t, "5", activity, map[string]int{"a": 2}), activityStarted(5, 1), activityCompleted(t, 5, 7),
		taskScheduled(), taskStarted(8), taskCompleted(8), &historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED,
			Attributes: &historypb.HistoryEvent_WorkflowExecutionCompletedEventAttributes{WorkflowExecutionCompletedEventAttributes: &historypb.WorkflowExecutionCompletedEventAttributes{
				Result: values(t, map[string]any{"kind": "workflow_result", "value": 7, "metadata": map[string]any{}, "start_time": nil, "end_time": nil}), WorkflowTaskCompletedEventId: 10,
			}},
		},
	)
}

func TestReplayTool(t *testing.T) {
	t.Parallel()
	run := store.Run{RunID: "r", WorkflowID: "w", Type: "AutoWorkflow_add"}
	if got := replayTool(run, toolRun(t, "tool:add")); got.Verdict != agentenv.VerdictOK || got.RunID != "r" {
		t.Errorf("replay of a good history = %+v", got)
	}
	if got := replayTool(run, toolRun(t, "tool:other")); got.Verdict != agentenv.VerdictDifferent || !strings.Contains(got.Message, "tool:other") {
		t.Errorf("replay of another step = %+v", got)
	}
	if got := replayTool(run, toolRun(t, "tool:add")[:2]); got.Verdict != agentenv.VerdictFailed || got.Message == "" {
		t.Errorf("replay of half a history = %+v", got)
	}
}

// twoAtOnce is a history in which b ends before a, and the code goes on after each.
func twoAtOnce(t *testing.T) []*historypb.HistoryEvent {
	t.Helper()
	return numbered(
		started(t, "Two", nil, "x", 1), taskScheduled(), taskStarted(2), taskCompleted(2),
		activityScheduled(t, "1", "a", "x"), activityScheduled(t, "2", "b", "y"),
		activityStarted(6, 2), activityCompleted(t, 6, map[string]int{"n": 1}), taskScheduled(), taskStarted(9), taskCompleted(9),
		activityStarted(5, 1), &historypb.HistoryEvent{
			EventType: enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED,
			Attributes: &historypb.HistoryEvent_ActivityTaskFailedEventAttributes{ActivityTaskFailedEventAttributes: &historypb.ActivityTaskFailedEventAttributes{
				ScheduledEventId: 5, StartedEventId: 12, Failure: &failurepb.Failure{Message: "no", FailureInfo: &failurepb.Failure_ApplicationFailureInfo{
					ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: "ValueError"},
				}},
			}},
		}, taskScheduled(), taskStarted(14), taskCompleted(14),
		activityScheduled(t, "3", "b", nil),
	)
}

func TestStepsOf(t *testing.T) {
	t.Parallel()
	at := func(n int64) time.Time { return noon.Add(time.Duration(n-1) * time.Second) }
	want := []step{
		{kind: kindStart, name: "Two", begin: 1, end: 1, input: `["x",1]`, attempts: 1, startedAt: at(1), endedAt: at(1)},
		{kind: kindActivity, name: "a", begin: 5, end: 13, input: `["x"]`, failure: "ValueError: no", attempts: 1, startedAt: at(5), endedAt: at(13)},
		{kind: kindActivity, name: "b", begin: 6, end: 8, input: `["y"]`, result: `{"n":1}`, attempts: 2, startedAt: at(6), endedAt: at(8)},
		{kind: kindActivity, name: "b", begin: 17, input: `[null]`, startedAt: at(17)},
	}
	if diff := cmp.Diff(want, stepsOf(twoAtOnce(t)), cmp.AllowUnexported(step{})); diff != "" {
		t.Errorf("stepsOf() (-want +got):\n%s", diff)
	}
}

func TestPointOf(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		want point
		fail fault.Kind
	}{
		"start": {want: point{kept: 3, finish: 4}},
		"b":     {want: point{kept: 10, finish: 11, reused: 1}},
		"a":     {want: point{kept: 15, finish: 16, reused: 2}},
		"last":  {want: point{kept: 15, finish: 16, reused: 2}},
		"":      {want: point{kept: 15, finish: 16, reused: 2}},
		"7":     {want: point{kept: 10, finish: 11, reused: 1}},
		"b#1":   {want: point{kept: 10, finish: 11, reused: 1}},
		"b#2":   {fail: fault.Invalid},
		"b#x":   {fail: fault.Invalid},
		"0":     {fail: fault.Invalid},
		"18":    {fail: fault.Invalid},
		"17":    {fail: fault.Conflict},
		"c":     {fail: fault.Invalid},
	}
	for from, tt := range tests {
		t.Run(from, func(t *testing.T) {
			t.Parallel()
			got, err := pointOf(twoAtOnce(t), from)
			if tt.fail != 0 && !tt.fail.Is(err) || tt.fail == 0 && (err != nil || got != tt.want) {
				t.Errorf("pointOf(%q) = %+v, %v; want %+v, kind %v", from, got, err, tt.want, tt.fail)
			}
		})
	}
}

func TestCompare(t *testing.T) {
	t.Parallel()
	a, b := step{kind: kindActivity, name: "a", input: "[1]", result: "2", end: 5}, step{kind: kindActivity, name: "b", input: "[1]", failure: "E: x"}
	long := step{kind: kindEnd, name: "completed", result: `"` + strings.Repeat("ä", shownPayload) + `"`}
	got := compare([]step{a, b, long}, []step{a, a})
	if got.GetFirstDivergence() != 1 || len(got.GetPairs()) != 3 || got.GetTruncated() {
		t.Errorf("compare() = %v", got)
	}
	var differences [][]string
	for _, p := range got.GetPairs() {
		differences = append(differences, p.GetDifferences())
	}
	if diff := cmp.Diff([][]string{nil, {"name", "result", "error"}, {"kind"}}, differences); diff != "" {
		t.Errorf("differences (-want +got):\n%s", diff)
	}
	if shown := got.GetPairs()[2].GetLeft().GetResultJson(); len(shown) > shownPayload+len("…") || !strings.HasSuffix(shown, "ä…") {
		t.Errorf("a long result is shown with %d bytes", len(shown))
	}
	if many := compare(make([]step, mostPairs+1), make([]step, mostPairs)); !many.GetTruncated() || len(many.GetPairs()) != mostPairs || many.GetFirstDivergence() != mostPairs {
		t.Errorf("compare() of many: %d pairs, first divergence %d", len(many.GetPairs()), many.GetFirstDivergence())
	}
}
