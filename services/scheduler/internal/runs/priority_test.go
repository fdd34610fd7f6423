package runs_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// order is in which order things began.
type order struct {
	mu   sync.Mutex
	seen []string
}

func (o *order) add(what string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.seen = append(o.seen, what)
}

func (o *order) upTo(n int) []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.seen[:min(n, len(o.seen))])
}

// asleep is another app of the fixture's organisation, for which nothing polls yet.
func (f *fixture) asleep(t *testing.T) *fixture {
	t.Helper()
	other := *f
	other.app, other.ver = id.App.New(), id.Version.New()
	other.live(t)
	return &other
}

// flood starts n runs of Echo as a caller, who is told apart by the text.
func (f *fixture) flood(t *testing.T, who principal.Principal, text string, priority int32, n int) {
	t.Helper()
	who.OrgID = f.org
	var all errgroup.Group
	all.SetLimit(16)
	for range n {
		all.Go(func() error {
			_, err := f.client.StartRun(principal.With(t.Context(), who), &schedulerv1.StartRunRequest{
				TargetId: f.app, Name: "Echo", ArgumentsJson: fmt.Sprintf(`{"text":%q}`, text), Priority: priority,
			})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

// wake has a worker with few slots run Echo, and tells in which order runs began.
func (f *fixture) wake(t *testing.T) *order {
	t.Helper()
	c, err := temporaltest.Directory(t).Client(t.Context(), f.org)
	if err != nil {
		t.Fatal(err)
	}
	began := &order{}
	w := worker.New(c, agentenv.TaskQueue(f.app), worker.Options{MaxConcurrentWorkflowTaskExecutionSize: 2, MaxConcurrentWorkflowTaskPollers: 2})
	w.RegisterWorkflowWithOptions(func(_ workflow.Context, text string, _ int) (string, error) {
		began.add(text)
		return text, nil
	}, workflow.RegisterOptions{Name: "Echo"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	return began
}

func count(all []string, what string) (n int) {
	for _, one := range all {
		if one == what {
			n++
		}
	}
	return n
}

var (
	ada   = principal.Principal{Kind: principal.User, UserID: "u_ada"}
	chief = principal.Principal{Kind: principal.User, UserID: "u_chief", Admin: true}
)

func TestRunsOfHighPriorityOvertakeAFlood(t *testing.T) {
	t.Parallel()
	f := newFixture(t).asleep(t)
	f.flood(t, ada, "low", 5, 300)
	f.flood(t, ada, "usual", 0, 10)
	f.flood(t, chief, "high", 1, 10)
	began := f.wake(t)
	eventually(t, "30 runs", func() error {
		if n := len(began.upTo(30)); n < 30 {
			return fmt.Errorf("%d runs began", n)
		}
		return nil
	})
	// Of what Temporal's matching holds ready, the first may be of any kind.
	if first := began.upTo(12); count(first, "high") != 10 {
		t.Errorf("the first runs were %s", strings.Join(first, " "))
	}
	if first := began.upTo(24); count(first, "usual") != 10 {
		t.Errorf("the first runs were %s", strings.Join(first, " "))
	}
}

func TestFloodsShareByWeight(t *testing.T) {
	t.Parallel()
	guest, other := id.Org.New(), id.Org.New()
	tests := map[string]struct {
		heavy, light principal.Principal
		rule         store.PriorityRule
	}{
		"two users": {
			heavy: ada, light: chief, rule: store.PriorityRule{Caller: "u_ada", Weight: 3},
		},
		"two organisations that call an open app": {
			heavy: principal.Principal{Kind: principal.Anonymous, GuestOrg: guest},
			light: principal.Principal{Kind: principal.Anonymous, GuestOrg: other},
			rule:  store.PriorityRule{Caller: guest, Weight: 3},
		},
	}
	base := newFixture(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := base.asleep(t)
			rule := test.rule
			rule.ID, rule.OrgID, rule.AppID = id.PriorityRule.New(), f.org, f.app
			f.put(t, rule)
			f.flood(t, test.light, "light", 0, 80) // who comes first has no advantage
			f.flood(t, test.heavy, "heavy", 0, 80)
			began := f.wake(t)
			eventually(t, "80 runs", func() error {
				if n := len(began.upTo(80)); n < 80 {
					return fmt.Errorf("%d runs began", n)
				}
				return nil
			})
			if n := count(began.upTo(80), "heavy"); n < 54 || n > 66 {
				t.Errorf("%d of the first 80 runs are of the one with three times the weight, want about 60", n)
			}
		})
	}
}

func (f *fixture) put(t *testing.T, rule store.PriorityRule) {
	t.Helper()
	err := f.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, _, err := f.store.PutPriorityRule(t.Context(), tx, rule)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestStepsAndBodiesOfToolsInheritPriority(t *testing.T) {
	t.Parallel()
	f := newFixture(t).asleep(t)
	f.put(t, store.PriorityRule{ID: id.PriorityRule.New(), OrgID: f.org, Caller: "u_1", Weight: 2.5})
	c, err := temporaltest.Directory(t).Client(t.Context(), f.org)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan temporal.Priority, 1)
	bodies := worker.New(c, agentenv.ToolsQueue(f.app, f.ver), worker.Options{DisableWorkflowWorker: true})
	bodies.RegisterActivityWithOptions(func(ctx context.Context, _ struct{ A, B int }) (int, error) {
		got <- activity.GetInfo(ctx).Priority
		return 0, nil
	}, activity.RegisterOptions{Name: "tool:add"})
	if err := bodies.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bodies.Stop)
	started, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "add", ArgumentsJson: `{"a":1}`, Priority: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := temporal.Priority{PriorityKey: 2, FairnessKey: "u_1", FairnessWeight: 2.5}
	select {
	case p := <-got:
		if diff := cmp.Diff(want, p); diff != "" {
			t.Errorf("priority of the tool's body (-want +got):\n%s", diff)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the tool's body did not run")
	}
	run := f.finished(t, started.GetRunId())
	if run.GetPriority() != 2 || run.GetShare() != "u_1" || run.GetWeight() != 2.5 {
		t.Errorf("GetRun() = %v", run)
	}
	eventually(t, "the list", func() error {
		listed, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{TargetId: f.app})
		if err == nil && (len(listed.GetRuns()) != 1 || listed.GetRuns()[0].GetPriority() != 2) {
			err = fmt.Errorf("ListRuns() = %v", listed)
		}
		return err
	})
}

func TestPriorityThatMayNotBeAskedFor(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for priority, want := range map[int32]fault.Kind{1: fault.Denied, 6: fault.Invalid, -1: fault.Invalid} {
		_, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Wait", Priority: priority})
		if !want.Is(err) {
			t.Errorf("StartRun() with priority %d = %v, want kind %v", priority, err, want)
		}
	}
}

// ticks queues n runs of a tool in an organisation of its own, for which nobody makes a
// move yet; began is told as each body begins.
func ticks(t *testing.T, org string, n int, began *order, name string) {
	t.Helper()
	c, err := temporaltest.Directory(t).Client(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	bodies := worker.New(c, "bodies", worker.Options{DisableWorkflowWorker: true})
	bodies.RegisterActivityWithOptions(func(context.Context) error { began.add(name); return nil }, activity.RegisterOptions{Name: "tool:tick"})
	if err := bodies.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bodies.Stop)
	var all errgroup.Group
	all.SetLimit(16)
	for range n {
		all.Go(func() error {
			_, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
				TaskQueue: flow.ToolsQueue, Memo: map[string]any{
					flow.MemoToolsQueue: "bodies", flow.MemoActivity: flow.ActivityPolicy{MaxTries: 1},
				},
			}, agentenv.ToolWorkflow("tick"), map[string]any{})
			return err
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
}

func TestOrganisationsShareMovesOfToolsByWeight(t *testing.T) {
	t.Parallel()
	heavy, light, began := temporaltest.Org(), temporaltest.Org(), &order{}
	ticks(t, light, 100, began, "light")
	ticks(t, heavy, 100, began, "heavy")
	tools := runs.NewToolWorkers(temporaltest.Directory(t), runs.BeginScheduled{}, 2, map[string]float64{heavy: 3}, slog.New(slog.DiscardHandler))
	background(t, func(ctx context.Context) error { return tools.Run(ctx, []string{light, heavy}) })
	eventually(t, "80 bodies", func() error {
		if n := len(began.upTo(80)); n < 80 {
			return fmt.Errorf("%d bodies began", n)
		}
		return nil
	})
	if n := count(began.upTo(80), "heavy"); n < 52 {
		t.Errorf("%d of the first 80 bodies are of the one with three times the weight, want about 60", n)
	}
}
