package sessions

import (
	"encoding/json"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Question is a request of ours that the client has not answered yet.
type Question struct {
	// ID of the durable question.
	ID string
	// Method is what was asked.
	Method string

	request []byte
}

// questionPrefix tells our request ids from the agent's.
const questionPrefix = "agentcloud-"

// Offer asks the client a durable question, once.
func (s *Session) Offer(questionID, method string, params json.RawMessage) bool {
	requestID := questionPrefix + questionID
	encoded, _ := json.Marshal(requestID) // a string always encodes
	request := jsonrpc.NewRequest(encoded, method, params)
	s.mu.Lock()
	if s.offered[questionID] {
		s.mu.Unlock()
		return true
	}
	s.know(questionID)
	s.asked[requestID] = Question{ID: questionID, Method: method, request: request}
	s.mu.Unlock()
	return s.Push(request)
}

// know notes that the client has been asked; s.mu is held.
func (s *Session) know(questionID string) {
	if s.offered == nil {
		s.offered, s.asked = map[string]bool{}, map[string]Question{}
	}
	s.offered[questionID] = true
}

// knows notes a question that another process has asked the client, if a message of its
// is one.
func (s *Session) knows(message []byte) {
	m, err := jsonrpc.Parse(message)
	if err != nil || !m.IsRequest() {
		return
	}
	if id, ours := QuestionOf(m.ID); ours {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.know(id)
	}
}

// QuestionOf is the question that a request of ours asked; ours is false for others'.
func QuestionOf(requestID json.RawMessage) (questionID string, ours bool) {
	var text string
	if json.Unmarshal(requestID, &text) != nil {
		return "", false
	}
	return strings.CutPrefix(text, questionPrefix)
}

// Remind asks again what is open, on a new stream: what an old one carried at its end
// may not have arrived. The ids are the same, so a client that has them knows.
func (s *Session) Remind() {
	s.mu.Lock()
	open := make([][]byte, 0, len(s.asked))
	for _, q := range s.asked {
		open = append(open, q.request)
	}
	s.mu.Unlock()
	for _, request := range open {
		s.Push(request)
	}
}

// TakeAnswer finds the question that a response of the client belongs to. It is not
// ours when it answers the agent; it is not open when somebody was faster, or when
// another replica has asked: then only its ID is known.
func (s *Session) TakeAnswer(id json.RawMessage) (q Question, ours, open bool) {
	questionID, ours := QuestionOf(id)
	if !ours {
		return Question{}, false, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	q, open = s.asked[questionPrefix+questionID]
	delete(s.asked, questionPrefix+questionID)
	q.ID = questionID
	return q, true, open
}

// Reopen puts a question back whose answer could not be delivered; it may be offered
// again.
func (s *Session) Reopen(q Question) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.know(q.ID)
	s.asked[questionPrefix+q.ID] = q
	delete(s.offered, q.ID)
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
