// Package bell is rung for agents that are needed, so that one that sleeps wakes and one
// that is awake does not fall asleep. It knows nothing of either.
package bell

import (
	"context"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// Key is one role of a version.
type Key struct {
	VersionID string
	Role      agentenv.Role
}

// Bell remembers who was needed, and when. A nil Bell does nothing.
type Bell struct {
	now func() time.Time

	mu      sync.Mutex
	last    map[Key]time.Time
	targets map[string]*target
	needed  map[Key]struct{}
	stirred map[string]struct{}
	rung    chan struct{}
}

// target is who gives work to a target's agents, and whether one of them is just falling
// asleep.
type target struct {
	holds int
	count int64
	rests chan struct{} // closed when it has
}

// New returns a Bell that nobody has rung.
func New(now func() time.Time) *Bell {
	return &Bell{now: now, last: map[Key]time.Time{}, targets: map[string]*target{}, needed: map[Key]struct{}{}, stirred: map[string]struct{}{}, rung: make(chan struct{}, 1)}
}

// Needed says that there is, or will be at once, work for a role of a version.
func (b *Bell) Needed(versionID string, role agentenv.Role) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	k := Key{versionID, role}
	b.last[k], b.needed[k] = b.now(), struct{}{}
	b.ring()
}

// Stirred says that a run of a target may go on now, so that its queues are looked at.
func (b *Bell) Stirred(targetID string) {
	if b == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stirred[targetID] = struct{}{}
	b.ring()
}

// Hold waits for one of a target's agents that is just falling asleep, and keeps all of
// them from it until release is called: work that comes to one that ends is not done
// before Temporal has missed it.
func (b *Bell) Hold(ctx context.Context, targetID string) (release func()) {
	if b == nil {
		return func() {}
	}
	b.mu.Lock()
	t := b.of(targetID)
	t.holds++
	t.count++
	rests := t.rests
	b.mu.Unlock()
	if rests != nil {
		select {
		case <-rests:
		case <-ctx.Done():
		}
	}
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		t.holds--
	})
}

// Count is how often work has come to a target.
func (b *Bell) Count(targetID string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.of(targetID).count
}

// Rest says that one of a target's agents falls asleep, until done is called; ok is false
// when work has come since count.
func (b *Bell) Rest(targetID string, count int64) (done func(), ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	t := b.of(targetID)
	if t.holds > 0 || t.count != count || t.rests != nil {
		return nil, false
	}
	rests := make(chan struct{})
	t.rests = rests
	return sync.OnceFunc(func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		t.rests = nil
		close(rests)
	}), true
}

// of is what is known of a target; b.mu is held.
func (b *Bell) of(targetID string) *target {
	t := b.targets[targetID]
	if t == nil {
		t = &target{}
		b.targets[targetID] = t
	}
	return t
}

// Busy notes that a role has just worked.
func (b *Bell) Busy(k Key) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last[k] = b.now()
}

func (b *Bell) ring() {
	select {
	case b.rung <- struct{}{}:
	default: // whoever comes takes all
	}
}

// Rung gets a token when there is something to Take.
func (b *Bell) Rung() <-chan struct{} { return b.rung }

// Take returns what was rung for since it was called last.
func (b *Bell) Take() (needed []Key, stirred []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.needed {
		needed = append(needed, k)
	}
	for target := range b.stirred {
		stirred = append(stirred, target)
	}
	clear(b.needed)
	clear(b.stirred)
	return needed, stirred
}

// Last is when a role was needed or worked last; zero: not as long as is remembered.
func (b *Bell) Last(k Key) time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.last[k]
}

// Forget drops what is remembered of those that are not to be kept.
func (b *Bell) Forget(keep func(Key) bool, keepTarget func(targetID string) bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for k := range b.last {
		if _, waits := b.needed[k]; !waits && !keep(k) {
			delete(b.last, k)
		}
	}
	for id, t := range b.targets {
		if t.holds == 0 && t.rests == nil && !keepTarget(id) {
			delete(b.targets, id)
		}
	}
}
