package sessions_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// deletes is how often the agent was told that a session is over.
func deletes(agent *edgetest.Agent) (n int) {
	for _, seen := range agent.Seen() {
		if seen.Method == http.MethodDelete {
			n++
		}
	}
	return n
}

// A replica ends with sessions whose clients never come back: the others tell the agent
// when they expire, each once, and leave those alone that are used.
func TestSessionsThatAllReplicasHaveLeftEndAtTheAgent(t *testing.T) {
	t.Parallel()
	short := usual()
	short.Idle = 2 * time.Second
	w, b := newWorld(t, usual()), bustest.New(t)
	gone, stop := w.twinOf(t, b, short)
	var first *sessions.Session
	for range 20 {
		first = w.kept(t, gone)
	}
	one, _ := w.twinOf(t, b, short)
	_, _ = w.twinOf(t, b, short)
	used := bringBack(t, one, first.ID)
	defer used.Attach()()
	stop()
	if open, _ := w.agent.Sessions(); open != 20 {
		t.Fatalf("a replica has ended, and the agent has %d sessions", open)
	}
	edgetest.Until(t, "the agent has none that nobody uses", func() bool { open, _ := w.agent.Sessions(); return open == 1 })
	began := time.Now()
	edgetest.Until(t, "some more looks", func() bool { return time.Since(began) > short.Idle })
	if open, _ := w.agent.Sessions(); open != 1 || deletes(w.agent) != 19 {
		t.Errorf("the agent was told of %d ends and has %d sessions", deletes(w.agent), open)
	}
	if got, err := call(t.Context(), used, "x"); err != nil || got != "x" {
		t.Errorf("the session in use says %q, %v", got, err)
	}
	if _, err := one.Recover(t.Context(), "00000000000000000000000000000000", app, alice); !fault.NotFound.Is(err) {
		t.Errorf("no session = %v", err)
	}
}
