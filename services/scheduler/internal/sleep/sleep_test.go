package sleep_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestNobodyNeedsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "300ms", "Wait")
	w.gateway(quiet)
	w.asleep(server, work)
	if n := w.running(); n != 0 {
		t.Errorf("%d processes run of an app that sleeps", n)
	}
	if e := w.table.Get(w.target); e.GetReady() || !e.GetAsleep() {
		t.Errorf("endpoint of an app that sleeps = %v", e)
	}
	res, err := w.deployments.ListAgents(w.ctx, &schedulerv1.ListAgentsRequest{TargetId: w.target})
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range res.GetAgents() {
		if a.GetState() != schedulerv1.AgentState_AGENT_STATE_ASLEEP || time.Since(a.GetAsleepSince().AsTime()) > patience {
			t.Errorf("agent = %v, want it asleep", a)
		}
	}
	if s := res.GetSleep(); len(res.GetAgents()) != 2 || s.GetIdle().AsDuration() != 300*time.Millisecond || !s.GetDeclared() {
		t.Errorf("ListAgents() = %v", res)
	}

	// A restart starts nothing.
	w.stopSleep()
	again := w.newDeployments()
	w.background(again.Run)
	w.deployments = again
	w.begin()
	w.gateway(quiet)
	if n := w.started(server) + w.started(work); n != 2 {
		t.Errorf("%d starts, want none after the first two", n)
	}

	if res, err := w.client.Wake(t.Context(), &schedulerv1.WakeRequest{TargetId: w.target}); err != nil || res.GetError() != "" {
		t.Fatalf("Wake() = %v, %v", res, err)
	}
	if e := w.table.Get(w.target); !e.GetReady() || e.GetAsleep() {
		t.Errorf("endpoint of an app that was woken = %v", e)
	}
	if w.processes.runs(w.version.ID, work) {
		t.Error("a call woke the worker, too")
	}
	w.asleep(server, work)
	if _, err := w.sleep.WakeApp(w.ctx, &schedulerv1.WakeAppRequest{TargetId: w.target}); err != nil || w.running() != 2 {
		t.Errorf("WakeApp() = %v; %d processes run", err, w.running())
	}
}

// TestNever sees that what is needed does not sleep, for twice the time that it would
// take; something else tells that the time is over.
func TestNever(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		idle   string
		change func(*world)
		begin  func(*world)
		roles  map[string]bool // role to whether it stays awake
	}{
		"its project says never": {
			idle: "never", begin: func(w *world) { w.gateway(quiet) }, roles: map[string]bool{"server": true, "worker": true},
		},
		"the cloud says never": {
			idle: "", change: func(w *world) { w.limits.After = 0 }, begin: func(w *world) { w.gateway(quiet) },
			roles: map[string]bool{"server": true, "worker": true},
		},
		"a call is under way": {
			idle: "300ms", begin: func(w *world) {
				w.gateway(quiet)
				w.gateway(func(*schedulerv1.AttendResponse) *schedulerv1.AttendRequest {
					return &schedulerv1.AttendRequest{AskAgain: durationpb.New(time.Millisecond)}
				})
			}, roles: map[string]bool{"server": true},
		},
		"no gateway is there": {idle: "300ms", begin: func(*world) {}, roles: map[string]bool{"server": true}},
		"a gateway has just left": {
			idle: "300ms", begin: func(w *world) { w.gateway(quiet); w.gateway(quiet)() }, roles: map[string]bool{"server": true},
		},
		"a step is under way": {
			idle: "300ms", begin: func(w *world) { w.gateway(quiet); w.run("Work") }, roles: map[string]bool{"worker": true},
		},
		"a tool's body is under way": {
			idle: "300ms", begin: func(w *world) { w.gateway(quiet); w.run("long") }, roles: map[string]bool{"server": true},
		},
		"a schedule is due soon": {
			idle: "300ms", change: func(w *world) { w.limits.Lead = time.Minute }, begin: func(w *world) {
				w.gateway(quiet)
				w.schedule("Wait", 30*time.Second)
			}, roles: map[string]bool{"server": true, "worker": true},
		},
		"a replay holds it": {
			idle: "300ms", begin: func(w *world) {
				w.gateway(quiet)
				w.background(func(ctx context.Context) error {
					return w.deployments.Hold(ctx, w.version, work, func(context.Context) error { <-ctx.Done(); return nil })
				})
			}, roles: map[string]bool{"server": true, "worker": true},
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			change := tt.change
			if change == nil {
				change = func(*world) {}
			}
			w := newWorldWith(t, tt.idle, change, "Wait", "Work")
			tt.begin(w)
			deadline := time.Now().Add(time.Second)
			for time.Now().Before(deadline) {
				all, err := w.store.SleepersOf(t.Context(), w.version.ID)
				if err != nil {
					t.Fatal(err)
				}
				if i := slices.IndexFunc(all, func(s store.Sleeper) bool { return tt.roles[string(s.Role)] }); i >= 0 {
					t.Fatalf("the %s sleeps", all[i].Role)
				}
				time.Sleep(20 * time.Millisecond)
			}
			// The other role shows that sleep came.
			for _, other := range []string{"server", "worker"} {
				if len(tt.roles) == 1 && !tt.roles[other] {
					w.until("the "+other+" sleeps", func() bool {
						all, err := w.store.SleepersOf(t.Context(), w.version.ID)
						return err == nil && len(all) == 1
					})
				}
			}
		})
	}
}

