package runs_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// waits starts a run of Steps and comes back when it waits to be told.
func (f *fixture) waits(t *testing.T) string {
	t.Helper()
	started := f.start(t, "Steps", "")
	eventually(t, "the run waits", func() error {
		state, err := f.ops.QueryRun(f.ctx, &schedulerv1.QueryRunRequest{RunId: started.GetRunId(), Query: "state", ArgumentsJson: `[" now"]`})
		if err == nil && state.GetResultJson() != `"waits now"` {
			err = fmt.Errorf("state = %s", state.GetResultJson())
		}
		return err
	})
	return started.GetRunId()
}

func (f *fixture) signal(t *testing.T, runID string) {
	t.Helper()
	if res, err := f.client.SignalRun(f.ctx, &schedulerv1.SignalRunRequest{RunId: runID}); err != nil || !res.GetFound() {
		t.Fatalf("SignalRun(%s) = %v, %v", runID, res, err)
	}
}

// events are the subjects that were promised to the bus, in order.
func (f *fixture) events(t *testing.T) []string {
	t.Helper()
	rows, err := f.db.Query(t.Context(), `SELECT subject FROM outbox ORDER BY message_id`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var subject string
		if err := rows.Scan(&subject); err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimPrefix(subject, "scheduler.run."))
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestAPausedRunWaitsAndGoesOn(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.waits(t)
	for i, changed := range []bool{true, false} {
		res, err := f.ops.PauseRun(f.ctx, &schedulerv1.PauseRunRequest{RunId: run, Reason: "the supplier is down"})
		if err != nil || res.GetChanged() != changed {
			t.Fatalf("PauseRun() number %d = %v, %v; want changed %t", i, res, err, changed)
		}
	}
	if got := f.get(t, &schedulerv1.GetRunRequest{RunId: run}).GetStatus(); got != schedulerv1.RunStatus_RUN_STATUS_PAUSED {
		t.Errorf("status = %s, want paused", got)
	}
	described, err := f.ops.DescribeRun(f.ctx, &schedulerv1.DescribeRunRequest{RunId: run})
	if err != nil || described.GetPause().GetBy() != "u_1" || described.GetPause().GetReason() != "the supplier is down" {
		t.Errorf("pause = %v, %v", described.GetPause(), err)
	}
	f.signal(t, run)
	time.Sleep(300 * time.Millisecond) // it must not go on meanwhile, which no condition tells
	if got := f.get(t, &schedulerv1.GetRunRequest{RunId: run}); got.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_PAUSED {
		t.Errorf("after a signal the run is %s, want paused", got.GetStatus())
	}
	for i, changed := range []bool{true, false} {
		res, err := f.ops.UnpauseRun(f.ctx, &schedulerv1.UnpauseRunRequest{RunId: run})
		if i == 0 && (err != nil || !res.GetChanged()) || i == 1 && err == nil && res.GetChanged() != changed {
			t.Fatalf("UnpauseRun() number %d = %v, %v; want changed %t", i, res, err, changed)
		}
	}
	if got := f.finished(t, run); got.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_COMPLETED {
		t.Errorf("the run ended as %v", got)
	}
	if got := f.events(t); !slices.Contains(got, "paused") || !slices.Contains(got, "unpaused") {
		t.Errorf("events = %v", got)
	}
	if _, err := f.ops.PauseRun(f.ctx, &schedulerv1.PauseRunRequest{RunId: run}); !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "completed") {
		t.Errorf("PauseRun() of a run that is over = %v, want conflict", err)
	}
}

