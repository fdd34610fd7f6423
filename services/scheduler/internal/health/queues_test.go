package health_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func (w *world) sees(typ string) (store.Condition, bool) {
	w.t.Helper()
	all := w.look()
	i := slices.IndexFunc(all, func(c store.Condition) bool { return c.Type == typ })
	if i < 0 {
		return store.Condition{}, false
	}
	return all[i], true
}

func TestAQueueWithoutAWorkerIsReportedUntilOneComes(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	stop := w.work(&cases{})
	for began := time.Now(); time.Since(began) < 2*w.limits.NoWorker; time.Sleep(50 * time.Millisecond) {
		if c, found := w.sees(health.NoWorker); found {
			t.Fatalf("while a worker waits: %v", c)
		}
	}
	stop()
	began := time.Now()
	for time.Since(began) < 2*w.limits.NoWorker {
		if c, found := w.sees(health.NoWorker); found {
			t.Fatalf("while nothing waits: %v", c)
		}
	}
	began = time.Now()
	w.start("Panics")
	w.start("Panics")
	var found store.Condition
	eventually(t, "it is reported", func() (ok bool) { found, ok = w.sees(health.NoWorker); return ok })
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("it took %s from when a task waited", took)
	}
	if found.Reason != health.NobodyPolls || found.Subject != w.instance.TargetID || !strings.HasPrefix(found.Message, "2 steps wait in queue "+w.instance.TargetID) {
		t.Errorf("found %v", found)
	}
	w.work(&cases{})
	eventually(t, "it is cleared", func() bool { _, still := w.sees(health.NoWorker); return !still })
	if got := w.events(health.NobodyPolls); got != "healthy active, active healthy" {
		t.Errorf("events = %s", got)
	}
}

func TestAQueueThatOnlyGrowsIsReported(t *testing.T) {
	t.Parallel()
	limits := quick()
	limits.NoWorker = time.Hour
	w := newWorld(t, limits)
	w.work(&cases{})() // the version is known
	eventually(t, "it is reported", func() bool {
		for range 4 {
			w.start("Panics")
		}
		c, found := w.sees(health.QueueGrowing)
		return found && c.Reason == health.OnlyGrows && strings.Contains(c.Message, "only grown")
	})
	eventually(t, "it is cleared when it grows no more", func() bool { _, still := w.sees(health.QueueGrowing); return !still })
}

func TestWhatNoLiveVersionHasIsOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	w.work(&cases{})()
	w.start("Panics")
	eventually(t, "it is reported", func() bool { _, found := w.sees(health.NoWorker); return found })
	if err := w.store.DeleteTarget(t.Context(), w.instance.TargetID); err != nil {
		t.Fatal(err)
	}
	w.instance.TargetID = id.App.New()
	if all := w.look(); len(all) != 0 {
		t.Errorf("after the app was deleted: %v", all)
	}
}

// Who sleeps is woken for its tasks by somebody else; the time for which nobody asks for
// them begins with the wake.
func TestASleepingWorkerIsNotMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	w.work(&cases{})()
	version := w.instance.VersionID
	err := w.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := w.store.PutSleeper(t.Context(), tx, store.Sleeper{VersionID: version, TargetID: w.instance.TargetID, Role: agentenv.RoleWorker, Since: time.Now()})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	w.start("Panics")
	for began := time.Now(); time.Since(began) < 2*w.limits.NoWorker; time.Sleep(50 * time.Millisecond) {
		if c, found := w.sees(health.NoWorker); found {
			t.Fatalf("while it sleeps: %v", c)
		}
	}
	err = w.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := w.store.DeleteSleeper(t.Context(), tx, version, agentenv.RoleWorker)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if c, found := w.sees(health.NoWorker); found {
		t.Errorf("as it wakes: %v", c)
	}
	eventually(t, "a worker that does not come is missed", func() bool { _, found := w.sees(health.NoWorker); return found })
}
