package sleep_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// busyGateway tells how many calls are open at the first server, and agrees to the end of
// any other.
type busyGateway struct {
	mu     sync.Mutex
	stream grpc.BidiStreamingClient[schedulerv1.AttendRequest, schedulerv1.AttendResponse]
	asked  []string
}

func (w *world) busyGateway() *busyGateway {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	g := &busyGateway{}
	var err error
	if g.stream, err = w.client.Attend(ctx); err != nil {
		w.t.Fatal(err)
	}
	g.send(&schedulerv1.AttendRequest{})
	go func() {
		for {
			q, err := g.stream.Recv()
			if err != nil {
				return
			}
			g.mu.Lock()
			g.asked = append(g.asked, q.GetServerUrl())
			g.mu.Unlock()
			if q.GetAgreement() != 0 {
				g.send(&schedulerv1.AttendRequest{Agreement: q.GetAgreement(), Agreed: true})
			}
		}
	}()
	return g
}

func (g *busyGateway) send(word *schedulerv1.AttendRequest) {
	g.mu.Lock()
	defer g.mu.Unlock()
	_ = g.stream.Send(word) // the test ends
}

func (g *busyGateway) tell(url string, calls int) {
	g.send(&schedulerv1.AttendRequest{Loads: []*schedulerv1.ServerLoad{{ServerUrl: url, Open: int32(calls), Average: float64(calls)}}}) //nolint:gosec // few
}

func (w *world) servers() []deployments.Instance {
	return w.deployments.Instances(w.target, w.version.ID, server)
}

func TestMoreCallsMoreServers(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, "", func(w *world) {
		w.project = `{"scale":{"min":1,"max":3,"concurrency":2}}`
		w.limits.Processes, w.limits.Down = 8, 300*time.Millisecond
	})
	g, first := w.busyGateway(), w.servers()[0].URL
	w.until("there are as many as the calls need", func() bool {
		g.tell(first, 60)
		return len(w.servers()) == 3
	})
	w.until("nothing to do, and they end", func() bool {
		g.tell(first, 1)
		return len(w.servers()) == 1
	})
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, url := range g.asked {
		if url == first {
			t.Error("the one that is called was asked about")
		}
	}
	if e := w.table.Get(w.target); len(e.GetServers()) != 1 || !e.GetReady() {
		t.Errorf("endpoint = %v", e)
	}
}

// tries has a second version, with two servers and workers, that a rollout tries.
func (w *world) tries(project string, classes ...string) (v store.Version, rolloutID string) {
	w.t.Helper()
	v = store.Version{ID: id.Version.New(), TargetID: w.target, AppID: w.target, OrgID: w.org, Number: w.version.Number + 1, BundleID: id.Bundle.New()}
	r := store.Rollout{
		ID: id.Rollout.New(), TargetID: w.target, OrgID: w.org, VersionID: v.ID, StartedAt: time.Now(),
		Plan: &schedulerv1.RolloutPlan{Steps: []*schedulerv1.RolloutStep{{Weight: 500}}},
	}
	_, err := w.store.BeginDeploy(w.t.Context(), v, "", time.Now())
	err = errors.Join(err, w.store.SetArtifact(w.t.Context(), v.ID, &builderv1.Artifact{Manifest: &builderv1.Manifest{ProjectJson: project}}, nil),
		w.store.SetCapture(w.t.Context(), v.ID, store.Capture{Workflows: classes, WorkflowsJSON: `{"Wait":{"run_parameters":{}}}`}))
	for _, r := range []agentenv.Role{server, work} {
		err = errors.Join(err, w.Start(w.t.Context(), w.target, v.ID, r, 2))
	}
	err = errors.Join(err, w.store.Tx(w.t.Context(), func(tx *sqldb.Tx) error {
		_, parked := w.store.Park(w.t.Context(), tx, w.target, v.ID, "it is tried", time.Now())
		_, _, begun := w.store.BeginRollout(w.t.Context(), tx, r, "it is tried")
		_, stepped := w.store.BeginRolloutStep(w.t.Context(), tx, r.ID, 1, time.Now(), time.Now().Add(time.Hour))
		return errors.Join(parked, begun, stepped)
	}), w.deployments.PublishCanary(w.t.Context(), w.target))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = w.Remove(context.Background(), w.target, v.ID) })
	return v, r.ID
}

