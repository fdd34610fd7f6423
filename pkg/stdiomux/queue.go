package stdiomux

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
)

// item is a message on its way; call is the one it begins, or nil.
type item struct {
	line []byte
	call *call
}

var errClosed = errors.New("nobody reads any more")

// budget bounds the bytes of several queues together.
type budget struct {
	used atomic.Int64
	max  int64
}

// queue is messages on their way to one reader, bounded by their bytes.
type queue struct {
	mu     sync.Mutex
	change *sync.Cond
	items  []item
	bytes  int
	max    int
	total  *budget // nil: none
	closed bool
}

func newQueue(maximum int, total *budget) *queue {
	q := &queue{max: maximum, total: total}
	q.change = sync.NewCond(&q.mu)
	return q
}

// put adds a message; false when the queue is full or closed. A message alone is
// never too large.
func (q *queue) put(i item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.full(i) {
		return false
	}
	q.add(i)
	return true
}

// force adds a message beyond the bound, for what the mux itself has to say; false when
// there is twice as much as there should be.
func (q *queue) force(i item) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || q.bytes > 2*q.max {
		return false
	}
	q.add(i)
	return true
}

// wait adds a message when there is room.
func (q *queue) wait(ctx context.Context, i item) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.until(ctx, func() bool { return !q.full(i) }) {
		return errClosed
	}
	q.add(i)
	return nil
}

// take removes the first message, which it waits for.
func (q *queue) take(ctx context.Context) (item, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if !q.until(ctx, func() bool { return len(q.items) > 0 }) {
		return item{}, errClosed
	}
	i := q.items[0]
	q.items[0] = item{}
	q.items = q.items[1:]
	q.count(-len(i.line))
	q.change.Broadcast()
	return i, nil
}

// keep drops what the rule does not name.
func (q *queue) keep(rule func(item) bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.items = slices.DeleteFunc(q.items, func(i item) bool {
		if rule(i) {
			return false
		}
		q.count(-len(i.line))
		return true
	})
	q.change.Broadcast()
}

// close ends the queue and drops what is in it.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.items = true, nil
	q.count(-q.bytes)
	q.change.Broadcast()
}

func (q *queue) add(i item) {
	q.items = append(q.items, i)
	q.count(len(i.line))
	q.change.Broadcast()
}

func (q *queue) count(bytes int) {
	q.bytes += bytes
	if q.total != nil {
		q.total.used.Add(int64(bytes))
	}
}

func (q *queue) full(i item) bool {
	return len(q.items) > 0 && q.bytes+len(i.line) > q.max || q.total != nil && q.total.used.Load() > q.total.max
}

// until waits for a condition; false when ctx or the queue ended before it held.
func (q *queue) until(ctx context.Context, holds func() bool) bool {
	stop := context.AfterFunc(ctx, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.change.Broadcast()
	})
	defer stop()
	for {
		switch {
		case ctx.Err() != nil || q.closed:
			return false
		case holds():
			return true
		}
		q.change.Wait()
	}
}
