// Package updates hears which resources of agents change, for all who want to know: one
// conversation with the agent for each app and principal, whatever the agent's era.
//
// It tells that something changed, and not how often; it knows no clients.
package updates

import (
	"context"
	"crypto/rand"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// MaxURIs bounds what one listener hears of.
	MaxURIs = 100
	// maxEars bounds the conversations of this process.
	maxEars = 4096
	// linger is how long a conversation goes on without listeners: those who change what
	// they want leave and come again.
	linger = time.Second
	// firstPause and lastPause are between two tries to hear an agent that has gone.
	firstPause = 500 * time.Millisecond
	lastPause  = 30 * time.Second
	// ackWait is how long an agent may take to say what it will tell.
	ackWait = 20 * time.Second
	goodbye = 5 * time.Second
)

// Stream passes on what an agent of the stateless era says to a request.
type Stream func(ctx context.Context, route *routes.Route, r modern.Request, each func(raw []byte)) *modern.Refusal

// Hub has all conversations of this process.
type Hub struct {
	table  *routes.Table
	open   func(target string, pick routes.Pick) *sessions.Upstream
	stream Stream

	working sync.WaitGroup
	mu      sync.Mutex
	over    bool
	ears    map[key]*ear
}

// key is whose conversation it is, and with which version; eras have their own.
type key struct {
	target, user string
	pick         routes.Pick
	modern       bool
}

// New returns a Hub; open begins conversations with agents of the session era, and stream
// subscribes at the others.
func New(table *routes.Table, open func(target string, pick routes.Pick) *sessions.Upstream, stream Stream) *Hub {
	return &Hub{table: table, open: open, stream: stream, ears: map[key]*ear{}}
}

// Run ends all conversations when ctx ends.
func (h *Hub) Run(ctx context.Context) error {
	<-ctx.Done()
	h.mu.Lock()
	h.over = true
	for _, e := range h.ears {
		e.end()
	}
	h.mu.Unlock()
	h.working.Wait()
	return nil
}

// Listen hears of resources until it is closed. The agent may tell of some only, or of
// none, and that is no error. It fails with fault.Unavailable when the agent is away. What
// may have been missed since before is told at once.
func (h *Hub) Listen(ctx context.Context, route *routes.Route, user string, uris []string, before Before) (*Listener, error) {
	if len(uris) > MaxURIs {
		return nil, fault.Invalid.Errorf("at most %d resources can be listened to at once", MaxURIs)
	}
	e, err := h.ear(route, user)
	if err != nil {
		return nil, err
	}
	l := &Listener{Route: route, ear: e, changed: make(chan struct{}, 1), pending: map[string]bool{}}
	if err := e.add(ctx, l, uris, before); err != nil {
		e.leave(l)
		return nil, err
	}
	return l, nil
}

// Before is what one who listens has heard until now: nothing was missed of the resources,
// and of others what came since a time; zero: nothing.
type Before struct {
	URIs  []string
	Since time.Time
}

// ear finds or begins a conversation. Who has no name has one of his own.
func (h *Hub) ear(route *routes.Route, user string) (*ear, error) {
	k := key{route.Address.GetTargetId(), user, route.Pick(), route.Endpoint.GetModern()}
	if user == "" {
		k.user = "nobody " + rand.Text()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if e := h.ears[k]; e != nil && e.join() {
		return e, nil
	}
	if h.over || len(h.ears) >= maxEars {
		return nil, fault.Exhausted.Errorf("too many subscriptions to resources are open; try again later")
	}
	e := newEar(h, k)
	h.ears[k] = e
	h.working.Go(func() {
		defer h.forget(e)
		e.run()
	})
	return e, nil
}

func (h *Hub) forget(e *ear) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.ears[e.key] == e {
		delete(h.ears, e.key)
	}
}

// Listener is told which resources changed.
type Listener struct {
	// URIs are those that the agent tells of.
	URIs []string
	// Route leads to the agent.
	Route *routes.Route

	ear     *ear
	changed chan struct{}
	mu      sync.Mutex
	pending map[string]bool
}

// Changed gets a token when there is something to take.
func (l *Listener) Changed() <-chan struct{} { return l.changed }

// Done closes when nothing will be heard any more: the app is gone, or its new version is
// of another era.
func (l *Listener) Done() <-chan struct{} { return l.ear.ctx.Done() }

// Take are the resources that have changed since they were last taken.
func (l *Listener) Take() (uris []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for uri := range l.pending {
		uris = append(uris, uri)
	}
	clear(l.pending)
	return uris
}

// Close hears no more.
func (l *Listener) Close() { l.ear.leave(l) }

// tell notes that a resource has changed.
func (l *Listener) tell(uri string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.pending) < 2*MaxURIs {
		l.pending[uri] = true
	}
	select {
	case l.changed <- struct{}{}:
	default:
	}
}
