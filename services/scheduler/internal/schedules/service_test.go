package schedules_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

func TestLifeOfASchedule(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo", "add"))
	made := w.create(t, "yearly", &schedulerv1.ScheduleSpec{Workflow: "Echo", Cron: []string{"30 6 1 3 *"}, TimeZone: "Europe/Berlin"})
	if made.GetPending() || made.GetCreatedBy() != "u_1" || len(made.GetNextTimes()) == 0 {
		t.Errorf("CreateSchedule() = %v", made)
	}
	// 30 6 in Berlin is 5:30 in UTC in winter.
	if next := made.GetNextTimes()[0].AsTime(); next.Month() != time.March || next.Hour() != 5 || next.Minute() != 30 {
		t.Errorf("next time = %v", next)
	}
	w.trigger(t, "yearly")
	run := w.newest(t, "yearly", 1)
	if run.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_COMPLETED || run.GetResultJson() != `"hey"` || run.GetStartedBy() != "schedule:yearly" {
		t.Errorf("the run that was triggered = %v", run)
	}
	eventually(t, "the schedule knows that it has ended", func() error {
		if got := w.get(t, "yearly").GetRecentRuns()[0].GetStatus(); got != schedulerv1.RunStatus_RUN_STATUS_COMPLETED {
			return fmt.Errorf("it says %v", got)
		}
		return nil
	})

	if _, err := w.PauseSchedule(w.ctx, &schedulerv1.PauseScheduleRequest{TargetId: w.app, Name: "yearly", Note: "holidays"}); err != nil {
		t.Fatal(err)
	}
	changed, err := w.UpdateSchedule(w.ctx, &schedulerv1.UpdateScheduleRequest{TargetId: w.app, Name: "yearly", Spec: &schedulerv1.ScheduleSpec{
		Workflow: "Echo", ArgumentsJson: `{"text": "ho"}`, Cron: []string{"0 0 1 1 *"}, Limit: 3,
	}})
	if got := changed.GetSchedule(); err != nil || !got.GetPaused() || got.GetNote() != "holidays" || got.GetRemaining() != 3 || got.GetSpec().GetTimeZone() != "" {
		t.Errorf("UpdateSchedule() of a paused one = %v, %v", got, err)
	}
	if _, err := w.UnpauseSchedule(w.ctx, &schedulerv1.UnpauseScheduleRequest{TargetId: w.app, Name: "yearly"}); err != nil {
		t.Fatal(err)
	}
	w.trigger(t, "yearly")
	if run := w.newest(t, "yearly", 2); run.GetResultJson() != `"ho"` {
		t.Errorf("the run with new arguments = %v", run)
	}
	if _, err := w.DeleteSchedule(w.ctx, &schedulerv1.DeleteScheduleRequest{TargetId: w.app, Name: "yearly"}); err != nil {
		t.Fatal(err)
	}
	if got, err := w.GetSchedule(w.ctx, &schedulerv1.GetScheduleRequest{TargetId: w.app, Name: "yearly"}); !fault.NotFound.Is(err) {
		t.Errorf("GetSchedule() of a deleted one = %v, %v", got, err)
	}
	want := []string{
		"scheduler.schedule.created", "scheduler.schedule.changed", "scheduler.schedule.changed", "scheduler.schedule.changed", "scheduler.schedule.deleted",
	}
	if diff := cmp.Diff(want, w.events(t)); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

func TestAToolRunsOnTheVersionThatIsLiveWhenItFires(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.deploy(t, "", "Echo", "add")
	w.live(t, first)
	w.create(t, "sum", &schedulerv1.ScheduleSpec{Workflow: "add", ArgumentsJson: `{"a": 2}`})
	w.trigger(t, "sum")
	if run := w.newest(t, "sum", 1); run.GetVersionId() != first.ID || run.GetStartedBy() != "schedule:sum" || !strings.Contains(run.GetResultJson(), `"value":7`) {
		t.Errorf("the first run = %v, want version %s, 7, and its schedule", run, first.ID)
	}
	kept, err := w.store.Run(t.Context(), w.get(t, "sum").GetRecentRuns()[0].GetRunId())
	if err != nil || kept.TargetID != w.app || kept.VersionID != first.ID || kept.Type != "AutoWorkflow_add" {
		t.Errorf("the index has %+v, %v", kept, err)
	}
	second := w.deploy(t, "", "Echo", "add")
	w.live(t, second)
	w.trigger(t, "sum")
	if run := w.newest(t, "sum", 2); run.GetVersionId() != second.ID {
		t.Errorf("the run after a deploy = %v, want version %s", run, second.ID)
	}
	if diff := cmp.Diff([]string{first.ID, second.ID}, w.ran); diff != "" {
		t.Errorf("bodies ran on (-want +got):\n%s", diff)
	}
}

func TestAScheduleThatAVersionCannotRunIsStopped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo", "add"))
	w.create(t, "sum", &schedulerv1.ScheduleSpec{Workflow: "add", ArgumentsJson: `{"a": 2}`})
	w.create(t, "held", &schedulerv1.ScheduleSpec{Workflow: "add", ArgumentsJson: `{"a": 2}`})
	w.create(t, "echo", &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	if _, err := w.PauseSchedule(w.ctx, &schedulerv1.PauseScheduleRequest{TargetId: w.app, Name: "held", Note: "by hand"}); err != nil {
		t.Fatal(err)
	}
	w.live(t, w.deploy(t, "", "Echo"))
	if s := w.get(t, "sum"); !s.GetPaused() || !strings.HasPrefix(s.GetNote(), `stopped by a deploy: this app has no workflow "add"`) {
		t.Errorf("the schedule of a tool that is gone = %v", s)
	}
	if s := w.get(t, "echo"); s.GetPaused() {
		t.Errorf("another schedule = %v, want it to go on", s)
	}
	if _, err := w.UnpauseSchedule(w.ctx, &schedulerv1.UnpauseScheduleRequest{TargetId: w.app, Name: "sum"}); !fault.NotFound.Is(err) {
		t.Errorf("UnpauseSchedule() of what cannot run = %v, want not found", err)
	}
	w.live(t, w.deploy(t, "", "Echo", "add"))
	if s := w.get(t, "sum"); s.GetPaused() || s.GetNote() != "" {
		t.Errorf("the schedule of a tool that is back = %v, want it to go on", s)
	}
	if s := w.get(t, "held"); !s.GetPaused() || s.GetNote() != "by hand" {
		t.Errorf("the one that was paused by hand = %v, want it as it was", s)
	}
}

func TestWhatIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo", "add"))
	daily := []string{"@daily"}
	spec := func(change func(*schedulerv1.ScheduleSpec)) *schedulerv1.ScheduleSpec {
		s := &schedulerv1.ScheduleSpec{Workflow: "Echo", Cron: daily}
		change(s)
		return s
	}
	w.create(t, "taken", spec(func(*schedulerv1.ScheduleSpec) {}))
	for desc, tt := range map[string]struct {
		name string
		spec *schedulerv1.ScheduleSpec
		want fault.Kind
		says string
	}{
		"no specification":     {"one", nil, fault.Invalid, "specification is missing"},
		"a bad name":           {"Big One", spec(func(*schedulerv1.ScheduleSpec) {}), fault.Invalid, "small letters"},
		"a name that is taken": {"taken", spec(func(*schedulerv1.ScheduleSpec) {}), fault.Exists, "already"},
		"an unknown workflow":  {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Workflow = "Nope" }), fault.NotFound, "it has: Echo"},
		"a missing argument":   {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Workflow = "add" }), fault.Invalid, "a\n  Field required"},
		"a wrong argument":     {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.ArgumentsJson = `{"text": 5}` }), fault.Invalid, "valid string"},
		"never due":            {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Cron = nil }), fault.Invalid, "say when"},
		"a bad cron":           {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Cron = []string{"61 * * * *"} }), fault.Invalid, "above maximum"},
		"a bad zone":           {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.TimeZone = "Mars/Olympus" }), fault.Invalid, "Mars/Olympus"},
		"a short interval": {"one", spec(func(s *schedulerv1.ScheduleSpec) {
			s.Intervals = []*schedulerv1.IntervalSpec{{Every: durationpb.New(time.Millisecond)}}
		}), fault.Invalid, "too short"},
		"a long offset": {"one", spec(func(s *schedulerv1.ScheduleSpec) {
			s.Intervals = []*schedulerv1.IntervalSpec{{Every: durationpb.New(time.Minute), Offset: durationpb.New(time.Hour)}}
		}), fault.Invalid, "offset"},
		"a bad calendar":    {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Calendars = []*schedulerv1.CalendarSpec{{Hour: "25"}} }), fault.Invalid, "above maximum"},
		"a negative jitter": {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Jitter = durationpb.New(-time.Second) }), fault.Invalid, "jitter"},
		"a short catch-up":  {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.CatchupWindow = durationpb.New(time.Second) }), fault.Invalid, "at least 10s"},
		"a negative limit":  {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Limit = -1 }), fault.Invalid, "limit"},
		"an unknown policy": {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Overlap = 99 }), fault.Invalid, "overlap policy"},
		"ends before it starts": {"one", spec(func(s *schedulerv1.ScheduleSpec) {
			s.StartTime, s.EndTime = timestamppb.New(time.Unix(200, 0)), timestamppb.New(time.Unix(100, 0))
		}), fault.Invalid, "ends before"},
		"too many times": {"one", spec(func(s *schedulerv1.ScheduleSpec) { s.Cron = make([]string, 21) }), fault.Invalid, "at most 20"},
	} {
		_, err := w.CreateSchedule(w.ctx, &schedulerv1.CreateScheduleRequest{TargetId: w.app, Name: tt.name, Spec: tt.spec})
		if !tt.want.Is(err) || !strings.Contains(fault.Message(err), tt.says) {
			t.Errorf("%s: CreateSchedule() = %v, want %q", desc, err, tt.says)
		}
	}
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: "org_other"})
	if _, err := w.GetSchedule(stranger, &schedulerv1.GetScheduleRequest{TargetId: w.app, Name: "taken"}); !fault.NotFound.Is(err) {
		t.Errorf("GetSchedule() by a stranger = %v, want not found", err)
	}
	if _, err := w.DeleteSchedule(stranger, &schedulerv1.DeleteScheduleRequest{TargetId: w.app, Name: "taken"}); !fault.NotFound.Is(err) {
		t.Errorf("DeleteSchedule() by a stranger = %v, want not found", err)
	}
	if _, err := w.ListSchedules(w.ctx, &schedulerv1.ListSchedulesRequest{TargetId: id.App.New()}); !fault.NotFound.Is(err) {
		t.Errorf("ListSchedules() of no app = %v, want not found", err)
	}
}

