package schedules_test

import (
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// place is what a run gets of a queue.
type place struct {
	share    string
	weight   float64
	priority int32
}

func (w *world) place(t *testing.T, name string, started int64) place {
	t.Helper()
	w.trigger(t, name)
	run := w.newest(t, name, started)
	return place{run.GetShare(), run.GetWeight(), run.GetPriority()}
}

func (w *world) rule(t *testing.T, weight float64) {
	t.Helper()
	admin := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: w.org, UserID: "u_2", Admin: true})
	if _, err := w.priorities.PutPriorityRule(admin, &schedulerv1.PutPriorityRuleRequest{AppId: w.app, Weight: weight}); err != nil {
		t.Fatal(err)
	}
}

func TestScheduledRunsTakeTheShareOfTheirMaker(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, `{"schedules": {"declared": {"workflow": "Echo", "cron": "@yearly", "priority": 1}}}`, "Echo", "add"))
	w.rule(t, 3)
	w.create(t, "by-hand", &schedulerv1.ScheduleSpec{Workflow: "Echo", Priority: 4})
	w.create(t, "of-a-tool", &schedulerv1.ScheduleSpec{Workflow: "add", ArgumentsJson: `{"a": 1}`})
	for name, want := range map[string]place{
		"by-hand":   {share: "u_1", weight: 3, priority: 4},
		"of-a-tool": {share: "u_1", weight: 3, priority: 3},
		"declared":  {share: w.app, priority: 1},
	} {
		if got := w.place(t, name, 1); got != want {
			t.Errorf("a run of %s has %v, want %v", name, got, want)
		}
	}
	w.rule(t, 0.5)
	if err := w.service.Apply(t.Context(), w.app); err != nil {
		t.Fatal(err)
	}
	want := place{share: "u_1", weight: 0.5, priority: 4}
	if got := w.place(t, "by-hand", 2); got != want {
		t.Errorf("after a change of the rule a run has %v, want %v", got, want)
	}
}

func TestThePriorityOfAScheduleIsAskedForAsThatOfARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(t, w.deploy(t, "", "Echo"))
	spec := func(priority int32) *schedulerv1.ScheduleSpec {
		return &schedulerv1.ScheduleSpec{Workflow: "Echo", Cron: []string{"@yearly"}, Priority: priority}
	}
	for priority, want := range map[int32]fault.Kind{1: fault.Denied, -1: fault.Invalid, 6: fault.Invalid} {
		_, err := w.CreateSchedule(w.ctx, &schedulerv1.CreateScheduleRequest{TargetId: w.app, Name: "soon", Spec: spec(priority)})
		if !want.Is(err) {
			t.Errorf("CreateSchedule() of priority %d = %v, want kind %v", priority, err, want)
		}
	}
	w.create(t, "soon", spec(2))
	_, err := w.UpdateSchedule(w.ctx, &schedulerv1.UpdateScheduleRequest{TargetId: w.app, Name: "soon", Spec: spec(1)})
	if !fault.Denied.Is(err) {
		t.Errorf("UpdateSchedule() to priority 1 = %v, want it denied", err)
	}
}