func TestTerminate(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.start(t, "Wait", "").GetRunId()
	asked, err := f.questions.AskQuestion(f.ctx, &schedulerv1.AskQuestionRequest{TargetId: f.app, RunId: run, Method: "elicitation/create", SignalName: "resume"})
	if err != nil {
		t.Fatal(err)
	}
	described, err := f.ops.DescribeRun(f.ctx, &schedulerv1.DescribeRunRequest{RunId: run})
	if err != nil || len(described.GetQuestions()) != 1 || described.GetQuestions()[0].GetQuestionId() != asked.GetQuestion().GetQuestionId() {
		t.Errorf("questions = %v, %v", described.GetQuestions(), err)
	}
	if _, err := f.ops.TerminateRun(f.ctx, &schedulerv1.TerminateRunRequest{RunId: run, Reason: "no longer wanted"}); err != nil {
		t.Fatal(err)
	}
	got := f.get(t, &schedulerv1.GetRunRequest{RunId: run})
	if got.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_TERMINATED || !strings.Contains(got.GetErrorMessage(), "no longer wanted") {
		t.Errorf("run = %v", got)
	}
	question, err := f.questions.GetQuestion(f.ctx, &schedulerv1.GetQuestionRequest{QuestionId: asked.GetQuestion().GetQuestionId()})
	if err != nil || question.GetQuestion().GetState() != "withdrawn" {
		t.Errorf("its question = %v, %v; want withdrawn", question, err)
	}
	if diff := cmp.Diff([]string{"started", "scheduler.question.asked", "scheduler.question.withdrawn", "closed", "terminated"}, f.events(t)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
	if _, err := f.ops.TerminateRun(f.ctx, &schedulerv1.TerminateRunRequest{RunId: run}); !fault.Conflict.Is(err) {
		t.Errorf("TerminateRun() again = %v, want conflict", err)
	}
}

func TestReset(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tests := map[string]struct {
		point  *schedulerv1.ResetPoint
		firsts int64 // how often the first activity has run in the end
		says   string
	}{
		"first step":        {point: &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_FirstStep{FirstStep: true}}, firsts: 2},
		"last step":         {point: nil, firsts: 1},
		"event":             {point: &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_EventId{EventId: 5}}, firsts: 2},
		"before the second": {point: &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_BeforeActivity{BeforeActivity: "second"}}, firsts: 1},
		"before nothing":    {point: &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_BeforeActivity{BeforeActivity: "third"}}, says: "it has asked for: first, second"},
		"before all":        {point: &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_EventId{EventId: 2}}, says: "the first ends at event 4"},
	}
	for desc, tt := range tests { // one after another: they share the counter
		f.firsts.Store(0)
		run := f.waits(t)
		f.signal(t, run)
		f.finished(t, run)
		res, err := f.ops.ResetRun(f.ctx, &schedulerv1.ResetRunRequest{RunId: run, Point: tt.point, Reason: "again"})
		if tt.says != "" {
			if !fault.Invalid.Is(err) || !strings.Contains(fault.Message(err), tt.says) {
				t.Errorf("%s: ResetRun() = %v, want %q", desc, err, tt.says)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: ResetRun() = %v", desc, err)
			continue
		}
		again := f.finished(t, res.GetRunId()) // the signal is delivered again
		if again.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_COMPLETED || f.firsts.Load() != tt.firsts {
			t.Errorf("%s: run = %v; the first activity ran %d times, want %d", desc, again, f.firsts.Load(), tt.firsts)
		}
		if kept, err := f.store.Run(t.Context(), res.GetRunId()); err != nil || kept.SessionID != "ses_1" || kept.UserID != "u_1" {
			t.Errorf("%s: index of the new run = %+v, %v", desc, kept, err)
		}
		described, err := f.ops.DescribeRun(f.ctx, &schedulerv1.DescribeRunRequest{RunId: run})
		if err != nil || described.GetResetRunId() != res.GetRunId() {
			t.Errorf("%s: the old run says it was reset to %q, %v; want %s", desc, described.GetResetRunId(), err, res.GetRunId())
		}
	}
}

