package limits

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"
	"github.com/nats-io/nats.go"
)

const (
	// Subject is where replicas say that they are alive; no stream keeps it.
	Subject   = "limits.beat"
	beatEvery = 500 * time.Millisecond
	// silent is after how many own beats without one of theirs a replica is gone.
	silent = 6
	// settled is after how many own beats the others are known.
	settled = 2
	// unknownReplicas is what is assumed before NATS has been reached.
	unknownReplicas = 4
	maxReplicas     = 1000
)

type beat struct {
	ID      string `json:"id"`
	Leaving bool   `json:"leaving,omitempty"`
}

// members knows the other replicas. It has no clock: time is own beats that came back.
type members struct {
	self string

	mu     sync.Mutex
	echoes int
	seen   map[string]int // others, and at which echo they were heard
}

func newMembers() *members { return &members{self: uuid.NewString(), seen: map[string]int{}} }

// hear takes a beat; isNew says that its sender does not know us yet.
func (m *members) hear(b beat) (isNew bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.ID == m.self {
		m.echoes++
		for id, at := range m.seen {
			if m.echoes-at >= silent {
				delete(m.seen, id)
			}
		}
		return false
	}
	_, known := m.seen[b.ID]
	if b.Leaving {
		delete(m.seen, b.ID)
		return false
	}
	if !known && len(m.seen) >= maxReplicas {
		return false
	}
	m.seen[b.ID] = m.echoes
	return !known
}

// count is how many replicas there are, with this one.
func (m *members) count() (n int, known bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen) + 1, m.echoes >= settled
}

// Replicas is how many share the limits; known is false until the others had time to
// answer.
func (l *Limiter) Replicas() (n int, known bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, known = l.members.count()
	return l.share.n, known
}

// Run keeps this replica's share until ctx ends, and gives it back then.
func (l *Limiter) Run(ctx context.Context) error {
	settling := true
	sub, err := l.deps.NATS.Subscribe(Subject, func(msg *nats.Msg) {
		var b beat
		if json.Unmarshal(msg.Data, &b) != nil {
			return
		}
		if l.members.hear(b) {
			l.say(beat{ID: l.members.self})
		}
		settling = l.divide(settling)
	})
	if err != nil {
		return fmt.Errorf("listen to other replicas: %w", err)
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone first
	ticker := time.NewTicker(l.deps.Beat)
	defer ticker.Stop()
	for {
		l.say(beat{ID: l.members.self})
		select {
		case <-ctx.Done():
			l.say(beat{ID: l.members.self, Leaving: true})
			return nil
		case <-ticker.C:
		}
	}
}

// say is lost while NATS is away, as it should be.
func (l *Limiter) say(b beat) {
	if raw, err := json.Marshal(b); err == nil {
		_ = l.deps.NATS.Publish(Subject, raw)
	}
}

// divide takes the share that fits the replicas there are.
func (l *Limiter) divide(settling bool) (still bool) {
	n, known := l.members.count()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !known {
		l.share.n = max(n, unknownReplicas)
		return true
	}
	now := l.deps.Now()
	switch {
	case settling && n == 1:
		l.share = share{n: 1}
		l.buckets.Purge()
		l.evicted = time.Time{}
	case settling:
		l.share = share{n: n, since: now}
	default:
		l.share = l.share.of(n, now)
	}
	return false
}