func TestSchedulesAreListedInPages(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo"))
	for _, name := range []string{"c", "a", "b"} {
		w.create(t, name, &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	}
	var got []string
	for token, pages := "", 0; pages == 0 || token != ""; pages++ {
		res, err := w.ListSchedules(w.ctx, &schedulerv1.ListSchedulesRequest{TargetId: w.app, PageSize: 2, PageToken: token})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range res.GetSchedules() {
			got = append(got, fmt.Sprint(s.GetName(), len(s.GetNextTimes()) > 0))
		}
		token = res.GetNextPageToken()
	}
	if diff := cmp.Diff([]string{"atrue", "btrue", "ctrue"}, got); diff != "" {
		t.Errorf("all pages (-want +got):\n%s", diff)
	}
}

func TestWhileTemporalIsAwayChangesWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo"))
	w.create(t, "old", &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	w.temporal.away.Store(true)
	made := w.create(t, "new", &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	if !made.GetPending() {
		t.Errorf("CreateSchedule() = %v, want it to be pending", made)
	}
	if _, err := w.DeleteSchedule(w.ctx, &schedulerv1.DeleteScheduleRequest{TargetId: w.app, Name: "old"}); err != nil {
		t.Fatal(err)
	}
	w.temporal.away.Store(false)
	if err := w.service.Apply(t.Context(), w.app); err != nil {
		t.Fatal(err)
	}
	if s := w.get(t, "new"); s.GetPending() || len(s.GetNextTimes()) == 0 {
		t.Errorf("afterwards it is %v", s)
	}
	w.gone(t, "old")
}

// gone fails when Temporal still has a schedule.
func (w *world) gone(t *testing.T, name string) {
	t.Helper()
	c, err := w.directory.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	_, err = c.WorkflowService().DescribeSchedule(t.Context(), &workflowservice.DescribeScheduleRequest{Namespace: w.org, ScheduleId: flow.ScheduleID(w.app, name)})
	if err == nil {
		t.Errorf("Temporal still has the schedule %s", name)
	}
}

func TestTheEndOfAnAppIsTheEndOfItsSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, `{"schedules": {"declared": {"workflow": "Echo", "cron": "@yearly"}}}`, "Echo"))
	w.create(t, "by-hand", &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	if err := w.service.End(t.Context(), w.app); err != nil {
		t.Fatal(err)
	}
	w.gone(t, "by-hand")
	w.gone(t, "declared")
	if n, err := w.store.CountSchedules(t.Context(), nil, w.app); n != 0 || err != nil {
		t.Errorf("%d schedules are left, %v", n, err)
	}
}

