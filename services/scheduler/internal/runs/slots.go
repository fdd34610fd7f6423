package runs

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"go.temporal.io/sdk/worker"
)

// How soon a poll for which work waits brings it. One that takes longer finds nothing,
// and takes no place meanwhile. Where the last one brought work, more is likely, and a
// busy Temporal may be slow to give it.
const (
	answersWithin     = 50 * time.Millisecond
	busyAnswersWithin = 200 * time.Millisecond
)

// slots are the moves of tools' runs that are made at once, of all organisations
// together. While there are fewer, everybody polls; beyond, whoever has had least for
// its weight comes next (start-time fair queueing, Goyal and others, 1996).
type slots struct {
	most    int
	weights map[string]float64

	mu      sync.Mutex
	taken   int                // moves that are made, and polls that may bring one
	clock   float64            // of the last one that was served
	served  map[string]float64 // by organisation, in moves by weight
	busy    map[string]bool    // organisations whose last poll brought work
	waiting []*place
}

// place is one poll and the move that it brings.
type place struct {
	org    string
	ready  chan struct{}
	counts bool // it is in taken
	moves  bool
}

func newSlots(most int, weights map[string]float64) *slots {
	return &slots{most: most, weights: weights, served: map[string]float64{}, busy: map[string]bool{}}
}

// wait returns when an organisation may poll.
func (s *slots) wait(ctx context.Context, org string) (*place, error) {
	mine := &place{org: org, ready: make(chan struct{})}
	s.mu.Lock()
	s.waiting = append(s.waiting, mine)
	s.call()
	s.mu.Unlock()
	select {
	case <-mine.ready:
		return mine, nil
	case <-ctx.Done():
		s.give(mine)
		return nil, ctx.Err()
	}
}

// call lets those come whose turn it is.
func (s *slots) call() {
	for s.taken < s.most && len(s.waiting) > 0 {
		next := slices.MinFunc(s.waiting, func(a, b *place) int { return cmp.Compare(s.at(a.org), s.at(b.org)) })
		s.forget(next)
		s.charge(next)
		close(next.ready)
		within := answersWithin
		if s.busy[next.org] {
			within = busyAnswersWithin
		}
		time.AfterFunc(within, func() { s.settle(next) })
	}
}

// charge counts a poll as a move that is made.
func (s *slots) charge(p *place) {
	p.counts = true
	s.taken++
	s.clock = s.at(p.org)
	s.served[p.org] = s.clock + s.cost(p.org)
}

func (s *slots) cost(org string) float64 { return 1 / cmp.Or(s.weights[org], 1) }

func (s *slots) forget(p *place) {
	s.waiting = slices.DeleteFunc(s.waiting, func(one *place) bool { return one == p })
}

// settle stops counting a poll that has brought nothing so far.
func (s *slots) settle(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.counts && !p.moves {
		s.busy[p.org] = false
		s.release(p)
		s.call()
	}
}

// release gives a place back, and what it cost when nothing came of it.
func (s *slots) release(p *place) {
	p.counts = false
	s.taken--
	if !p.moves {
		s.served[p.org] -= s.cost(p.org)
	}
}

// take counts the move that a poll has brought.
func (s *slots) take(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.moves, s.busy[p.org] = true, true
	if !p.counts {
		s.charge(p)
	}
}

// at is where an organisation stands; who was away has saved nothing up.
func (s *slots) at(org string) float64 { return max(s.served[org], s.clock) }

// give is the end of a move, or of a poll that brought none.
func (s *slots) give(p *place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forget(p)
	if p.counts {
		s.release(p)
	}
	s.call()
}

// orgSlots are the slots as one organisation's worker sees them.
type orgSlots struct {
	all *slots
	org string
}

// ReserveSlot implements worker.SlotSupplier.
func (o orgSlots) ReserveSlot(ctx context.Context, _ worker.SlotReservationInfo) (*worker.SlotPermit, error) {
	p, err := o.all.wait(ctx, o.org)
	if err != nil {
		return nil, err
	}
	return &worker.SlotPermit{UserData: p}, nil
}

// TryReserveSlot implements worker.SlotSupplier: nothing is eager here.
func (orgSlots) TryReserveSlot(worker.SlotReservationInfo) *worker.SlotPermit { return nil }

// MarkSlotUsed implements worker.SlotSupplier.
func (o orgSlots) MarkSlotUsed(info worker.SlotMarkUsedInfo) {
	if p, ok := info.Permit().UserData.(*place); ok {
		o.all.take(p)
	}
}

// ReleaseSlot implements worker.SlotSupplier.
func (o orgSlots) ReleaseSlot(info worker.SlotReleaseInfo) {
	if p, ok := info.Permit().UserData.(*place); ok {
		o.all.give(p)
	}
}

// MaxSlots implements worker.SlotSupplier: there is no bound of one organisation alone.
func (orgSlots) MaxSlots() int { return 0 }

// tuner gives a worker its organisation's slots, and the usual ones for all else.
func (s *slots) tuner(org string) (worker.WorkerTuner, error) {
	usual, err := worker.NewFixedSizeTuner(worker.FixedSizeTunerOptions{})
	if err != nil {
		return nil, err
	}
	return worker.NewCompositeTuner(worker.CompositeTunerOptions{
		WorkflowSlotSupplier: orgSlots{s, org}, ActivitySlotSupplier: usual.GetActivityTaskSlotSupplier(),
		LocalActivitySlotSupplier: usual.GetLocalActivitySlotSupplier(), NexusSlotSupplier: usual.GetNexusSlotSupplier(),
		SessionActivitySlotSupplier: usual.GetSessionActivitySlotSupplier(),
	})
}
