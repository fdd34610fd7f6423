package headroom

import (
	"context"
	"slices"
	"time"

	"go.temporal.io/api/workflowservice/v1"
)

// Seat is a poll that is held. A nil Seat is none.
type Seat struct {
	Worker
	headroom *Headroom
	given    chan *workflowservice.PollWorkflowTaskQueueResponse
	// reserved: a run is starting that gives its first move or nothing; gone: its worker
	// waits no longer.
	reserved, gone bool
}

// hold waits until a seat's poll has a task, its worker has gone, or it is to look again.
func (s *Seat) hold(ctx context.Context, wait time.Duration, news <-chan struct{}) (task *workflowservice.PollWorkflowTaskQueueResponse, stay bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case task = <-s.given:
		return task, task == nil
	case <-ctx.Done():
		return s.leave(), false
	case <-timer.C:
	case <-news:
	}
	if !s.stand() {
		return nil, true
	}
	select {
	case task = <-s.given:
		return task, task == nil
	case <-ctx.Done():
		return s.leave(), false
	}
}

// stand gives a seat's place up, and says whether a run has reserved it meanwhile or has
// even given its task.
func (s *Seat) stand() (taken bool) {
	s.headroom.mu.Lock()
	defer s.headroom.mu.Unlock()
	s.headroom.of(s.TargetID).remove(s)
	return s.reserved || len(s.given) > 0
}

// leave gives a seat up for good, and returns what it may just have got.
func (s *Seat) leave() *workflowservice.PollWorkflowTaskQueueResponse {
	s.headroom.mu.Lock()
	defer s.headroom.mu.Unlock()
	s.headroom.of(s.TargetID).remove(s)
	s.gone = true
	select {
	case task := <-s.given:
		return task
	default:
		return nil
	}
}

func (a *app) remove(s *Seat) {
	if w := a.workers[s.ID]; w != nil {
		w.seats = slices.DeleteFunc(w.seats, func(other *Seat) bool { return other == s })
	}
}

// Reserve finds a held poll for a run that is about to start on a version, if it is more
// urgent than what is begun there. It must be followed by Give or Release.
func (h *Headroom) Reserve(ctx context.Context, targetID, versionID string, priority int32) *Seat {
	if h == nil {
		return nil
	}
	timer := time.NewTimer(seatWithin)
	defer timer.Stop()
	for {
		seat, busy, seated := h.reserve(targetID, versionID, valid(priority))
		if seat != nil || !busy {
			return seat
		}
		select {
		case <-seated:
		case <-timer.C:
			h.missed(targetID)
			return nil
		case <-ctx.Done():
			return nil
		}
	}
}

// reserve takes a seat, or says whether one may be free in a moment.
func (h *Headroom) reserve(targetID, versionID string, priority int32) (seat *Seat, busy bool, seated <-chan struct{}) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a, now := h.of(targetID), time.Now()
	a.began[priority] = now
	for _, w := range a.workers {
		if w.version != versionID || w.priority <= priority || now.Sub(w.at) >= pressed {
			continue
		}
		busy = true
		if len(w.seats) > 0 {
			seat = w.seats[0]
			seat.reserved = true
			a.remove(seat)
			return seat, true, nil
		}
	}
	return nil, busy, a.seated.heard
}

// missed lets workers begin the next run without a rest.
func (h *Headroom) missed(targetID string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	a := h.of(targetID)
	a.queued = time.Now()
	a.news.ring()
}

// Give hands a task to the seat's worker; false: it has gone, or the seat was used.
func (s *Seat) Give(task *workflowservice.PollWorkflowTaskQueueResponse) bool {
	return s.settle(task)
}

// Release gives the seat back, if nothing was given to it.
func (s *Seat) Release() {
	if s != nil {
		s.settle(nil)
	}
}

// Open says whether the seat still waits for its task.
func (s *Seat) Open() bool {
	if s == nil {
		return false
	}
	s.headroom.mu.Lock()
	defer s.headroom.mu.Unlock()
	return s.reserved && !s.gone
}

func (s *Seat) settle(task *workflowservice.PollWorkflowTaskQueueResponse) bool {
	s.headroom.mu.Lock()
	defer s.headroom.mu.Unlock()
	if !s.reserved || s.gone {
		return false
	}
	s.reserved = false
	s.given <- task
	return true
}
