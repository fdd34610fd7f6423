package health

import (
	"encoding/binary"
	"strconv"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

var worker = &store.Instance{TargetID: "app", OrgID: "org", VersionID: "ver"}

func token(n int) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) } //nolint:gosec // not negative

func TestWhatAWatchRemembersIsBounded(t *testing.T) {
	t.Parallel()
	w := NewWatch(time.Now)
	for i := range 2 * mostActivities {
		run := "run" + strconv.Itoa(i)
		w.StepTaken(worker, "wf", run, 2)
		w.ActivityTaken(worker, "wf", run, token(i), 1)
		version := &store.Instance{VersionID: run}
		w.PollBegan(version, "queue", true)
		w.PollEnded(version, "queue", true)
	}
	if len(w.suspects) != mostSuspects || len(w.activities) != mostActivities || len(w.polls) != mostPolls {
		t.Errorf("remembered: %d suspects, %d activities, %d polls", len(w.suspects), len(w.activities), len(w.polls))
	}
}

func TestASuspect(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	w := NewWatch(func() time.Time { return now })
	if w.StepTaken(worker, "wf", "fine", 1); len(w.take(now, 9)) != 0 {
		t.Error("a first try made a suspect")
	}
	w.StepTaken(worker, "wf", "r", 2)
	began := now
	now = now.Add(time.Second)
	w.StepTaken(worker, "wf", "r", 3)
	taken := w.take(now, 9)
	if len(taken) != 1 || !taken[0].since.Equal(began) || len(w.take(now, 9)) != 0 {
		t.Fatalf("take() = %v; want r since it began, once", taken)
	}
	w.again(taken[0])
	w.StepDone("r")
	if taken = w.take(now, 9); len(taken) != 1 || !taken[0].since.IsZero() {
		t.Errorf("after its step was done: %v; want it looked at once more, with nothing known", taken)
	}
	w.ActivityTaken(worker, "wf", "silent", token(1), 1)
	w.ActivityTaken(worker, "wf", "beats", token(2), 1)
	w.ActivityTaken(worker, "wf", "ends", token(3), 1)
	now = now.Add(time.Minute)
	w.ActivityAlive(token(2))
	w.ActivityOver(token(3))
	if taken = w.take(now.Add(-time.Minute), 9); len(taken) != 1 || taken[0].runID != "silent" {
		t.Errorf("after a minute of silence: %v", taken)
	}
}

func TestPollsOfAVersion(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	w := NewWatch(func() time.Time { return now })
	began := now
	w.PollBegan(worker, "q", false)
	w.PollBegan(worker, "q", false)
	w.PollEnded(worker, "q", false)
	now = now.Add(time.Hour)
	if last := w.lastPoll("ver", "q", false); !last.Equal(now) {
		t.Errorf("while one waits: %v", last)
	}
	w.PollEnded(worker, "q", false)
	now = now.Add(time.Hour)
	if last := w.lastPoll("ver", "q", false); last.Sub(began) != time.Hour {
		t.Errorf("after it ended: %v", last)
	}
	if !w.lastPoll("other", "q", false).IsZero() || !w.lastPoll("ver", "q", true).IsZero() {
		t.Error("polls of another were counted")
	}
}

// BenchmarkWatch is what a watch adds to calls at the edge; none may allocate.
func BenchmarkWatch(b *testing.B) {
	for name, pass := range map[string]func(w *Watch){
		"poll": func(w *Watch) { w.PollBegan(worker, "queue", false); w.PollEnded(worker, "queue", false) },
		"step": func(w *Watch) { w.StepTaken(worker, "wf", "run", 1); w.StepDone("run") },
		"activity": func(w *Watch) {
			w.ActivityTaken(worker, "wf", "run", taskToken, 1)
			w.ActivityAlive(taskToken)
			w.ActivityOver(taskToken)
		},
	} {
		b.Run(name, func(b *testing.B) {
			w := NewWatch(time.Now)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					pass(w)
				}
			})
		})
	}
}

func TestTheWatchAllocatesNothing(t *testing.T) {
	w := NewWatch(time.Now)
	got := testing.AllocsPerRun(100, func() {
		w.PollBegan(worker, "queue", false)
		w.PollEnded(worker, "queue", false)
		w.StepTaken(worker, "wf", "run", 1)
		w.StepDone("run")
		w.ActivityTaken(worker, "wf", "run", taskToken, 1)
		w.ActivityAlive(taskToken)
		w.ActivityOver(taskToken)
	})
	if got != 0 {
		t.Errorf("%v allocations", got)
	}
}

// taskToken is as long as Temporal's.
var taskToken = make([]byte, 150)
