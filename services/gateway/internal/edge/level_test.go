package edge_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// levelled is an agent that says something at each level that its session wants to hear.
// A call of "wait" goes on when the channel says so.
func (w *world) levelled() (levels func() []string, goOn chan struct{}) {
	ladder := []string{"debug", "info", "warning", "error"}
	var mu sync.Mutex
	var asked []string
	of := map[string]string{}
	goOn = make(chan struct{})
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		session := r.Header.Get("Mcp-Session-Id")
		if m.Method == "logging/setLevel" {
			var about struct{ Level string }
			_ = json.Unmarshal(m.Params, &about)
			mu.Lock()
			asked, of[session] = append(asked, about.Level), about.Level
			mu.Unlock()
			edgetest.Answer(rw, m, struct{}{})
			return
		}
		edgetest.Stream(rw)
		if jsonrpc.NameOf(m.Params) == "wait" {
			edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1","progress":1}}`))
			<-goOn
		}
		mu.Lock()
		from := max(slices.Index(ladder, of[session]), 0)
		mu.Unlock()
		for _, level := range ladder[from:] {
			edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"`+level+`","data":"x"}}`))
		}
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, []byte(`{"content":[]}`)))
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(asked)
	}, goOn
}

// hearing is a call by a client that wants to hear a level; empty: none.
func (w *world) hearing(level, tool string) *http.Request {
	w.t.Helper()
	body := string(modernBody("tools/call", `{"name":"`+tool+`"}`, nothing))
	if level != "" {
		body = strings.Replace(body, `"progressToken"`, `"io.modelcontextprotocol/logLevel":"`+level+`","progressToken"`, 1)
	}
	req := w.request(http.MethodPost, "/mcp", "alice", "", []byte(body))
	req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
	req.Header.Set("Mcp-Method", "tools/call")
	req.Header.Set("Mcp-Name", tool)
	return req
}

func heardLevels(body string) (levels []string) {
	for _, part := range strings.Split(body, `"level":"`)[1:] {
		level, _, _ := strings.Cut(part, `"`)
		levels = append(levels, level)
	}
	return levels
}

func TestLevelsOfLogsAcrossTheEras(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asked, goOn := w.levelled()
	step := func(name, level string, wantHeard, wantAsked []string) {
		t.Helper()
		res := w.send(w.hearing(level, "add"))
		if got := heardLevels(res.body); res.status != http.StatusOK || !slices.Equal(got, wantHeard) {
			t.Errorf("%s: it hears %v in %+v, want %v", name, got, res, wantHeard)
		}
		if got := asked(); !slices.Equal(got, wantAsked) {
			t.Errorf("%s: the agent was asked for %v, want %v", name, got, wantAsked)
		}
	}
	step("who asks for none", "", nil, nil)
	step("errors", "error", []string{"error"}, []string{"error"})
	step("errors again", "error", []string{"error"}, []string{"error"})
	waiting := w.listen(w.hearing("debug", "wait"))
	if got := waiting.next(); !strings.Contains(got, "progress") {
		t.Fatalf("first comes %s", got)
	}
	step("errors beside a call that hears all", "error", []string{"error"}, []string{"error", "debug"})
	step("none beside it", "", nil, []string{"error", "debug"})
	close(goOn)
	if got := waiting.next() + waiting.next(); !strings.Contains(got, "debug") || !strings.Contains(got, "info") {
		t.Errorf("who hears all hears %s", got)
	}
	edgetest.Until(t, "the level rises when nobody hears all any more", func() bool {
		w.send(w.hearing("error", "add"))
		all := asked()
		return all[len(all)-1] == "error"
	})
	w.agent.Forget()
	step("after the agent's restart", "warning", []string{"warning", "error"}, []string{"error", "debug", "error", "warning"})
}
