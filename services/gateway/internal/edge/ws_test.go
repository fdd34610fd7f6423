package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// dial opens a session by WebSocket.
func (w *world) dial(key, origin string) (*websocket.Conn, *http.Response, error) {
	w.t.Helper()
	header := http.Header{"Authorization": {"Bearer " + key}}
	if origin != "" {
		header.Set("Origin", origin)
	}
	return websocket.Dial(w.t.Context(), w.url+"/ws", &websocket.DialOptions{HTTPHeader: header, Subprotocols: []string{"mcp"}})
}

func TestASessionByWebSocket(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.MaxBody = 10_000 })
	conn, _, err := w.dial("alice", "")
	if err != nil || conn.Subprotocol() != "mcp" {
		t.Fatal(err)
	}
	defer conn.CloseNow() //nolint:errcheck // it is over
	for _, step := range []struct{ say, want string }{
		{hello, `"serverInfo"`},
		{ready, ""},
		{string(call("add", `{"a":1}`)), `"a":1`},
		{string(call("workflows-list", `{}`)), "Refund"},
		{`{`, "no valid JSON"},
		{`{"jsonrpc":"2.0","id":7,"method":"tools/list"}`, `"id":7`},
	} {
		if err := conn.Write(t.Context(), websocket.MessageText, []byte(step.say)); err != nil {
			t.Fatal(err)
		}
		if step.want == "" {
			continue
		}
		if _, said, err := conn.Read(t.Context()); err != nil || !strings.Contains(string(said), step.want) {
			t.Errorf("%s is answered with %s, %v", step.say, said, err)
		}
	}
	_ = conn.Write(t.Context(), websocket.MessageText, []byte(strings.Repeat(" ", 10_001)))
	if _, _, err := conn.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusMessageTooBig {
		t.Errorf("a message that is too large = %v", err)
	}
	edgetest.Until(t, "the agent's session is over, too", func() bool { open, _ := w.agent.Sessions(); return open == 0 })
}

func TestWebSocketIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for name, test := range map[string]struct {
		key, origin string
		status      int
	}{
		"without a key":        {"", "", http.StatusUnauthorized},
		"a page of elsewhere":  {"alice", "https://evil.example", http.StatusForbidden},
		"another organisation": {"stranger", "", http.StatusNotFound},
	} {
		if conn, res, err := w.dial(test.key, test.origin); err == nil || res.StatusCode != test.status {
			t.Errorf("%s: %v, %v, %v", name, conn, res, err)
		}
	}
}
