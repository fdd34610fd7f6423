// Package memo remembers for a moment what was read, for what is read far more often than
// it changes. It knows nothing of rights.
package memo

import (
	"context"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// Memo has values of one kind by key. The library's LRU of values that expire would wake up
// a hundred times in each one's life, also when nobody asks.
type Memo[V any] struct {
	fresh time.Duration
	now   func() time.Time

	mu    sync.Mutex
	known *simplelru.LRU[string, entry[V]]
	// changes counts the calls of Forget: what was read before one is not kept after it.
	changes int
}

type entry[V any] struct {
	value V
	until time.Time
}

// New returns a Memo of up to size values, each of which is as old as fresh at most.
func New[V any](size int, fresh time.Duration, now func() time.Time) *Memo[V] {
	known, err := simplelru.NewLRU[string, entry[V]](size, nil)
	if err != nil {
		panic(err) // the size is a constant above zero
	}
	return &Memo[V]{fresh: fresh, now: now, known: known}
}

// Get returns what is known, or loads it. Failures are not remembered.
func (m *Memo[V]) Get(ctx context.Context, key string, load func(context.Context) (V, error)) (V, error) {
	value, found, changes := m.find(key)
	if found {
		return value, nil
	}
	value, err := load(ctx)
	if err == nil {
		m.keep(key, value, changes)
	}
	return value, err
}

func (m *Memo[V]) find(key string) (value V, found bool, changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e, ok := m.known.Get(key)
	return e.value, ok && m.now().Before(e.until), m.changes
}

func (m *Memo[V]) keep(key string, value V, changes int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if changes == m.changes {
		m.known.Add(key, entry[V]{value: value, until: m.now().Add(m.fresh)})
	}
}

// Forget makes the next Get of each key load, also when one is loading now. It is to be
// called when what is remembered has changed.
func (m *Memo[V]) Forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.changes++
	m.known.Purge()
}
