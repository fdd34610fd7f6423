package sessions

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const (
	// expectedPrefix tells the ids of what a call asks its client from those of questions.
	expectedPrefix = "call-of-agentcloud-"
	// answersSubject brings answers to the replica whose call waits for them.
	answersSubject = "gateway.sessions.answers"
)

// answered is an answer on its way to another replica.
type answered struct {
	Key     string          `json:"key"`
	Message jsonrpc.Message `json:"message"`
}

// Expect gives an id to ask the client with, and where its answer will be. Forget is
// called when nobody waits any more.
func (s *Session) Expect() (id json.RawMessage, answer <-chan jsonrpc.Message, forget func()) {
	text, c := expectedPrefix+rand.Text(), make(chan jsonrpc.Message, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.expected == nil {
		s.expected = map[string]chan jsonrpc.Message{}
	}
	s.expected[text] = c
	return jsonrpc.Encode(text), c, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.expected, text)
	}
}

// Answered takes the client's answer to what a call asked, here or at another replica;
// ours is false for other responses.
func (s *Session) Answered(m jsonrpc.Message) (ours bool) {
	var id string
	if json.Unmarshal(m.ID, &id) != nil || !strings.HasPrefix(id, expectedPrefix) {
		return false
	}
	if !s.deliver(id, m) && s.recorded() {
		_ = s.store.Records.js.Conn().Publish(answersSubject, jsonrpc.Encode(answered{s.key, m})) // the call waits no longer than its client
	}
	return true
}

func (s *Session) deliver(id string, m jsonrpc.Message) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok := s.expected[id]
	if ok {
		delete(s.expected, id)
		c <- m
	}
	return ok
}

// listenAnswers takes answers that came to other replicas.
func (st *Store) listenAnswers() (*nats.Subscription, error) {
	return st.Records.js.Conn().Subscribe(answersSubject, func(msg *nats.Msg) {
		var a answered
		var id string
		if json.Unmarshal(msg.Data, &a) != nil || json.Unmarshal(a.Message.ID, &id) != nil {
			return
		}
		for _, s := range st.all() {
			if s.key == a.Key {
				s.deliver(id, a.Message)
			}
		}
	})
}

// Running notes how to cancel a request of the client's until over is called.
func (s *Session) Running(id json.RawMessage, cancel context.CancelFunc) (over func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running == nil {
		s.running = map[string]context.CancelFunc{}
	}
	s.running[string(id)] = cancel
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.running, string(id))
	}
}

// Cancel ends a request of the client's (notifications/cancelled).
func (s *Session) Cancel(params json.RawMessage) {
	var about struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	_ = json.Unmarshal(params, &about) // it names none then
	s.mu.Lock()
	defer s.mu.Unlock()
	if cancel := s.running[string(about.RequestID)]; cancel != nil {
		cancel()
	}
}

// Said are the params of the client's initialize.
func (s *Session) Said() json.RawMessage {
	s.Upstream.mu.Lock()
	defer s.Upstream.mu.Unlock()
	m, _ := jsonrpc.Parse(s.Upstream.initialize) // it was parsed when it came
	return m.Params
}
