package deployments

import "sync"

// locks is one lock a name, kept only while somebody holds or awaits it.
type locks struct {
	mu    sync.Mutex
	names map[string]*lock
}

type lock struct {
	mu    sync.Mutex
	users int
}

// take waits for the lock of a name and returns what gives it back.
func (l *locks) take(name string) (release func()) {
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
	return func() {
		one.mu.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		if one.users--; one.users == 0 {
			delete(l.names, name)
		}
	}
}
