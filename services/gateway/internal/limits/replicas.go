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

// members knows the other replicas. Its clock is own beats that came back: one is gone
// when it was silent for some of them, and for as long as it may take to reach NATS
// again. When NATS was away, that time begins anew for all, for they do not come back at
// the same moment.
type members struct {
	self string
	// patience is how long one that can reach NATS again may take to do so.
	patience time.Duration
	// connections is how often this replica has reached NATS.
	connections func() uint64

	mu        sync.Mutex
	echoes    int
	echoed    time.Time       // when the last own beat came back
	connected uint64          // by which of the connections
	seen      map[string]seen // the others
}

// seen is when one of the others was heard.
type seen struct {
	echo int
	at   time.Time
}

func newMembers(nc *nats.Conn) *members {
	m := &members{self: uuid.NewString(), seen: map[string]seen{}}
	if nc != nil {
		m.patience = nc.Opts.ReconnectWait + max(nc.Opts.ReconnectJitter, nc.Opts.ReconnectJitterTLS) + nc.Opts.Timeout
		m.connections = func() uint64 { return nc.Stats().Reconnects }
	}
	return m
}

// hear takes a beat; isNew says that its sender does not know us yet.
func (m *members) hear(b beat, now time.Time) (isNew bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if b.ID == m.self {
		m.echo(now)
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
	m.seen[b.ID] = seen{m.echoes, now}
	return !known
}

// echo takes an own beat that came back, and drops who is gone.
func (m *members) echo(now time.Time) {
	m.echoes++
	connected := m.connections()
	away := connected != m.connected || now.Sub(m.echoed) > m.patience/2 // or it hung
	m.echoed, m.connected = now, connected
	for id, last := range m.seen {
		switch {
		case away:
			m.seen[id] = seen{m.echoes, now}
		case m.echoes-last.echo >= silent && now.Sub(last.at) > m.patience:
			delete(m.seen, id)
		}
	}
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
		if l.members.hear(b, l.deps.Now()) {
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
