// Package sessions holds the conversations of clients that speak the session era of
// MCP (2024-11-05 to 2025-11-25). A session belongs to the gateway: its agent may be
// restarted or replaced, and the client does not notice.
//
// Their records are in JetStream, so that any replica brings them back, also after a
// restart. It knows no HTTP of the client's side; package edge has that.
package sessions

import (
	"context"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
)

const (
	// maxWork is how many of one client's calls are worked on at once.
	maxWork = 256
)

// Session is one client's conversation with one app.
type Session struct {
	// ID is what the client shows; it is not guessable.
	ID string
	// TargetID is the app or configuration.
	TargetID string
	// Caller began it; nobody else may use it.
	Caller principal.Principal
	// Upstream is the conversation with the agent.
	Upstream *Upstream

	ctx   context.Context //nolint:containedctx // ends with the session, which outlives every request
	end   context.CancelFunc
	gone  chan struct{} // closed when nothing is left to do for an ended session
	store *Store
	key   string // of its record
	feed  feed
	// written says that there is a record; streams ask for it, whose locks come after mu.
	written atomic.Bool

	mu         sync.Mutex
	caps       capabilities
	ready      bool
	seen       time.Time
	kept       time.Time // when its record was written last; zero: never
	revision   uint64    // of the record, as far as it is known here
	left       bool      // it goes on elsewhere: only this copy of it ends
	streams    int
	work       int
	ear        ear
	told       lists               // of the app, as the client knows them
	asked      map[string]Question // our request id to question
	offered    map[string]bool     // question ids
	answers    []*Stream
	inquiries  map[string]inquiry  // by id: what calls have asked
	requests   map[string]*Request // by id: those that are under way here
	wishes     wishes
	wished     chan struct{} // closed when they change; nil while nobody waits
	lastStream int64
	calls      map[string]*Call // by request id: those that are made, and those that broke
}

// capabilities are what the client said it can be asked.
type capabilities struct {
	Sampling    json.RawMessage `json:"sampling"`
	Elicitation json.RawMessage `json:"elicitation"`
	Roots       json.RawMessage `json:"roots"`
}

func offered(capability json.RawMessage) bool {
	return len(capability) > 0 && string(capability) != "null"
}

// Introduce notes what the client's initialize says.
func (s *Session) Introduce(params json.RawMessage) {
	var init struct {
		Capabilities capabilities `json:"capabilities"`
	}
	_ = json.Unmarshal(params, &init) // the agent's server refuses what cannot be read
	s.mu.Lock()
	defer s.mu.Unlock()
	s.caps = init.Capabilities
}

// MarkReady notes that the client has said it is initialized.
func (s *Session) MarkReady() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready = true
}

// Ready says whether the client has said that it is initialized.
func (s *Session) Ready() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ready
}

// CanAnswer says whether the client can be asked with this method.
func (s *Session) CanAnswer(method string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return false
	}
	switch method {
	case "elicitation/create":
		return offered(s.caps.Elicitation)
	case "sampling/createMessage":
		return offered(s.caps.Sampling)
	case "roots/list":
		return offered(s.caps.Roots)
	case "ping":
		return true
	}
	return false
}

// Push gives a message to the client. A client that has let too many pile up loses
// its session: it would miss an answer otherwise without knowing.
func (s *Session) Push(message []byte) bool {
	if s.ctx.Err() != nil {
		return false
	}
	if !s.put(message, outbox) {
		s.end()
		return false
	}
	return true
}

// Tell gives the client a message that may be lost, such as a log line. One too many
// is dropped, and the session goes on.
func (s *Session) Tell(message []byte) bool {
	return s.ctx.Err() == nil && s.put(message, gossip)
}

func (s *Session) put(message []byte, most int64) bool {
	item, ok := s.feed.put(message, most)
	if ok {
		s.journal(EventID{s.store.epoch, 0, item.Place}, message)
	}
	return ok
}

// Waiting gets a token when something waits for the client, to be had with Next.
func (s *Session) Waiting() <-chan struct{} { return s.feed.ready }

// Next is the oldest message that waits for the client, for one of its streams.
func (s *Session) Next() (EventID, []byte, bool) {
	item, ok := s.feed.take()
	return EventID{s.store.epoch, 0, item.Place}, item.Message, ok
}

// Attach counts an open stream of the client's and returns how to detach it.
func (s *Session) Attach() (detach func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.streams--
		s.seen = time.Now()
		if s.streams == 0 {
			s.deafen()
		}
	}
}

// Work counts a call of the client's that is being worked on, so that the session is
// not idle; ok is false when there are too many.
func (s *Session) Work() (done func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.work >= maxWork {
		return nil, false
	}
	s.work++
	s.ear.called = time.Now()
	s.sayCalled()
	s.hearken()
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.work--
		s.seen = time.Now()
		s.ear.called = s.seen
	}, true
}

// Streaming says whether the client has a stream open.
func (s *Session) Streaming() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams > 0
}

// Done closes when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Context ends with the session.
func (s *Session) Context() context.Context { return s.ctx }

// Outlive is the context of a call, which goes on when its client's connection breaks
// (MCP 2025-11-25, "Transports": a disconnect is no cancellation), and ends with the
// session.
func (s *Session) Outlive(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(s.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// Said are the params of the client's initialize.
func (s *Session) Said() json.RawMessage {
	s.Upstream.mu.Lock()
	defer s.Upstream.mu.Unlock()
	m, _ := jsonrpc.Parse(s.Upstream.initialize) // it was parsed when it came
	return m.Params
}

func (s *Session) touch(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = now
}

// idle says whether nobody has used the session since before.
func (s *Session) idle(before time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams == 0 && s.work == 0 && s.seen.Before(before)
}
