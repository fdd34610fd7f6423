package sessions_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// said drains what waits for the client.
func said(s *sessions.Session) (messages []string) {
	for {
		_, m, ok := s.Next()
		if !ok {
			return messages
		}
		messages = append(messages, string(m))
	}
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	asked := []string{`{"jsonrpc":"2.0","id":"agentcloud-qst_1","method":"elicitation/create","params":{"message":"<ok?>"}}`}
	s.Offer("qst_1", "elicitation/create", json.RawMessage(`{"message": "<ok?>"}`))
	s.Offer("qst_1", "elicitation/create", json.RawMessage(`{"message": "<ok?>"}`))
	if diff := cmp.Diff(asked, said(s)); diff != "" {
		t.Errorf("a question offered twice, -want +got:\n%s", diff)
	}
	s.Remind()
	if diff := cmp.Diff(asked, said(s)); diff != "" {
		t.Errorf("a reminder, -want +got:\n%s", diff)
	}
	for id, want := range map[string][2]bool{`1`: {false, false}, `"x"`: {false, false}, `"agentcloud-qst_9"`: {true, false}, `"agentcloud-qst_1"`: {true, true}} {
		q, ours, open := s.TakeAnswer(json.RawMessage(id))
		if ours != want[0] || open != want[1] || open && (q.ID != "qst_1" || q.Method != "elicitation/create") {
			t.Errorf("TakeAnswer(%s) = %v, %v, %v, want %v", id, q, ours, open, want)
		}
	}
	q, _, open := s.TakeAnswer(json.RawMessage(`"agentcloud-qst_1"`))
	if open {
		t.Error("a question is answered twice")
	}
	q.ID, q.Method = "qst_1", "elicitation/create"
	s.Reopen(q)
	if _, _, open := s.TakeAnswer(json.RawMessage(`"agentcloud-qst_1"`)); !open {
		t.Error("a reopened question cannot be answered")
	}
}

func TestWithdraw(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	one, two := w.open(t), w.open(t)
	one.Offer("qst_1", "roots/list", nil)
	two.Offer("qst_2", "roots/list", nil)
	said(one)
	said(two)
	w.store.Withdraw("app_b", "qst_1")
	w.store.Withdraw(app, "qst_1")
	w.store.Withdraw(app, "qst_1")
	want := []string{`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"reason":"answered elsewhere","requestId":"agentcloud-qst_1"}}`}
	if diff := cmp.Diff(want, said(one)); diff != "" {
		t.Errorf("the asked client hears, -want +got:\n%s", diff)
	}
	if got := said(two); got != nil {
		t.Errorf("another client hears %q", got)
	}
}

func TestCanAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	s.Introduce(json.RawMessage(`{"capabilities":{"elicitation":{},"sampling":null}}`))
	if s.CanAnswer("elicitation/create") {
		t.Error("a client is asked before it is initialized")
	}
	s.MarkReady()
	for method, want := range map[string]bool{"elicitation/create": true, "sampling/createMessage": false, "roots/list": false, "ping": true, "other": false} {
		if got := s.CanAnswer(method); got != want {
			t.Errorf("CanAnswer(%s) = %v, want %v", method, got, want)
		}
	}
}