// Temporal itself is asked what a range of the past would have started, under each
// policy: ten runs are due while the first waits to be told something.
func TestBackfillKeepsToThePolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Wait", "Echo"))
	for desc, tt := range map[string]struct {
		policy           schedulerv1.OverlapPolicy
		started, skipped int64
		waiting          int64
		open             int64
	}{
		"skip":            {policy: schedulerv1.OverlapPolicy_OVERLAP_POLICY_SKIP, started: 1, skipped: 9, open: 1},
		"buffer-one":      {policy: schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ONE, started: 1, skipped: 8, waiting: 1, open: 1},
		"buffer-all":      {policy: schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ALL, started: 1, waiting: 9, open: 1},
		"allow-all":       {policy: schedulerv1.OverlapPolicy_OVERLAP_POLICY_ALLOW_ALL, started: 10, open: 10},
		"terminate-other": {policy: schedulerv1.OverlapPolicy_OVERLAP_POLICY_TERMINATE_OTHER, started: 1, open: 1},
	} {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			w.create(t, desc, &schedulerv1.ScheduleSpec{Workflow: "Wait", Cron: []string{"0 0 * * *"}, Overlap: tt.policy})
			from := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
			res, err := w.BackfillSchedule(w.ctx, &schedulerv1.BackfillScheduleRequest{
				TargetId: w.app, Name: desc, StartTime: timestamppb.New(from), EndTime: timestamppb.New(from.Add(9 * 24 * time.Hour)),
			})
			if err != nil || res.GetDue() != 10 {
				t.Fatalf("BackfillSchedule() = %v, %v; want 10 due", res, err)
			}
			eventually(t, desc, func() error {
				s := w.get(t, desc)
				if s.GetStarted() != tt.started || s.GetSkipped() != tt.skipped || s.GetWaiting() != tt.waiting {
					return fmt.Errorf("started %d, skipped %d, waiting %d; want %+v", s.GetStarted(), s.GetSkipped(), s.GetWaiting(), tt)
				}
				return nil
			})
			if open := w.open(t, desc); open != tt.open {
				t.Errorf("%d runs are open, want %d", open, tt.open)
			}
		})
	}
}

