package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// polled makes the agent end its streams before the answer, as MCP 2025-11-25 allows: the
// answer comes to who asks for the rest again and again.
func (w *world) polled() (asked *atomic.Int64) {
	asked = &atomic.Int64{}
	var id atomic.Value
	event := func(rw http.ResponseWriter, id int, data string) {
		_, _ = fmt.Fprintf(rw, "id: e%d\nretry: 50\ndata: %s\n\n", id, data)
		_ = http.NewResponseController(rw).Flush()
	}
	progress := func(n int) string {
		return fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1","progress":%d}}`, n)
	}
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		id.Store(string(m.ID))
		edgetest.Stream(rw)
		event(rw, 0, "")
		event(rw, 1, progress(1))
	}
	w.agent.Rest = func(rw http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		var last int
		_, _ = fmt.Sscanf(r.Header.Get("Last-Event-Id"), "e%d", &last)
		edgetest.Stream(rw)
		if last < 3 {
			event(rw, last+1, progress(last+1))
			return
		}
		event(rw, 4, fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,"result":{"content":[{"type":"text","text":"after all"}]}}`, id.Load()))
	}
	return asked
}

func TestAnswersThatTheAgentGivesInParts(t *testing.T) {
	t.Parallel()
	for name, call := range map[string]func(w *world) string{
		"streamable": func(w *world) string {
			return w.do(http.MethodPost, "/mcp", "alice", w.open("alice"), call("add", `{}`)).body
		},
		"stateless era": func(w *world) string { return w.modern("alice", "tools/call", "add", `{"name":"add"}`, nothing).body },
		"plain HTTP": func(w *world) string {
			return w.do(http.MethodPost, "/call_tool", "alice", "", []byte(`{"name":"add","arguments":{}}`)).body
		},
		"SSE": func(w *world) string {
			stream, post := w.openSSE("alice")
			w.do(http.MethodPost, post, "alice", "", call("add", `{}`))
			return stream.next() + stream.next() + stream.next() + stream.next()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			asked := w.polled()
			got := call(w)
			if want := map[bool]int{true: 0, false: 3}[name == "plain HTTP"]; !strings.Contains(got, "after all") || strings.Count(got, "notifications/progress") != want {
				t.Errorf("the answer = %s, want all of it", got)
			}
			if n := asked.Load(); n != 3 {
				t.Errorf("the agent was asked for the rest %d times", n)
			}
		})
	}
}

// There is an end to asking.
func TestAnswersWhoseRestIsNotToBeHad(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		rest  func(rw http.ResponseWriter)
		asked int64
	}{
		"it is not kept":   {func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusBadRequest) }, 1},
		"it never comes":   {edgetest.Stream, 5},
		"the agent is ill": {func(rw http.ResponseWriter) { rw.WriteHeader(http.StatusInternalServerError) }, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			asked := w.polled()
			w.agent.Rest = func(rw http.ResponseWriter, _ *http.Request) {
				asked.Add(1)
				test.rest(rw)
			}
			began := time.Now()
			res := w.do(http.MethodPost, "/mcp", "alice", w.open("alice"), call("add", `{}`))
			if !strings.Contains(res.body, "may have been started") || asked.Load() != test.asked || time.Since(began) > 5*time.Second {
				t.Errorf("after %s and %d tries the answer = %+v", time.Since(began), asked.Load(), res)
			}
		})
	}
}