// TestATriedVersionScalesByItsOwnCalls has calls at the tried version only, and runs that
// keep it after its rollout.
func TestATriedVersionScalesByItsOwnCalls(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, "", func(w *world) {
		w.project = `{"scale":{"min":1,"max":4,"concurrency":2}}`
		w.limits.Processes, w.limits.Down = 8, 300*time.Millisecond
	}, "Wait")
	g := w.busyGateway()
	v, rolloutID := w.tries(`{"scale":{"min":2,"max":4,"concurrency":2}}`, "Wait")
	of := func(r agentenv.Role) []deployments.Instance { return w.deployments.Instances(w.target, v.ID, r) }
	first := of(server)[0].URL
	w.until("there are as many as its calls need", func() bool {
		g.tell(first, 60)
		return len(of(server)) == 4
	})
	if n := len(w.servers()); n != 1 {
		t.Errorf("the live version has %d servers, want one: nobody calls it", n)
	}
	w.until("nothing to do, and it has its least", func() bool {
		g.tell(first, 1)
		return len(of(server)) == 2 && len(w.table.Get(w.target).GetCanary().GetEndpoint().GetServers()) == 2
	})
	if ended, err := w.store.EndRollout(t.Context(), rolloutID, store.RolloutAborted, "", "because", time.Now()); err != nil || !ended {
		t.Fatalf("EndRollout() = %v, %v", ended, err)
	}
	if err := w.deployments.PublishCanary(t.Context(), w.target); err != nil {
		t.Fatal(err)
	}
	w.until("the rollout is over, and what is left drains with one of each role", func() bool {
		g.tell(first, 0)
		return len(of(server)) == 1 && len(of(work)) == 1
	})
	if !w.processes.runs(v.ID, server) || !w.processes.runs(v.ID, work) {
		t.Error("of what drains nothing is left")
	}
}

// TestATriedVersionScalesByItsOwnTasks has a run of the tried version that no worker takes.
func TestATriedVersionScalesByItsOwnTasks(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, "", func(w *world) {
		w.project = `{"scale":{"min":1,"max":4,"concurrency":2}}`
		w.limits.Processes, w.limits.Down = 8, time.Hour
	}, "Wait")
	v, _ := w.tries(`{"scale":{"max":3,"concurrency":2}}`, "Wait")
	start := func() {
		if _, err := w.runs.StartRun(w.ctx, &schedulerv1.StartRunRequest{TargetId: w.target, Name: "Wait", VersionId: v.ID}); err != nil {
			t.Fatal(err)
		}
	}
	start() // Temporal has heard of its worker from here on
	if err := w.Stop(t.Context(), "", v.ID, work); err != nil {
		t.Fatal(err)
	}
	w.pretend(v.ID, work)
	start()
	w.until("there is another worker", func() bool { return len(w.deployments.Instances(w.target, v.ID, work)) == 3 })
	if n := len(w.deployments.Instances(w.target, w.version.ID, work)); n != 1 {
		t.Errorf("the live version has %d workers, want one: the tasks are not its own", n)
	}
}

// TestTasksThatWaitNeedMore has a queue whose tasks nobody takes.
func TestTasksThatWaitNeedMore(t *testing.T) {
	t.Parallel()
	w := newWorldWith(t, "", func(w *world) {
		w.project = `{"scale":{"max":2,"concurrency":1}}`
		w.limits.Processes, w.limits.Down = 8, time.Hour
	}, "Wait")
	if err := w.Stop(t.Context(), "", w.version.ID, work); err != nil { // it looks as if it ran, and polls nothing
		t.Fatal(err)
	}
	w.pretend(w.version.ID, work)
	w.run("Wait")
	w.until("there is another worker", func() bool { return len(w.deployments.Instances(w.target, w.version.ID, work)) == 2 })
	if n := len(w.servers()); n != 1 {
		t.Errorf("%d servers, want one: it has nothing to do", n)
	}
}

// TestWhatIsWarmSleepsToo has a version that stays up for a rollback.
func TestWhatIsWarmSleepsToo(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "300ms", "Wait")
	before := w.version
	w.goLive("300ms", []string{"Wait"})
	err := w.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		return w.store.KeepWarm(t.Context(), tx, w.target, time.Now().Add(time.Hour))
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.deployments.Rouse(t.Context(), w.version, server); err != nil {
		t.Fatal(err)
	}
	w.table.Put(&schedulerv1.Endpoint{TargetId: w.target, VersionId: w.version.ID, Ready: true})
	w.gateway(quiet)
	w.until("both sleep", func() bool { return w.running() == 0 })
	if all, err := w.store.SleepersOf(t.Context(), before.ID); err != nil || len(all) != 2 {
		t.Errorf("what sleeps of the version before = %v, %v", all, err)
	}
}
