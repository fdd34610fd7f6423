package questions

import (
	"context"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	maxWait = 60 * time.Second
	// lookEvery finds answers that another replica took.
	lookEvery = time.Second
)

// waiting holds the askers that wait on their call.
type waiting struct {
	mu     sync.Mutex
	askers map[string][]chan struct{}
}

// join returns a channel that is closed when the question is answered here.
func (w *waiting) join(questionID string) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := make(chan struct{})
	w.askers[questionID] = append(w.askers[questionID], c)
	return c
}

// leave forgets an asker.
func (w *waiting) leave(questionID string, asker <-chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var rest []chan struct{}
	for _, c := range w.askers[questionID] {
		if c != asker {
			rest = append(rest, c)
		}
	}
	if len(rest) == 0 {
		delete(w.askers, questionID)
		return
	}
	w.askers[questionID] = rest
}

// tell wakes the askers of a question.
func (w *waiting) tell(questionID string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.askers[questionID] {
		close(c)
	}
	delete(w.askers, questionID)
}

// await returns the question when it is answered or the wait is over.
func (s *Service) await(ctx context.Context, q store.Question, wait time.Duration) (store.Question, error) {
	over := time.NewTimer(min(max(wait, 0), maxWait))
	defer over.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		// Joined before looking, so that no answer falls between the two.
		answered := s.waiting.join(q.ID)
		now, err := s.deps.Store.Question(ctx, q.ID)
		if err != nil || now.State != store.Open {
			s.waiting.leave(q.ID, answered)
			return now, err
		}
		select {
		case <-answered:
			continue
		case <-look.C:
			s.waiting.leave(q.ID, answered)
			continue
		case <-s.deps.Draining:
		case <-over.C:
		case <-ctx.Done():
		}
		s.waiting.leave(q.ID, answered)
		return now, ctx.Err()
	}
}