// open counts the open runs of a schedule.
func (w *world) open(t *testing.T, name string) (n int64) {
	t.Helper()
	c, err := w.directory.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range w.get(t, name).GetRecentRuns() {
		d, err := c.DescribeWorkflowExecution(t.Context(), run.GetWorkflowId(), run.GetRunId())
		if err != nil {
			t.Fatal(err)
		}
		if d.GetWorkflowExecutionInfo().GetStatus() == enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING {
			n++
		}
	}
	return n
}

func TestABackfillIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo"))
	w.create(t, "minutes", &schedulerv1.ScheduleSpec{Workflow: "Echo", Cron: []string{"* * * * *"}})
	from := time.Date(2025, 3, 1, 0, 0, 0, 0, time.UTC)
	for desc, tt := range map[string]struct {
		to   time.Time
		want fault.Kind
	}{"a month of minutes": {from.Add(30 * 24 * time.Hour), fault.TooLarge}, "backwards": {from.Add(-time.Hour), fault.Invalid}} {
		_, err := w.BackfillSchedule(w.ctx, &schedulerv1.BackfillScheduleRequest{
			TargetId: w.app, Name: "minutes", StartTime: timestamppb.New(from), EndTime: timestamppb.New(tt.to),
		})
		if !tt.want.Is(err) {
			t.Errorf("%s: BackfillSchedule() = %v", desc, err)
		}
	}
	if started := w.get(t, "minutes").GetStarted(); started > 1 {
		t.Errorf("%d runs were started", started)
	}
}

