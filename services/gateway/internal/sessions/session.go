// Package sessions holds the conversations of clients that speak the session era of
// MCP (2024-11-05 to 2025-11-25). A session belongs to the gateway: its agent may be
// restarted or replaced, and the client does not notice.
//
// It knows no HTTP of the client's side; package edge has that.
package sessions

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
)

// outbox is how many messages wait for a slow or absent client before it is cut.
const outbox = 256

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

	ctx  context.Context //nolint:containedctx // ends with the session, which outlives every request
	end  context.CancelFunc
	out  chan []byte
	wake sync.Mutex

	mu      sync.Mutex
	caps    capabilities
	ready   bool
	seen    time.Time
	streams int
	asked   map[string]Question // our request id to question
	offered map[string]bool     // question ids
}

// Question is a request of ours that the client has not answered yet.
type Question struct {
	// ID of the durable question.
	ID string
	// Method is what was asked.
	Method string
}

// capabilities are what the client said it can be asked.
type capabilities struct {
	Sampling    json.RawMessage `json:"sampling"`
	Elicitation json.RawMessage `json:"elicitation"`
	Roots       json.RawMessage `json:"roots"`
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

// CanAnswer says whether the client can be asked with this method.
func (s *Session) CanAnswer(method string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ready {
		return false
	}
	switch method {
	case "elicitation/create":
		return s.caps.Elicitation != nil
	case "sampling/createMessage":
		return s.caps.Sampling != nil
	case "roots/list":
		return s.caps.Roots != nil
	case "ping":
		return true
	}
	return false
}

// Push gives a message to the client. A client that has let too many pile up loses
// its session: it would miss an answer otherwise without knowing.
func (s *Session) Push(message []byte) bool {
	s.wake.Lock()
	defer s.wake.Unlock()
	select {
	case <-s.ctx.Done():
		return false
	default:
	}
	select {
	case s.out <- message:
		return true
	default:
		s.end()
		return false
	}
}

// Offer asks the client a durable question, once.
func (s *Session) Offer(questionID, method string, params json.RawMessage) bool {
	s.mu.Lock()
	if s.offered[questionID] {
		s.mu.Unlock()
		return true
	}
	requestID := questionPrefix + questionID
	s.offered[questionID] = true
	s.asked[requestID] = Question{ID: questionID, Method: method}
	s.mu.Unlock()
	encoded, _ := json.Marshal(requestID) // a string always encodes
	return s.Push(jsonrpc.NewRequest(encoded, method, params))
}

// questionPrefix tells our request ids from the agent's.
const questionPrefix = "agentcloud-"

// TakeAnswer finds the question that a response of the client belongs to; ok is
// false when it answers the agent.
func (s *Session) TakeAnswer(id json.RawMessage) (Question, bool) {
	var text string
	if json.Unmarshal(id, &text) != nil {
		return Question{}, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, ok := s.asked[text]
	delete(s.asked, text)
	return q, ok
}

// Withdraw forgets a question that somebody else has answered and tells the client
// so (MCP "Cancellation").
func (s *Session) Withdraw(questionID string) {
	requestID := questionPrefix + questionID
	s.mu.Lock()
	_, open := s.asked[requestID]
	delete(s.asked, requestID)
	s.mu.Unlock()
	if open {
		s.Push(jsonrpc.NewRequest(nil, "notifications/cancelled", jsonrpc.Encode(map[string]string{
			"requestId": requestID, "reason": "answered elsewhere",
		})))
	}
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
	}
}

// Streaming says whether the client has a stream open.
func (s *Session) Streaming() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams > 0
}

// Out is what waits for the client.
func (s *Session) Out() <-chan []byte { return s.out }

// Done closes when the session has ended.
func (s *Session) Done() <-chan struct{} { return s.ctx.Done() }

// Context ends with the session.
func (s *Session) Context() context.Context { return s.ctx }

func (s *Session) touch(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = now
}

// idle says whether nobody has used the session since before.
func (s *Session) idle(before time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams == 0 && s.seen.Before(before)
}