func TestResetOfAnOpenRunEndsIt(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.waits(t)
	res, err := f.ops.ResetRun(f.ctx, &schedulerv1.ResetRunRequest{RunId: run})
	if err != nil {
		t.Fatal(err)
	}
	if old := f.get(t, &schedulerv1.GetRunRequest{RunId: run}); old.GetCloseTime() == nil {
		t.Errorf("the old run = %v, want it closed", old)
	}
	if now := f.get(t, &schedulerv1.GetRunRequest{RunId: res.GetRunId()}); now.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_RUNNING {
		t.Errorf("the new run = %v, want it to wait", now)
	}
	before, err := f.ops.GetRunTimeline(f.ctx, &schedulerv1.GetRunTimelineRequest{RunId: res.GetRunId()})
	if err != nil {
		t.Fatal(err)
	}
	f.signal(t, res.GetRunId())
	if end := f.finished(t, res.GetRunId()); end.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_COMPLETED {
		t.Errorf("the new run ended as %v", end)
	}
	if got := f.events(t); !slices.Contains(got, "reset") {
		t.Errorf("events = %v", got)
	}
	quiet, err := f.ops.ResetRun(f.ctx, &schedulerv1.ResetRunRequest{
		RunId: res.GetRunId(), Point: &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_EventId{EventId: before.GetLastEventId()}}, WithoutSignals: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	if now := f.get(t, &schedulerv1.GetRunRequest{RunId: quiet.GetRunId(), Wait: durationpb.New(300 * time.Millisecond)}); now.GetCloseTime() != nil {
		t.Errorf("without its signal the run = %v, want it to wait", now)
	}
}

func TestQuery(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.waits(t)
	for desc, tt := range map[string]struct {
		req  *schedulerv1.QueryRunRequest
		want fault.Kind
		says string
	}{
		"unknown":    {&schedulerv1.QueryRunRequest{RunId: run, Query: "nope"}, fault.Invalid, "state"},
		"no name":    {&schedulerv1.QueryRunRequest{RunId: run}, fault.Invalid, "__stack_trace"},
		"no array":   {&schedulerv1.QueryRunRequest{RunId: run, Query: "state", ArgumentsJson: `{}`}, fault.Invalid, "JSON array"},
		"no such":    {&schedulerv1.QueryRunRequest{RunId: uuid.NewString(), Query: "state"}, fault.NotFound, "no such run"},
		"of nothing": {&schedulerv1.QueryRunRequest{Query: "state"}, fault.Invalid, "name the run"},
	} {
		if _, err := f.ops.QueryRun(f.ctx, tt.req); !tt.want.Is(err) || !strings.Contains(fault.Message(err), tt.says) {
			t.Errorf("%s: QueryRun() = %v, want %q", desc, err, tt.says)
		}
	}
}

func TestDescribeTellsWhatFails(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.start(t, "Stubborn", "").GetRunId()
	eventually(t, "a second try", func() error {
		got, err := f.ops.DescribeRun(f.ctx, &schedulerv1.DescribeRunRequest{RunId: run})
		if err != nil {
			return err
		}
		if len(got.GetPendingActivities()) != 1 {
			return fmt.Errorf("pending = %v", got.GetPendingActivities())
		}
		a := got.GetPendingActivities()[0]
		if a.GetName() != "never" || a.GetAttempt() < 2 || a.GetLastErrorType() != "ConnectError" || a.GetLastErrorMessage() != "no network" ||
			a.GetState() != "scheduled" || a.GetNextAttemptTime() == nil {
			return fmt.Errorf("pending activity = %v", a)
		}
		if got.GetHistorySizeBytes() == 0 || got.GetTaskQueue() == "" || got.GetFirstRunId() != run || got.GetSearchAttributes()["AgentCloudCaller"] != `"u_1"` {
			t.Fatalf("description = %v", got)
		}
		return nil
	})
}

func TestTimeline(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.waits(t)
	before, err := f.ops.GetRunTimeline(f.ctx, &schedulerv1.GetRunTimelineRequest{RunId: run})
	if err != nil || before.GetComplete() || before.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_RUNNING {
		t.Fatalf("timeline = %v, %v", before, err)
	}
	// nothing happens, so this waits
	began := time.Now()
	none, err := f.ops.GetRunTimeline(f.ctx, &schedulerv1.GetRunTimelineRequest{RunId: run, AfterEventId: before.GetLastEventId(), Wait: durationpb.New(500 * time.Millisecond)})
	if err != nil || len(none.GetEntries()) != 0 || time.Since(began) < 400*time.Millisecond {
		t.Errorf("timeline after %s = %v, %v; want nothing, after half a second", time.Since(began), none, err)
	}
	type answer struct {
		res *schedulerv1.GetRunTimelineResponse
		err error
	}
	waiting := make(chan answer, 1)
	go func() {
		res, err := f.ops.GetRunTimeline(f.ctx, &schedulerv1.GetRunTimelineRequest{RunId: run, AfterEventId: before.GetLastEventId(), Wait: durationpb.New(30 * time.Second)})
		waiting <- answer{res, err}
	}()
	f.signal(t, run)
	if got := <-waiting; got.err != nil || len(got.res.GetEntries()) == 0 || got.res.GetEntries()[0].GetWhat() != "signal received" {
		t.Errorf("the next entry = %v, %v", got.res, got.err)
	}
	f.finished(t, run)
	all, err := f.ops.GetRunTimeline(f.ctx, &schedulerv1.GetRunTimelineRequest{RunId: run})
	if err != nil || !all.GetComplete() || all.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_COMPLETED {
		t.Fatalf("timeline = %v, %v", all, err)
	}
	var words []string
	for _, e := range all.GetEntries() {
		words = append(words, strings.TrimSpace(e.GetWhat()+" "+e.GetName()))
	}
	want := []string{
		"run began Steps", "activity asked for first", "activity completed first", "signal received resume",
		"activity asked for second", "activity completed second", "run completed",
	}
	if diff := cmp.Diff(want, words); diff != "" {
		t.Errorf("timeline (-want +got):\n%s", diff)
	}
	last := all.GetEntries()[len(want)-1]
	if last.GetPayload() != `"first was number 1"` || last.GetPayloadBytes() != int64(len(last.GetPayload())) || last.GetDuration().AsDuration() <= 0 {
		t.Errorf("last entry = %v", last)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	labelled := func(user string, labels map[string]string) string {
		ctx := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: f.org, UserID: user})
		res, err := f.client.StartRun(ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Wait", Labels: labels})
		if err != nil {
			t.Fatal(err)
		}
		return res.GetRunId()
	}
	red := labelled("u_1", map[string]string{"team": "red"})
	blue := labelled("u_2", map[string]string{"team": "blue", "order": "A-1 (it is *new*; 100 %, ü)"})
	tool := f.start(t, "add", `{"a":1}`).GetRunId()
	f.finished(t, tool)
	tests := map[string]struct {
		req  *schedulerv1.ListRunsRequest
		want []string
	}{
		"everything of the organisation": {&schedulerv1.ListRunsRequest{}, []string{tool, blue, red}},
		"app":                            {&schedulerv1.ListRunsRequest{TargetId: f.app}, []string{tool, blue, red}},
		"label":                          {&schedulerv1.ListRunsRequest{Labels: []string{"team=red"}}, []string{red}},
		"two labels":                     {&schedulerv1.ListRunsRequest{Labels: []string{"team=blue", "order=A-1 (it is *new*; 100 %, ü)"}}, []string{blue}},
		"labels of two runs":             {&schedulerv1.ListRunsRequest{Labels: []string{"team=blue", "team=red"}}, nil},
		"caller":                         {&schedulerv1.ListRunsRequest{StartedBy: "u_2"}, []string{blue}},
		"status":                         {&schedulerv1.ListRunsRequest{Status: schedulerv1.RunStatus_RUN_STATUS_COMPLETED}, []string{tool}},
		"workflow":                       {&schedulerv1.ListRunsRequest{Name: "add"}, []string{tool}},
		"version":                        {&schedulerv1.ListRunsRequest{VersionId: f.ver}, []string{tool}},
		"started before":                 {&schedulerv1.ListRunsRequest{StartedBefore: f.get(t, &schedulerv1.GetRunRequest{RunId: blue}).GetStartTime()}, []string{red}},
		"own query":                      {&schedulerv1.ListRunsRequest{Query: "WorkflowType = 'Wait' AND NOT AgentCloudCaller = \"u_1\" OR HistoryLength > 1000"}, []string{blue}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			eventually(t, desc, func() error {
				tt.req.WithoutResults = true
				listed, err := f.client.ListRuns(f.ctx, tt.req)
				if err != nil {
					t.Fatalf("ListRuns() = %v", err)
				}
				var got []string
				for _, run := range listed.GetRuns() {
					got = append(got, run.GetRunId())
				}
				slices.Sort(got)
				slices.Sort(tt.want)
				if diff := cmp.Diff(tt.want, got); diff != "" {
					return errors.New(diff)
				}
				return nil
			})
		})
	}
	counted, err := f.ops.CountRuns(f.ctx, &schedulerv1.CountRunsRequest{})
	if err != nil || counted.GetCount() != 3 || len(counted.GetStatuses()) != 2 || counted.GetStatuses()[0].GetCount() != 2 {
		t.Errorf("CountRuns() = %v, %v", counted, err)
	}
	if run := f.get(t, &schedulerv1.GetRunRequest{RunId: blue}); run.GetLabels()["order"] != "A-1 (it is *new*; 100 %, ü)" {
		t.Errorf("labels = %v", run.GetLabels())
	}
}

func TestSearchRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.start(t, "add", `{"a":1}`)
	f.finished(t, run.GetRunId())
	for desc, query := range map[string]string{
		"closing parenthesis": "WorkflowType = 'x') OR (AgentCloudTarget = 'app_2'",
		"open parenthesis":    "(WorkflowType = 'x'",
		"comment":             "WorkflowType = 'x' -- ",
		"other comment":       "WorkflowType = 'x' /* ' */ ) OR (RunId != '' /* ' */",
		"order":               "WorkflowType = 'x' ORDER BY StartTime",
		"group":               "WorkflowType = 'x' GROUP BY ExecutionStatus",
		"other division":      "TemporalNamespaceDivision = 'TemporalBatcher'",
		"backslash":           `WorkflowType = 'x\'`,
		"not finished":        "WorkflowType =",
		"no condition":        "'x'",
		"quote in quotes":     `AgentCloudLabels = 'a="b"'`,
	} {
		if res, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{Query: query}); !fault.Invalid.Is(err) {
			t.Errorf("%s: ListRuns() = %v, %v; want invalid", desc, res, err)
		}
	}
	for desc, ask := range map[string]*schedulerv1.StartRunRequest{
		"bad key":    {Labels: map[string]string{"a=b": "c"}},
		"long value": {Labels: map[string]string{"a": strings.Repeat("x", 201)}},
		"quote":      {Labels: map[string]string{"a": `x"y`}},
		"apostrophe": {Labels: map[string]string{"a": `it's`}},
		"backslash":  {Labels: map[string]string{"a": `x\y`}},
		"control":    {Labels: map[string]string{"a": "x\ny"}},
	} {
		ask.TargetId, ask.Name = f.app, "Wait"
		if _, err := f.client.StartRun(f.ctx, ask); !fault.Invalid.Is(err) {
			t.Errorf("%s: StartRun() = %v, want invalid", desc, err)
		}
	}
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: "org_other"})
	if res, err := f.client.ListRuns(stranger, &schedulerv1.ListRunsRequest{}); err != nil || len(res.GetRuns()) != 0 {
		t.Errorf("ListRuns() of another organisation = %v, %v", res, err)
	}
	if _, err := f.client.ListRuns(stranger, &schedulerv1.ListRunsRequest{VersionId: f.ver}); !fault.NotFound.Is(err) {
		t.Errorf("ListRuns() by another's version = %v, want not found", err)
	}
	for _, org := range []string{"", f.org} {
		nobody := principal.With(t.Context(), principal.Principal{Kind: principal.Anonymous, OrgID: org})
		if _, err := f.client.ListRuns(nobody, &schedulerv1.ListRunsRequest{}); !fault.Denied.Is(err) {
			t.Errorf("ListRuns() by nobody = %v, want denied", err)
		}
		if _, err := f.client.GetRun(nobody, &schedulerv1.GetRunRequest{RunId: run.GetRunId()}); !fault.NotFound.Is(err) {
			t.Errorf("GetRun() by nobody = %v, want not found", err)
		}
	}
}

