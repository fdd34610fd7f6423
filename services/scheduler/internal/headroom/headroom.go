// Package headroom keeps room for urgent runs beside others of the same app.
//
// A worker begins one run after another, for what it has taken is not called back. While
// it does, its next poll is held here, and after it for a while when urgent runs come, so
// that they find processors free. To a held poll the first move of an urgent run is handed
// at once, past all queues. What is forgotten here, by a restart for instance, begins in
// the order of its queue.
package headroom

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
)

const (
	// long is when a move no longer counts, as in the worker itself: its code blocks.
	long = time.Second
	// heldAtMost bounds how long a poll is held.
	heldAtMost = 5 * time.Second
	// recent is how long after an urgent run others leave room for the next: where few come,
	// little is lost.
	recent = time.Second
	// times is how often as long as a run's first move took its worker rests after it.
	times = 4
	// restAtMost bounds a rest.
	restAtMost = 200 * time.Millisecond
	// seatWithin bounds the wait of an urgent run for a poll, and how long its worker does
	// not rest when it has found none.
	seatWithin = 20 * time.Millisecond
	// pressed is how long after the last run that it began a worker is taken for busy.
	pressed = 5 * time.Second
	// forgotten is when a worker that does not poll is no longer known.
	forgotten = 2 * time.Minute
)

// Headroom knows the workers of all apps, and what they have begun last. A nil Headroom
// keeps no room.
type Headroom struct {
	mu   sync.Mutex
	apps map[string]*app
}

// Worker is one process that begins runs of a version of a target.
type Worker struct {
	TargetID, VersionID, ID string
}

type app struct {
	// began is when a run of each priority began last.
	began [priorities.Last + 1]time.Time
	// queued is when an urgent run began last that found no poll.
	queued  time.Time
	workers map[string]*worker
	// seated is rung when a poll is held, news when one may be held no longer.
	seated, news bell
}

// worker is what is known of one: the run that it has begun last, in order.
type worker struct {
	version  string
	run      string // empty: its first move is made
	priority int32  // 0: it has begun none
	at, over time.Time
	seen     time.Time
	seats    []*Seat
}

// New returns a Headroom that knows nobody.
func New() *Headroom { return &Headroom{apps: map[string]*app{}} }

// Poll returns when a worker may ask Temporal for a run, or with the first move of an
// urgent run, which it is to make instead.
func (h *Headroom) Poll(ctx context.Context, w Worker) *workflowservice.PollWorkflowTaskQueueResponse {
	if h == nil {
		return nil
	}
	seat := &Seat{headroom: h, Worker: w, given: make(chan *workflowservice.PollWorkflowTaskQueueResponse, 1)}
	until := time.Now().Add(heldAtMost)
	for {
		wait, news := h.sit(seat, until)
		if wait <= 0 {
			return nil
		}
		task, stay := seat.hold(ctx, wait, news)
		if !stay {
			return task
		}
	}
}

// sit takes a place for a poll, and says how long it is held unless there are news.
func (h *Headroom) sit(seat *Seat, until time.Time) (time.Duration, <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, now := h.of(seat.TargetID), time.Now()
	w := a.worker(seat.Worker, now)
	wait := min(a.wait(w, now), until.Sub(now))
	if wait > 0 {
		w.seats = append(w.seats, seat)
		a.seated.ring()
	}
	return wait, a.news.heard
}

// wait is how long a worker's poll is held: until the move that it makes is over, and
// then as long as it leaves room.
func (a *app) wait(w *worker, now time.Time) time.Duration {
	switch {
	case w.run != "":
		return w.at.Add(long).Sub(now)
	case !a.urgent(w.priority, now) || now.Sub(a.queued) < seatWithin:
		return 0
	}
	return min(times*w.over.Sub(w.at), restAtMost) - now.Sub(w.over)
}

// urgent says whether runs come that are more urgent than those of a priority.
func (a *app) urgent(priority int32, now time.Time) bool {
	return slices.ContainsFunc(a.began[:priority], func(began time.Time) bool { return now.Sub(began) < recent })
}

// Took says that a worker got the first move of a run from Temporal.
func (h *Headroom) Took(w Worker, runID string, priority int32) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a, now := h.of(w.TargetID), time.Now()
	known := a.worker(w, now)
	known.run, known.priority, known.at = runID, valid(priority), now
	a.began[known.priority] = now
}

// Over says that a worker has made a move of a run.
func (h *Headroom) Over(w Worker, runID string) {
	if h == nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.of(w.TargetID)
	if known := a.workers[w.ID]; known != nil && known.run == runID {
		known.run, known.over = "", time.Now()
		a.news.ring()
	}
}

// of is what is known of a target; h.mu is held.
func (h *Headroom) of(targetID string) *app {
	a := h.apps[targetID]
	if a == nil {
		a = &app{workers: map[string]*worker{}, seated: bell{make(chan struct{})}, news: bell{make(chan struct{})}}
		h.apps[targetID] = a
	}
	return a
}

// bell wakes all who wait for it.
type bell struct{ heard chan struct{} }

func (b *bell) ring() {
	close(b.heard)
	b.heard = make(chan struct{})
}

// worker finds one, and forgets those that have gone.
func (a *app) worker(of Worker, now time.Time) *worker {
	for id, w := range a.workers {
		if now.Sub(w.seen) > forgotten && len(w.seats) == 0 {
			delete(a.workers, id)
		}
	}
	w := a.workers[of.ID]
	if w == nil {
		w = &worker{version: of.VersionID}
		a.workers[of.ID] = w
	}
	w.seen = now
	return w
}

func valid(priority int32) int32 {
	if priority < priorities.First || priority > priorities.Last {
		return priorities.Usual
	}
	return priority
}