func TestALimitIsReached(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo"))
	w.create(t, "twice", &schedulerv1.ScheduleSpec{
		Workflow: "Echo", Intervals: []*schedulerv1.IntervalSpec{{Every: durationpb.New(time.Second)}}, Limit: 2,
		Overlap: schedulerv1.OverlapPolicy_OVERLAP_POLICY_ALLOW_ALL,
	})
	w.newest(t, "twice", 2)
	if s := w.get(t, "twice"); s.GetRemaining() != 0 || len(s.GetNextTimes()) != 0 {
		t.Errorf("after its last run it is %v, want nothing to be due", s)
	}
}

func TestDeclaredSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, `{"schedules": {"nightly": {"workflow": "Echo", "cron": "@yearly", "catchup": "2h", "overlap": "buffer-one"},
		"later": {"workflow": "Echo", "interval": "48h", "paused": true, "note": "not yet"}}}`, "Echo", "add"))
	w.create(t, "by-hand", &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	nightly := w.get(t, "nightly")
	if !nightly.GetDeclared() || nightly.GetSpec().GetCatchupWindow().AsDuration() != 2*time.Hour || nightly.GetSpec().GetOverlap() != schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ONE {
		t.Errorf("nightly = %v", nightly)
	}
	if s := w.get(t, "later"); !s.GetPaused() || s.GetNote() != "not yet" {
		t.Errorf("later = %v, want it paused", s)
	}
	_, err := w.DeleteSchedule(w.ctx, &schedulerv1.DeleteScheduleRequest{TargetId: w.app, Name: "nightly"})
	if !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "agentcloud.yaml") {
		t.Errorf("DeleteSchedule() of a declared one = %v, want a conflict", err)
	}
	if _, err := w.PauseSchedule(w.ctx, &schedulerv1.PauseScheduleRequest{TargetId: w.app, Name: "nightly", Note: "by hand"}); err != nil {
		t.Fatal(err)
	}

	// It changes, and stays paused by hand; the other begins; one is new, one by hand.
	w.live(t, w.deploy(t, `{"schedules": {"nightly": {"workflow": "add", "arguments": {"a": 1}, "cron": "@monthly"},
		"later": {"workflow": "Echo", "interval": "48h"}, "fresh": {"workflow": "Echo", "cron": "@yearly"}}}`, "Echo", "add"))
	if s := w.get(t, "nightly"); !s.GetPaused() || s.GetNote() != "by hand" || s.GetSpec().GetWorkflow() != "add" {
		t.Errorf("nightly after a deploy = %v, want it changed, and paused as before", s)
	}
	if s := w.get(t, "later"); s.GetPaused() || s.GetNote() != "" {
		t.Errorf("later = %v, want it to go on", s)
	}
	w.get(t, "fresh")

	// None is declared any more.
	w.live(t, w.deploy(t, "", "Echo", "add"))
	for _, name := range []string{"nightly", "later", "fresh"} {
		w.gone(t, name)
	}
	if s := w.get(t, "by-hand"); s.GetDeclared() || len(s.GetNextTimes()) == 0 {
		t.Errorf("by-hand = %v, want it untouched", s)
	}
}

