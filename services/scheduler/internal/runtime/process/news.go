package process

import (
	"context"
	"sync"
)

// news passes on which versions changed. Changes that nobody has heard yet are one.
type news struct {
	mu        sync.Mutex
	listeners map[*listener]struct{}
}

type listener struct {
	changed map[key]struct{}
	wake    chan struct{}
}

func newNews() *news { return &news{listeners: map[*listener]struct{}{}} }

func (n *news) tell(k key) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.listeners {
		l.changed[k] = struct{}{}
		select {
		case l.wake <- struct{}{}:
		default:
		}
	}
}

func (n *news) watch(ctx context.Context, changed func(targetID, versionID string)) error {
	l := &listener{changed: map[key]struct{}{}, wake: make(chan struct{}, 1)}
	n.mu.Lock()
	n.listeners[l] = struct{}{}
	n.mu.Unlock()
	defer func() {
		n.mu.Lock()
		delete(n.listeners, l)
		n.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
		}
		n.mu.Lock()
		all := l.changed
		l.changed = map[key]struct{}{}
		n.mu.Unlock()
		for k := range all {
			changed(k.target, k.version)
		}
	}
}