// Strangers see nothing of a run, by any operation.
func TestOperationsOnRunsOfOthers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.start(t, "Wait", "").GetRunId()
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: "org_other", UserID: "u_9"})
	for desc, call := range map[string]func() error{
		"describe": func() error {
			_, err := f.ops.DescribeRun(stranger, &schedulerv1.DescribeRunRequest{RunId: run})
			return err
		},
		"timeline": func() error {
			_, err := f.ops.GetRunTimeline(stranger, &schedulerv1.GetRunTimelineRequest{RunId: run})
			return err
		},
		"terminate": func() error {
			_, err := f.ops.TerminateRun(stranger, &schedulerv1.TerminateRunRequest{RunId: run})
			return err
		},
		"pause": func() error {
			_, err := f.ops.PauseRun(stranger, &schedulerv1.PauseRunRequest{RunId: run})
			return err
		},
		"unpause": func() error {
			_, err := f.ops.UnpauseRun(stranger, &schedulerv1.UnpauseRunRequest{TargetId: f.app, RunId: run})
			return err
		},
		"reset": func() error {
			_, err := f.ops.ResetRun(stranger, &schedulerv1.ResetRunRequest{RunId: run})
			return err
		},
		"query": func() error {
			_, err := f.ops.QueryRun(stranger, &schedulerv1.QueryRunRequest{RunId: run, Query: "__stack_trace"})
			return err
		},
		"get": func() error {
			_, err := f.client.GetRun(stranger, &schedulerv1.GetRunRequest{RunId: run})
			return err
		},
	} {
		if err := call(); !fault.NotFound.Is(err) {
			t.Errorf("%s by a stranger = %v, want not found", desc, err)
		}
	}
	if got := f.get(t, &schedulerv1.GetRunRequest{RunId: run}).GetStatus(); got != schedulerv1.RunStatus_RUN_STATUS_RUNNING {
		t.Errorf("the run is %s", got)
	}
}
