package sessions

import (
	"context"
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// cancelSubject asks all replicas for the one that makes a request which its client has
// cancelled at another.
const cancelSubject = "gateway.sessions.cancel"

// Request is one of the client's that is under way here. A nil one cannot be cancelled.
type Request struct {
	session *Session
	id      string
	stop    context.CancelFunc

	// The session's mu is held for what follows.
	at        Place // where it was sent to; zero: nowhere yet, or to an agent without sessions
	cancelled bool
}

// UnderWay notes a request, which stop ends before an agent has it.
func (s *Session) UnderWay(id json.RawMessage, stop context.CancelFunc) *Request {
	r := &Request{session: s, id: string(id), stop: stop}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.requests == nil {
		s.requests = map[string]*Request{}
	}
	s.requests[r.id] = r
	return r
}

// Sent notes where the agent gets the request.
func (r *Request) Sent(at Place) {
	if r == nil {
		return
	}
	r.session.mu.Lock()
	defer r.session.mu.Unlock()
	r.at = at
}

// Over ends it.
func (r *Request) Over() {
	r.session.mu.Lock()
	defer r.session.mu.Unlock()
	if r.session.requests[r.id] == r { // a client may use an id twice
		delete(r.session.requests, r.id)
	}
}

// Cancel ends a request of the client's that is under way here (notifications/cancelled):
// its agent is told, where it was sent. It is told once.
func (s *Session) Cancel(ctx context.Context, m jsonrpc.Message) (known bool) {
	tell, known := s.cancel(m)
	tell(ctx)
	return known
}

// cancel finds the request, and says how its agent is told.
func (s *Session) cancel(m jsonrpc.Message) (tell func(ctx context.Context), known bool) {
	var params struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	_ = json.Unmarshal(m.Params, &params) // it names none then
	s.mu.Lock()
	defer s.mu.Unlock()
	r, known := s.requests[string(params.RequestID)]
	switch {
	case !known || r.cancelled:
		return func(context.Context) {}, known
	case r.at == Place{}:
		r.cancelled = true
		return func(context.Context) { r.stop() }, true
	}
	r.cancelled = true
	at := r.at
	return func(ctx context.Context) {
		s.Upstream.NotifyAt(context.WithoutCancel(ctx), at, jsonrpc.Encode(m))
	}, true
}

// CancelElsewhere has a request cancelled that is under way at another replica; known is
// false when it is at none of which anything is heard.
func (s *Session) CancelElsewhere(ctx context.Context, m jsonrpc.Message) (known bool) {
	s.mu.Lock()
	elsewhere := s.ear.elsewhere && !s.kept.IsZero()
	s.mu.Unlock()
	if !elsewhere {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, firstWord)
	defer cancel()
	request := &nats.Msg{Subject: cancelSubject, Data: append([]byte(s.store.name()+" "+s.ID+" "), jsonrpc.Encode(m)...)}
	_, err := s.store.Records.js.Conn().RequestMsgWithContext(ctx, request)
	return err == nil
}

// listenCancels ends requests here that their clients cancel at other replicas.
func (st *Store) listenCancels() (*nats.Subscription, error) {
	return st.Records.js.Conn().Subscribe(cancelSubject, func(msg *nats.Msg) {
		from, rest, _ := strings.Cut(string(msg.Data), " ")
		id, raw, _ := strings.Cut(rest, " ")
		m, err := jsonrpc.Parse([]byte(raw))
		s, ok := st.ByID(id)
		if err != nil || !ok || from == st.name() {
			return
		}
		if tell, known := s.cancel(m); known {
			_ = msg.Respond(nil) // who asks goes on by itself
			go tell(context.Background())
		}
	})
}
