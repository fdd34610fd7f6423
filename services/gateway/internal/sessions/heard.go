package sessions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"github.com/nats-io/nats.go"
)

// A client whose connection broke may repeat its call at another replica, which has to
// know then that the call is being made. Replicas tell each other: of each call of a
// session that several of them know, and of others when their connection breaks.

const (
	// callsSubject tells all replicas of a call, and of its end.
	callsSubject = "gateway.sessions.calls"
	// heardCalls bounds the calls of others that are known here.
	heardCalls = 1 << 16
	// echoWait is how long the word of a call may take to come back.
	echoWait = 250 * time.Millisecond
	begun    = "+"
	finished = "-"
)

// heard are calls that replicas make. All hear of them in the same order, themselves
// included: of two that begin the same call the first makes it.
type heard struct {
	// name is by which the others reach this replica.
	name string

	mu    sync.Mutex
	calls *expirable.LRU[string, string] // session's key and the call's digest to the replica
	of    map[string]int                 // session's key to how many of its calls
	echo  map[string]chan struct{}       // calls of ours of which we have not heard yet
}

func newHeard() *heard {
	h := &heard{of: map[string]int{}, echo: map[string]chan struct{}{}}
	h.calls = expirable.NewLRU(heardCalls, func(call, _ string) { h.less(call) }, brokenFor)
	return h
}

func (h *heard) less(call string) {
	session, _, _ := strings.Cut(call, " ")
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.of[session]--; h.of[session] <= 0 {
		delete(h.of, session)
	}
}

// note acts on what a replica says.
func (h *heard) note(kind, call, at string) {
	maker, known := h.calls.Peek(call)
	switch {
	case kind == finished && maker == at:
		h.calls.Remove(call)
	case kind == begun && !known:
		session, _, _ := strings.Cut(call, " ")
		h.mu.Lock()
		h.of[session]++
		h.mu.Unlock()
		h.calls.Add(call, at)
	}
	if kind == begun && at == h.name {
		h.mu.Lock()
		defer h.mu.Unlock()
		if c := h.echo[call]; c != nil {
			close(c)
			delete(h.echo, call)
		}
	}
}

// expect returns a channel that closes when we hear of a call of ours.
func (h *heard) expect(call string) <-chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	c := h.echo[call]
	if c == nil {
		c = make(chan struct{})
		h.echo[call] = c
	}
	return c
}

func (h *heard) unexpect(call string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.echo, call)
}

func (h *heard) any(session string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.of[session] > 0
}

// digest names a call among those of its session.
func digest(id string, body []byte) string {
	sum := sha256.New()
	_, _ = sum.Write(append([]byte(id), 0)) // never fails
	_, _ = sum.Write(body)
	return hex.EncodeToString(sum.Sum(nil))
}

// CallsAt says by which name the others reach this replica about calls. It is called
// before the first session.
func (st *Store) CallsAt(name string) { st.heard.name = name }

// Elsewhere is the replica that makes a call already, as far as it is known here: while
// NATS is silent, that is what this replica knows.
func (c *Call) Elsewhere(ctx context.Context) (replica string, ok bool) {
	if c == nil {
		return "", false
	}
	h := c.session.store.heard
	if c.echo != nil {
		select {
		case <-c.echo:
		case <-time.After(echoWait):
			h.unexpect(c.locked())
		case <-ctx.Done():
		}
	}
	if !h.any(c.session.key) {
		return "", false
	}
	replica, ok = h.calls.Get(c.locked())
	return replica, ok && replica != h.name
}

func (c *Call) locked() string {
	c.session.mu.Lock()
	defer c.session.mu.Unlock()
	return c.name()
}

// name is the call's among all replicas; the session's mu is held.
func (c *Call) name() string {
	if c.called == "" {
		c.called = c.session.key + " " + digest(c.id, c.body)
	}
	return c.called
}

// tellFirst tells the others of a call before it is made.
func (c *Call) tellFirst() {
	h := c.session.store.heard
	echo := h.expect(c.name())
	if !c.tell() {
		h.unexpect(c.name())
		return
	}
	c.echo = echo
}

// tell tells the others of a call; untell of its end. The session's mu is held.
func (c *Call) tell() bool {
	c.told = c.say(begun)
	return c.told
}

func (c *Call) untell() {
	if c.told {
		c.say(finished)
	}
}

func (c *Call) say(kind string) bool {
	s := c.session
	if s.store.Records == nil || s.kept.IsZero() || s.store.heard.name == "" {
		return false
	}
	text := kind + " " + s.store.heard.name + " " + c.name()
	return s.store.Records.js.Conn().Publish(callsSubject, []byte(text)) == nil
}

// listenCalls hears of the calls of others.
func (st *Store) listenCalls() (*nats.Subscription, error) {
	return st.Records.js.Conn().Subscribe(callsSubject, func(m *nats.Msg) {
		kind, rest, _ := strings.Cut(string(m.Data), " ")
		at, call, ok := strings.Cut(rest, " ")
		if ok {
			st.heard.note(kind, call, at)
		}
	})
}
