package sessions

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// What a call asks its client gets an id of ours. It names the replica that reads the
// call: the answer is brought there, and from there to where the question was asked,
// whichever version the session is with by then. And two agents that a session has been
// with count their questions alike, so that their own ids would be the same.

const (
	// inCall begins the ids of what calls ask; the replica's name follows.
	inCall = "call-of-agentcloud-"
	// maxInquiries bounds the questions of one session's calls that are open here.
	maxInquiries = 256

	cancelled     = "notifications/cancelled"
	progress      = "notifications/progress"
	progressToken = "progressToken"
)

// inquiry is a question of a call's that is open.
type inquiry struct {
	of        *Dialogue
	at        Place
	id, token json.RawMessage        // the agent's own
	answer    chan<- jsonrpc.Message // who waits for it here; nil: the agent does
}

// Dialogue is what an agent says in a call. It is over with the call.
type Dialogue struct{ session *Session }

// Dialogue begins with a call.
func (s *Session) Dialogue() *Dialogue { return &Dialogue{s} }

// Heard is a message of the agent's as the client gets it.
func (d *Dialogue) Heard(message []byte, at Place) []byte {
	m, ok := naming(message)
	switch {
	case !ok:
		return message
	case m.Method == cancelled:
		return d.session.takenBack(m, at)
	}
	id, ok := d.session.expect(inquiry{of: d, at: at, id: m.ID, token: jsonrpc.Meta(m.Params, progressToken)})
	if !ok {
		return d.session.Overheard(message, at)
	}
	return asking(m, id, id)
}

// Over ends it: nobody waits for answers any more.
func (d *Dialogue) Over() {
	d.session.mu.Lock()
	defer d.session.mu.Unlock()
	for text, q := range d.session.inquiries {
		if q.of == d {
			delete(d.session.inquiries, text)
		}
	}
}

// Expect gives an id to ask the client with, and where its answer will be. Forget is
// called when nobody waits any more; ok is false when too much is asked already.
func (s *Session) Expect() (id json.RawMessage, answer <-chan jsonrpc.Message, forget func(), ok bool) {
	d, c := s.Dialogue(), make(chan jsonrpc.Message, 1)
	id, ok = s.expect(inquiry{of: d, answer: c})
	return id, c, d.Over, ok
}

func (s *Session) expect(q inquiry) (id json.RawMessage, ok bool) {
	text := inCall + s.store.heard.name + "-" + rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.inquiries) >= maxInquiries {
		return nil, false
	}
	if s.inquiries == nil {
		s.inquiries = map[string]inquiry{}
	}
	s.inquiries[text] = q
	return jsonrpc.Encode(text), true
}

// AskedBy is the replica that reads the call which a message of the client's is about: it
// answers what that asked, or tells how far it is with it. Ours is false for other messages.
func AskedBy(m jsonrpc.Message) (replica string, ours bool) {
	rest, ours := strings.CutPrefix(about(m), inCall)
	replica, _, _ = strings.Cut(rest, "-")
	return replica, ours
}

// Reply brings such a message to the call, if that is here and waits for it. A question is
// answered once.
func (s *Session) Reply(ctx context.Context, m jsonrpc.Message) (waited bool) {
	text := about(m)
	s.mu.Lock()
	q, waited := s.inquiries[text]
	if m.IsResponse() {
		delete(s.inquiries, text)
	}
	s.mu.Unlock()
	ctx = context.WithoutCancel(ctx) // nobody else has the answer
	switch {
	case !waited || q.answer != nil && !m.IsResponse():
	case q.answer != nil:
		q.answer <- m
	case m.IsResponse():
		s.Upstream.NotifyAt(ctx, q.at, addressed(m, q.id))
	case len(q.token) > 0:
		s.Upstream.NotifyAt(ctx, q.at, addressed(m, q.token))
	}
	return waited
}

// naming reads a message that names a request of the agent's: one that asks, or takes back
// what was asked.
func naming(message []byte) (m jsonrpc.Message, ok bool) {
	if !bytes.Contains(message, []byte(`"id"`)) && !bytes.Contains(message, []byte(cancelled)) {
		return m, false // most notifications, which need not be read
	}
	m, err := jsonrpc.Parse(message)
	return m, err == nil && (m.IsRequest() || m.Method == cancelled)
}

// asking is a question with other ids.
func asking(m jsonrpc.Message, id, token json.RawMessage) []byte {
	if len(jsonrpc.Meta(m.Params, progressToken)) > 0 {
		m.Params = jsonrpc.With(m.Params, token, "_meta", progressToken)
	}
	return jsonrpc.NewRequest(id, m.Method, m.Params)
}

// takenBack is the agent's word that a question needs no answer.
func (s *Session) takenBack(m jsonrpc.Message, at Place) []byte {
	var params struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	_ = json.Unmarshal(m.Params, &params) // it names none then
	s.mu.Lock()
	defer s.mu.Unlock()
	id := outsideID(at, params.RequestID)
	for text, q := range s.inquiries {
		if q.answer == nil && q.at == at && bytes.Equal(q.id, params.RequestID) {
			delete(s.inquiries, text)
			id = jsonrpc.Encode(text)
		}
	}
	return jsonrpc.NewRequest(nil, cancelled, jsonrpc.With(m.Params, id, "requestId"))
}

// about is the id of the question that a message of the client's is about; empty for other
// messages.
func about(m jsonrpc.Message) (text string) {
	id := m.ID
	if !m.IsResponse() {
		if m.Method != progress {
			return ""
		}
		id = jsonrpc.ProgressToken(m.Params)
	}
	_ = json.Unmarshal(id, &text) // what is no text is none of ours
	return text
}

// addressed is a message of the client's with the agent's own id.
func addressed(m jsonrpc.Message, own json.RawMessage) []byte {
	if m.IsResponse() {
		m.ID = own
		return jsonrpc.Encode(m)
	}
	return jsonrpc.NewRequest(nil, m.Method, jsonrpc.With(m.Params, own, progressToken))
}
