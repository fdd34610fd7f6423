// Package locks has locks by name, within one process.
package locks

import "sync"

// Locks is one lock a name, kept only while somebody holds or awaits it. The zero
// value is ready.
type Locks struct {
	mu    sync.Mutex
	names map[string]*lock
}

type lock struct {
	mu    sync.Mutex
	users int
}

// Take waits for the lock of a name and returns what gives it back.
func (l *Locks) Take(name string) (release func()) {
	l.mu.Lock()
	if l.names == nil {
		l.names = map[string]*lock{}
	}
	one := l.names[name]
	if one == nil {
		one = &lock{}
		l.names[name] = one
	}
	one.users++
	l.mu.Unlock()
	one.mu.Lock()
	return func() { l.release(name) }
}

// Try is Take, unless somebody holds or awaits the lock.
func (l *Locks) Try(name string) (release func(), ok bool) {
	l.mu.Lock()
	taken := l.names[name] != nil
	if !taken {
		// Nobody else can take it before this does: it is free, and Take goes through l.mu.
		one := &lock{users: 1}
		one.mu.Lock()
		if l.names == nil {
			l.names = map[string]*lock{}
		}
		l.names[name] = one
	}
	l.mu.Unlock()
	if taken {
		return nil, false
	}
	return func() { l.release(name) }, true
}

func (l *Locks) release(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	one := l.names[name]
	one.mu.Unlock()
	if one.users--; one.users == 0 {
		delete(l.names, name)
	}
}
