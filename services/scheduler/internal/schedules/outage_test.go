package schedules_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

const (
	dueEvery = time.Second
	// outage is longer than the shortest catch-up window there is.
	outage       = 14 * time.Second
	shortCatchup = 10 * time.Second
)

// Temporal is killed while schedules are due, and comes back on its data: each starts
// all that was due, all but what is too old, one, or none, exactly as its policies say.
func TestAnOutageEndsAsThePoliciesSay(t *testing.T) {
	t.Parallel()
	victim := temporaltest.NewVictim(t)
	w := worldOn(t, victim.Directory(t))
	w.live(t, w.deploy(t, "", "Echo", "Wait"))
	for name, tt := range map[string]struct {
		workflow string
		overlap  schedulerv1.OverlapPolicy
		catchup  time.Duration
	}{
		"long":   {"Echo", schedulerv1.OverlapPolicy_OVERLAP_POLICY_ALLOW_ALL, time.Hour},
		"short":  {"Echo", schedulerv1.OverlapPolicy_OVERLAP_POLICY_ALLOW_ALL, shortCatchup},
		"held":   {"Wait", schedulerv1.OverlapPolicy_OVERLAP_POLICY_SKIP, time.Hour},
		"queued": {"Wait", schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ALL, time.Hour},
	} {
		w.create(t, name, &schedulerv1.ScheduleSpec{
			Workflow: tt.workflow, Intervals: []*schedulerv1.IntervalSpec{{Every: durationpb.New(dueEvery)}},
			Overlap: tt.overlap, CatchupWindow: durationpb.New(tt.catchup),
		})
	}
	for _, name := range []string{"long", "short", "held", "queued"} {
		eventually(t, name+" fires", func() error { return w.atLeast(t, name, 1) })
	}
	killed := time.Now()
	victim.Kill()
	time.Sleep(outage) // the outage itself
	back := time.Now()
	victim.Start(t)
	eventually(t, "it has caught up", func() error { return w.atLeast(t, "long", int64(outage/dueEvery)) })
	up := time.Now()
	for _, name := range []string{"long", "short", "held", "queued"} {
		if _, err := w.PauseSchedule(w.ctx, &schedulerv1.PauseScheduleRequest{TargetId: w.app, Name: name}); err != nil {
			t.Fatal(err)
		}
	}

	long, short := w.times(t, "long"), w.times(t, "short")
	if gaps := missing(long); len(gaps) > 0 {
		t.Errorf("long has not started what was due at %v", gaps)
	}
	gaps := missing(short)
	for _, due := range gaps {
		if due.Before(killed.Add(-dueEvery)) || due.After(up.Add(-shortCatchup)) {
			t.Errorf("short has not started what was due at %v; killed at %v, up at %v", due, killed, up)
		}
	}
	for due := killed.Add(dueEvery).Truncate(dueEvery); due.Before(back.Add(-shortCatchup)); due = due.Add(dueEvery) {
		if !slices.ContainsFunc(gaps, due.Equal) {
			t.Errorf("short has started what was due at %v, with a window of %s", due, shortCatchup)
		}
	}
	if s := w.get(t, "short"); s.GetMissed() != int64(len(gaps)) || s.GetMissed() == 0 {
		t.Errorf("short says that %d were missed; %d were", s.GetMissed(), len(gaps))
	}
	if s := w.get(t, "held"); s.GetStarted() != 1 || s.GetMissed() != 0 || s.GetSkipped() < int64(outage/dueEvery) {
		t.Errorf("held has started %d, skipped %d, missed %d; want all but the first skipped", s.GetStarted(), s.GetSkipped(), s.GetMissed())
	}
	if s := w.get(t, "queued"); s.GetStarted() != 1 || s.GetMissed() != 0 || s.GetWaiting() < int64(outage/dueEvery) {
		t.Errorf("queued has started %d, waiting %d, missed %d; want all but the first to wait", s.GetStarted(), s.GetWaiting(), s.GetMissed())
	}
	t.Logf("an outage of %s: long started %d, short %d and missed %d, held skipped %d, queued keeps %d", up.Sub(killed).Round(time.Second),
		len(long), len(short), len(gaps), w.get(t, "held").GetSkipped(), w.get(t, "queued").GetWaiting())
}

// atLeast does not mind that Temporal is away.
func (w *world) atLeast(t *testing.T, name string, n int64) error {
	t.Helper()
	res, err := w.GetSchedule(w.ctx, &schedulerv1.GetScheduleRequest{TargetId: w.app, Name: name})
	if err == nil && res.GetSchedule().GetStarted() < n {
		err = fmt.Errorf("%s has started %d runs, want %d", name, res.GetSchedule().GetStarted(), n)
	}
	return err
}

// times are when the runs of a paused schedule were due, by their ids, in order.
func (w *world) times(t *testing.T, name string) (times []time.Time) {
	t.Helper()
	c, err := w.directory.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	prefix := flow.ScheduleID(w.app, name) + "-"
	eventually(t, "each run of "+name+" is listed", func() error {
		times = nil
		listed, err := c.ListWorkflow(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{PageSize: 1000, Query: fmt.Sprintf("WorkflowId STARTS_WITH '%s'", prefix)})
		if err != nil {
			return err
		}
		for _, run := range listed.GetExecutions() {
			due, err := time.Parse(time.RFC3339, strings.TrimPrefix(run.GetExecution().GetWorkflowId(), prefix))
			if err != nil {
				return err
			}
			times = append(times, due)
		}
		if started := w.get(t, name).GetStarted(); started != int64(len(times)) {
			return fmt.Errorf("%d are listed, %d were started", len(times), started)
		}
		return nil
	})
	slices.SortFunc(times, time.Time.Compare)
	return times
}

// missing are the times between the first and the last for which there is no run. A
// time that is there twice counts, too.
func missing(times []time.Time) (none []time.Time) {
	for due := times[0]; due.Before(times[len(times)-1]); due = due.Add(dueEvery) {
		if n := len(slices.DeleteFunc(slices.Clone(times), func(at time.Time) bool { return !at.Equal(due) })); n != 1 {
			none = append(none, due)
		}
	}
	return none
}
