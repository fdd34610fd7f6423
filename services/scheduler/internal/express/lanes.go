// Package express lets urgent runs begin past those that a worker is busy with.
//
// A worker begins one run at a time, for what it has taken is not called back. Beside
// that it keeps one poll, which is held here until a run comes that is more urgent than
// those it works on; for a moment they then begin nothing else. What is forgotten here,
// by a restart for instance, is served in order, a little later.
package express

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"
)

const (
	// usual is the priority of runs that say none.
	usual = 3
	// heldAtMost is how long a poll is held; then the worker polls anew.
	heldAtMost = 20 * time.Second
	// long is when a move no longer counts, as in the worker: its code blocks.
	long = time.Second
	// rushAtMost is how long an urgent start may be on its way until its first step.
	rushAtMost = 250 * time.Millisecond
	// yieldsAtMost is how long others wait for urgent runs, so that they get on, too.
	yieldsAtMost = 100 * time.Millisecond
	// openAtMost is how long an urgent workflow is expected to go on at once.
	openAtMost = 5 * time.Second
)

// Lanes are the ways of all targets. A nil Lanes holds nobody.
type Lanes struct {
	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is how the runs of one target begin.
type lane struct {
	// usually is the priority of the last run that began in order; 0: none did.
	usually int32
	// settles is how long Temporal takes from an accepted start until polls find it.
	settles time.Duration
	workers map[string]*worker
	rushes  []*Rush
	// open are urgent workflows that go on, since when.
	open    map[string]time.Time
	changed chan struct{} // closed when something has
}

// worker is the place of one process in which runs begin in order.
type worker struct {
	polls bool
	moves string // the workflow whose move it makes; empty: none
	began time.Time
	seen  time.Time
}

// New returns Lanes on which nobody is.
func New() *Lanes { return &Lanes{lanes: map[string]*lane{}} }

// of finds a target's lane, without what is over.
func (l *Lanes) of(targetID string) *lane {
	a := l.lanes[targetID]
	if a == nil {
		a = &lane{settles: firstSettles, workers: map[string]*worker{}, open: map[string]time.Time{}, changed: make(chan struct{})}
		l.lanes[targetID] = a
	}
	now := time.Now()
	a.rushes = slices.DeleteFunc(a.rushes, func(r *Rush) bool { return !now.Before(r.until) })
	return a
}

// tell wakes those who wait.
func (a *lane) tell() {
	close(a.changed)
	a.changed = make(chan struct{})
}

// worker finds a process, and forgets those that have gone.
func (a *lane) worker(name string, now time.Time) *worker {
	for other, w := range a.workers {
		if now.Sub(w.seen) > 10*heldAtMost {
			delete(a.workers, other)
		}
	}
	w := a.workers[name]
	if w == nil {
		w = &worker{}
		a.workers[name] = w
	}
	w.seen = now
	return w
}

// Kind is what a worker polls for.
type Kind int

// The kinds of polls.
const (
	Begin Kind = iota // runs that begin
	GoOn              // runs that go on
)

// Poll returns when a worker of a target may ask Temporal for a run. It is nil when the
// wait was in vain; then the worker is to poll anew.
func (l *Lanes) Poll(ctx context.Context, targetID, name string, kind Kind) (*Pass, error) {
	if l == nil {
		return &Pass{}, nil
	}
	began := time.Now()
	for {
		l.mu.Lock()
		a, now := l.of(targetID), time.Now()
		pass, next := &Pass{}, a.yields(began, now)
		if kind == Begin {
			pass, next = l.pass(a, a.worker(name, now), began, now)
		} else if next > 0 {
			pass = nil
		}
		changed := a.changed
		l.mu.Unlock()
		if pass != nil {
			return pass, nil
		}
		if now.Sub(began) >= heldAtMost {
			return nil, nil //nolint:nilnil // as the comment says
		}
		timer := time.NewTimer(min(next, heldAtMost-now.Sub(began)))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil, ctx.Err()
		case <-changed:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// pass lets a poll through, or says when to look again at the latest.
func (l *Lanes) pass(a *lane, w *worker, began, now time.Time) (*Pass, time.Duration) {
	wait := heldAtMost
	for _, r := range a.rushes {
		if r.at == queued && !now.Before(r.ready) {
			r.at = called
			return &Pass{lanes: l, lane: a, worker: w, express: w.enter(now), rush: r}, 0
		}
		wait = min(wait, r.next(now))
	}
	switch {
	case w.moves != "" && w.busy(now):
		return nil, min(wait, w.began.Add(long).Sub(now))
	case w.busy(now):
		return nil, wait
	case len(a.rushes) > 0 && now.Sub(began) < yieldsAtMost:
		return nil, min(wait, yieldsAtMost-now.Sub(began))
	}
	w.enter(now)
	return &Pass{lanes: l, lane: a, worker: w}, 0
}

// yields is how long a poll for runs that go on still waits for urgent ones to begin; not
// at all when it may be an urgent one that goes on.
func (a *lane) yields(began, now time.Time) time.Duration {
	for id, since := range a.open {
		if now.Sub(since) > openAtMost {
			delete(a.open, id)
		}
	}
	if len(a.rushes) == 0 || len(a.open) > 0 {
		return 0
	}
	wait := yieldsAtMost - now.Sub(began)
	for _, r := range a.rushes {
		wait = min(wait, r.until.Sub(now))
	}
	return max(wait, 0)
}

// enter takes the place in which runs begin in order; true: it is taken already.
func (w *worker) enter(now time.Time) (taken bool) {
	if w.busy(now) {
		return true
	}
	w.polls = true
	return false
}

// busy says whether the place is taken.
func (w *worker) busy(now time.Time) bool {
	return w.polls || w.moves != "" && now.Sub(w.began) < long
}

// Pass is a poll that was let through; it ends with Took.
type Pass struct {
	lanes   *Lanes
	lane    *lane
	worker  *worker
	express bool
	rush    *Rush // for which it was let through; nil: it was its turn
}

// Took tells what the poll has brought: a workflow with its priority, 0 for the usual
// one, or nothing, which has no id.
func (p *Pass) Took(workflowID string, priority int32) {
	if p == nil || p.lanes == nil {
		return
	}
	p.lanes.mu.Lock()
	defer p.lanes.mu.Unlock()
	if !p.express {
		p.worker.polls, p.worker.moves, p.worker.began = false, workflowID, time.Now()
		if workflowID != "" {
			p.lane.usually = cmp.Or(priority, usual)
		}
	}
	p.lane.learn(p.rush, workflowID)
	for _, r := range p.lane.rushes {
		if r.id == workflowID {
			r.at = taken
		}
	}
	p.lane.tell()
}

// Done tells that a worker has made a move of a workflow.
func (l *Lanes) Done(targetID, workflowID string) {
	l.change(targetID, func(a *lane) bool {
		for _, w := range a.workers {
			if w.moves == workflowID {
				w.moves = ""
				return true
			}
		}
		return false
	})
}

// change changes a lane that there is.
func (l *Lanes) change(targetID string, do func(a *lane) bool) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lanes[targetID] == nil {
		return
	}
	if a := l.of(targetID); do(a) {
		a.tell()
	}
}