// schedule has a workflow run at times.
func (w *world) schedule(workflow string, every time.Duration) {
	w.t.Helper()
	_, err := w.schedules.CreateSchedule(w.ctx, &schedulerv1.CreateScheduleRequest{
		TargetId: w.target, Name: "often", Spec: &schedulerv1.ScheduleSpec{
			Workflow: workflow, Intervals: []*schedulerv1.IntervalSpec{{Every: durationpb.New(every)}},
		},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// TestRunsWake sees that each way to work for a sleeping agent wakes it.
func TestRunsWake(t *testing.T) {
	t.Parallel()
	t.Run("a run of a workflow class", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "300ms", "Nap")
		w.asleep(work)
		w.ended(w.run("Nap"))
	})
	t.Run("a run of a tool", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "300ms")
		w.gateway(quiet)
		w.asleep(server)
		w.ended(w.run("add"))
		w.asleep(server)
	})
	t.Run("a signal to a run that waits", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "300ms", "Wait")
		id, run := w.run("Wait")
		w.asleep(work) // the run waits, and gives it nothing to do
		if _, err := w.runs.SignalRun(w.ctx, &schedulerv1.SignalRunRequest{TargetId: w.target, WorkflowId: id, RunId: run}); err != nil {
			t.Fatal(err)
		}
		w.ended(id, run)
	})
	t.Run("a signal that does not pass the scheduler", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "300ms", "Wait")
		id, run := w.run("Wait")
		w.asleep(work)
		c, err := w.directory.Client(t.Context(), w.org)
		if err == nil {
			err = c.SignalWorkflow(t.Context(), id, run, "resume", nil)
		}
		if err != nil {
			t.Fatal(err)
		}
		w.ended(id, run)
	})
	t.Run("a timer", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "300ms", "Nap")
		id, run := w.run("Nap")
		w.asleep(work)
		w.ended(id, run)
	})
	t.Run("a schedule", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "300ms")
		w.gateway(quiet)
		w.schedule("add", 3*time.Second)
		w.asleep(server)
		before := w.started(server)
		w.until("it is woken", func() bool { return w.started(server) > before })
	})
	t.Run("what was started in a moment before a crash", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "300ms", "Done")
		w.asleep(work)
		w.stopSleep()
		c, err := w.directory.Client(t.Context(), w.org)
		if err != nil {
			t.Fatal(err)
		}
		run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{TaskQueue: w.target}, "Done")
		if err != nil {
			t.Fatal(err)
		}
		w.begin()
		w.ended(run.GetID(), run.GetRunID())
	})
}

// TestOpenRunOfAnOldVersion sees that a version with an open run that waits is woken when
// another one takes its place: its end is waited for.
func TestOpenRunOfAnOldVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "300ms", "Wait")
	id, run := w.run("Wait")
	w.asleep(work)
	old := w.version.ID
	w.goLive("never", []string{"Wait"})
	w.until("the old worker runs", func() bool { return w.processes.runs(old, work) })
	if _, err := w.runs.SignalRun(w.ctx, &schedulerv1.SignalRunRequest{TargetId: w.target, WorkflowId: id, RunId: run}); err != nil {
		t.Fatal(err)
	}
	w.ended(id, run)
	_ = w.Remove(t.Context(), w.target, old)
}

func TestOneWakeForAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "300ms")
	w.gateway(quiet)
	w.asleep(server)
	before, gate := w.started(server), make(chan struct{})
	w.processes.mu.Lock()
	w.processes.slow = gate
	w.processes.mu.Unlock()
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() {
			if res, err := w.client.Wake(t.Context(), &schedulerv1.WakeRequest{TargetId: w.target}); err != nil || res.GetError() != "" {
				t.Errorf("Wake() = %v, %v", res, err)
			}
		})
	}
	// One that goes away does not end it for the others.
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := w.client.Wake(short, &schedulerv1.WakeRequest{TargetId: w.target}); err == nil {
		t.Error("Wake() was answered before the agent was up")
	}
	close(gate)
	group.Wait()
	if n := w.started(server) - before; n != 1 {
		t.Errorf("%d starts for 51 who asked, want 1", n)
	}
}

func TestWakeThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "300ms")
	w.gateway(quiet)
	w.asleep(server)
	w.processes.mu.Lock()
	w.processes.broken = "main.py has a mistake"
	w.processes.mu.Unlock()
	res, err := w.client.Wake(t.Context(), &schedulerv1.WakeRequest{TargetId: w.target})
	if err != nil || !strings.Contains(res.GetError(), "main.py has a mistake") {
		t.Fatalf("Wake() = %v, %v, want the reason", res, err)
	}
	if e := w.table.Get(w.target); e.GetAsleep() || e.GetReady() {
		t.Errorf("endpoint of an app that does not start = %v", e)
	}
	w.processes.mu.Lock()
	w.processes.broken = "" // as its restarts find out
	w.processes.mu.Unlock()
	if res, err := w.client.Wake(t.Context(), &schedulerv1.WakeRequest{TargetId: w.target}); err != nil || res.GetError() != "" {
		t.Errorf("Wake() = %v, %v", res, err)
	}
}

// TestRingsWhileItFallsAsleep has work come at every moment of falling asleep: it is done
// each time.
func TestRingsWhileItFallsAsleep(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, "300ms", func(w *world) {})
	var asked atomic.Int64
	w.gateway(func(*schedulerv1.AttendResponse) *schedulerv1.AttendRequest {
		n := asked.Add(1)
		go func() { // before, while and after it is ended
			time.Sleep(time.Duration(n%8) * time.Millisecond)
			w.bell.Needed(w.version.ID, server)
		}()
		return &schedulerv1.AttendRequest{Agreed: true}
	})
	for round := range 6 {
		w.until("it was asked", func() bool { return asked.Load() > int64(round) })
		w.ended(w.run("add"))
	}
}
