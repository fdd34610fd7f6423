package health_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// cases are workflows that do not get on.
type cases struct {
	replays atomic.Int64
	release chan struct{}
}

func (c *cases) register(w worker.Worker) {
	w.RegisterWorkflowWithOptions(func(workflow.Context) error { panic("a bug") }, workflow.RegisterOptions{Name: "Panics"})
	w.RegisterWorkflowWithOptions(c.differs, workflow.RegisterOptions{Name: "Differs"})
	w.RegisterWorkflowWithOptions(single("fails", 0), workflow.RegisterOptions{Name: "Fails"})
	w.RegisterWorkflowWithOptions(single("hangs", 200*time.Millisecond), workflow.RegisterOptions{Name: "Hangs"})
	w.RegisterWorkflowWithOptions(single("silent", 0), workflow.RegisterOptions{Name: "Silent"})
	w.RegisterActivityWithOptions(func(context.Context) error { return errors.New("no such order\nwith details") }, activity.RegisterOptions{Name: "fails"})
	w.RegisterActivityWithOptions(func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, activity.RegisterOptions{Name: "hangs"})
	w.RegisterActivityWithOptions(func(context.Context) error { <-c.release; return nil }, activity.RegisterOptions{Name: "silent"})
}

// single is a workflow of one activity.
func single(name string, heartbeat time.Duration) func(workflow.Context) error {
	return func(ctx workflow.Context) error {
		return workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
			StartToCloseTimeout: time.Hour, HeartbeatTimeout: heartbeat,
			RetryPolicy: &temporal.RetryPolicy{InitialInterval: 50 * time.Millisecond, BackoffCoefficient: 1},
		}), name).Get(ctx, nil)
	}
}

// differs does something else each time.
func (c *cases) differs(ctx workflow.Context) error {
	if c.replays.Add(1) == 1 {
		return workflow.Sleep(ctx, 10*time.Millisecond)
	}
	return single("silent", 0)(ctx)
}

func TestAStuckRunOfEachKindIsReportedAndCleared(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		workflow, reason, says string
		within                 time.Duration // of what is set, and what Temporal takes to try again
	}{
		"code that fails":              {"Panics", health.StepFails, "a bug", 3 * time.Second},
		"code that differs":            {"Differs", health.NotDeterministic, "reset", 3 * time.Second},
		"an activity that fails":       {"Fails", health.ActivityFails, "no such order", 3 * time.Second},
		"an activity that times out":   {"Hangs", health.ActivityTimesOut, "not done in time", 4 * time.Second},
		"an activity without any sign": {"Silent", health.ActivitySilent, "no sign of life", 3 * time.Second},
	}
	w := newWorld(t, quick())
	c := &cases{release: make(chan struct{})}
	w.work(c)
	t.Cleanup(func() { close(c.release) }) // before the worker stops
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			run := w.start(tt.workflow)
			began := time.Now()
			has := func(found store.Condition) bool {
				return found.Type == health.WorkflowStuck && found.Reason == tt.reason && found.Subject == tt.workflow && slices.Contains(found.RunIDs, run.RunID)
			}
			var found store.Condition
			eventually(t, "the run is reported", func() bool {
				all := w.look()
				i := slices.IndexFunc(all, has)
				if i >= 0 {
					found = all[i]
				}
				return i >= 0
			})
			took := time.Since(began)
			t.Logf("%s after %s: %s", found.Reason, took.Round(time.Millisecond), found.Message)
			if took > tt.within {
				t.Errorf("it took %s, want at most %s", took, tt.within)
			}
			if !strings.Contains(found.Message, tt.says) || strings.Contains(found.Message, "with details") {
				t.Errorf("message = %q, want the first line of %q", found.Message, tt.says)
			}
			if err := w.upstream().TerminateWorkflow(t.Context(), run.WorkflowID, run.RunID, "a test"); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is cleared", func() bool { return !slices.ContainsFunc(w.look(), has) })
			if got := w.events(tt.reason); got != "healthy active, active healthy" {
				t.Errorf("events = %s", got)
			}
		})
	}
}

func TestWhatIsStuckIsKnownAfterARestart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	c := &cases{release: make(chan struct{})}
	w.work(c)
	t.Cleanup(func() { close(c.release) })
	run := w.start("Silent")
	stuck := func() bool {
		all := w.look()
		return len(all) == 1 && all[0].Reason == health.ActivitySilent && all[0].RunIDs[0] == run.RunID
	}
	eventually(t, "the run is reported", stuck)
	since := w.look()[0].Since
	w.begin()
	for range 3 {
		if !stuck() || !w.look()[0].Since.Equal(since) {
			t.Fatalf("a new process sees %v", w.look())
		}
	}
	c.release <- struct{}{}
	eventually(t, "it is cleared when the activity ends", func() bool { return len(w.look()) == 0 })
}

// Temporal marks runs whose steps have failed five times; a process that has seen none of
// that finds them by the mark.
func TestWhatFailedBeforeThisProcessIsFound(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	w.work(&cases{})
	run := w.startWith("Panics", time.Second)
	eventually(t, "the run is reported", func() bool {
		w.begin()
		all := w.look()
		return len(all) == 1 && all[0].Reason == health.StepFails && all[0].RunIDs[0] == run.RunID
	})
}
