package sleep_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
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
	w.pretends(work)
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