func TestMistakesInDeclaredSchedules(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo", "add"))
	w.create(t, "mine", &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	v := w.deploy(t, `{"schedules": {"a": {"workflow": "Nope", "cron": "@daily"}, "b": {"workflow": "add", "cron": "@daily"},
		"fine": {"workflow": "Echo", "cron": "@daily"}, "mine": {"workflow": "Echo", "cron": "@daily"}}}`, "Echo", "add")
	mistakes, err := w.service.Check(t.Context(), v)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []string{
		`agentcloud.yaml line 2: schedules.a.workflow: this app has no workflow "Nope"; it has: Echo`,
		"agentcloud.yaml line 2: schedules.b: 1 validation error",
		"agentcloud.yaml line 2: schedules.mine: the app has a schedule of this name",
	} {
		if i >= len(mistakes) || !strings.HasPrefix(mistakes[i].String(), want) {
			t.Errorf("Check() = %v, want %q at %d", mistakes, want, i)
		}
	}
}

func TestACrashBetweenTheStepsIsMadeGood(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo"))
	w.create(t, "one", &schedulerv1.ScheduleSpec{Workflow: "Echo"})
	row, err := w.store.Schedule(t.Context(), w.app, "one")
	if err != nil {
		t.Fatal(err)
	}
	// Temporal has it, and the store has not heard: the step is done again.
	row.State, row.Intent.Create = "applying", true
	if err := w.store.Tx(t.Context(), func(tx *sqldb.Tx) error { return w.store.PutSchedule(t.Context(), tx, row) }); err != nil {
		t.Fatal(err)
	}
	if err := w.service.Apply(t.Context(), w.app); err != nil {
		t.Fatal(err)
	}
	if s := w.get(t, "one"); s.GetPending() {
		t.Errorf("it is %v", s)
	}
}

// Summer time is Temporal's business; the documentation says what it does.
func TestHoursThatTheClockSkipsAndRepeats(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo"))
	w.create(t, "at-half-past-two", &schedulerv1.ScheduleSpec{Workflow: "Echo", Cron: []string{"30 2 * * *"}, TimeZone: "Europe/Berlin"})
	c, err := w.directory.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	for desc, tt := range map[string]struct {
		day  time.Time
		want int
	}{
		"any day": {time.Date(2026, 5, 1, 0, 0, 0, 0, time.UTC), 1},
		"spring":  {time.Date(2026, 3, 29, 0, 0, 0, 0, time.UTC), 0},
		"autumn":  {time.Date(2026, 10, 25, 0, 0, 0, 0, time.UTC), 1},
	} {
		due, err := c.WorkflowService().ListScheduleMatchingTimes(t.Context(), &workflowservice.ListScheduleMatchingTimesRequest{
			Namespace: w.org, ScheduleId: flow.ScheduleID(w.app, "at-half-past-two"),
			StartTime: timestamppb.New(tt.day), EndTime: timestamppb.New(tt.day.Add(20 * time.Hour)),
		})
		if err != nil || len(due.GetStartTime()) != tt.want {
			t.Errorf("%s: due at %v, %v; want %d times", desc, due.GetStartTime(), err, tt.want)
		}
	}
}
