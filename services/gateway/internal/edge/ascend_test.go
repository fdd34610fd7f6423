package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// sessionless is an agent that knows no sessions.
type sessionless struct {
	mu      sync.Mutex
	stopped bool
}

// ServeHTTP answers three tools.
func (a *sessionless) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Method string
		Params struct {
			Name           string
			RequestState   string
			InputResponses map[string]struct{ Action string }
			Meta           map[string]json.RawMessage `json:"_meta"`
		}
	}
	err := json.NewDecoder(r.Body).Decode(&m)
	if err != nil || r.Header.Get("Mcp-Session-Id") != "" || r.Header.Get("Mcp-Method") != m.Method || r.Header.Get("Mcp-Name") != m.Params.Name ||
		m.Params.Meta["io.modelcontextprotocol/clientCapabilities"] == nil {
		http.Error(w, "not of this era", http.StatusBadRequest)
		return
	}
	switch m.Params.Name {
	case "add":
		edgetest.Stream(w)
		edgetest.Event(w, jsonrpc.NewRequest(nil, "notifications/progress", json.RawMessage(`{"progressToken":`+string(m.Params.Meta["progressToken"])+`,"progress":1}`)))
		edgetest.Event(w, jsonrpc.NewResult(m.ID, json.RawMessage(`{"resultType":"complete","content":[{"type":"text","text":"sum"}]}`)))
	case "ask":
		if m.Params.RequestState == "" {
			_, _ = w.Write(jsonrpc.NewResult(m.ID, json.RawMessage(`{"resultType":"input_required","requestState":"theirs","inputRequests":{"q":{"method":"elicitation/create","params":{"message":"Sure?"}}}}`)))
			return
		}
		_, _ = w.Write(jsonrpc.NewResult(m.ID, json.RawMessage(fmt.Sprintf(`{"resultType":"complete","content":[{"type":"text","text":"%s %s"}]}`, m.Params.RequestState, m.Params.InputResponses["q"].Action))))
	case "wait":
		edgetest.Stream(w)
		<-r.Context().Done()
		a.mu.Lock()
		defer a.mu.Unlock()
		a.stopped = true
	}
}

// sessionless puts such an agent behind the app.
func (w *world) sessionless() *sessionless {
	w.t.Helper()
	a := &sessionless{}
	server := httptest.NewServer(a)
	w.t.Cleanup(server.CloseClientConnections)
	w.Deployments.Set(&schedulerv1.Endpoint{
		TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", McpUrl: server.URL, Ready: true, Kind: "remote", Modern: true, ModernOnly: true,
		InitializeJson: `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"sessionless","version":"1"}}`,
		DiscoverJson:   `{"supportedVersions":["2026-07-28"],"capabilities":{"tools":{}}}`, ToolsJson: `{"tools":[{"name":"ask"}]}`,
	})
	edgetest.Until(w.t, "it is live", func() bool {
		return strings.Contains(w.do(http.MethodPost, "/mcp", "alice", "", []byte(hello)).body, `"sessionless"`)
	})
	return a
}

func TestClientWithASessionReachesAnAgentWithout(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.sessionless()
	id := w.open("alice")
	ask := func(body string) string { return w.do(http.MethodPost, "/mcp", "alice", id, []byte(body)).body }
	for body, want := range map[string]string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`:                                                     `"ask"`,
		`{"jsonrpc":"2.0","id":1,"method":"ping"}`:                                                           `"result":{}`,
		`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"info"}}`:                     `"result":{}`,
		`{"jsonrpc":"2.0","id":1,"method":"logging/setLevel","params":{"level":"loud"}}`:                     `-32602`,
		`{"jsonrpc":"2.0","id":1,"method":"resources/subscribe","params":{"uri":"a"}}`:                       `-32601`,
		`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","_meta":{"progressToken":7}}}`: `"progressToken":7`,
		`{"jsonrpc":"2.0","id":2,"method":"tools/call","params":{"name":"add","_meta":{"progressToken":7}}}`: `"result":{"content"`,
	} {
		if got := ask(body); !strings.Contains(got, want) {
			t.Errorf("%s is answered with %s", body, got)
		}
	}
	if res := w.do(http.MethodPost, "/call_tool", "alice", "", []byte(`{"name":"add"}`)); !strings.Contains(res.body, "sum") {
		t.Errorf("by plain HTTP = %+v", res)
	}
	waiting := w.listen(w.request(http.MethodPost, "/mcp", "alice", id, []byte(`{"jsonrpc":"2.0","id":"w","method":"tools/call","params":{"name":"wait"}}`)))
	w.do(http.MethodPost, "/mcp", "alice", id, []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"w"}}`))
	edgetest.Until(t, "the agent was cut off", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.stopped })
	waiting.cut()
}

// The agent asks back; the answer comes to whichever replica.
func TestAgentWithoutSessionsAsksAClientWithOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.sessionless()
	one, other, _ := w.twins()
	w.address(func(a *registryv1.Address) { a.Host, a.Port = "finder.test", 0 })
	id := w.openAt(one, "alice")
	for name, test := range map[string]struct{ at, answer, want string }{
		"here":          {one, `"result":{"action":"accept"}`, "theirs accept"},
		"at the other":  {other, `"result":{"action":"decline"}`, "theirs decline"},
		"with an error": {one, `"error":{"code":-1,"message":"no"}`, "theirs cancel"},
	} {
		stream := w.listen(w.at(one, http.MethodPost, "alice", id, string(call("ask", `{}`))))
		asked := parse(t, stream.next())
		if asked.Method != "elicitation/create" || !strings.Contains(string(asked.Params), "Sure?") {
			t.Fatalf("%s: asked %+v", name, asked)
		}
		if res := w.askAt(test.at, http.MethodPost, "alice", id, `{"jsonrpc":"2.0","id":`+string(asked.ID)+`,`+test.answer+`}`); res.status != http.StatusAccepted {
			t.Fatalf("%s: the answer was taken with %+v", name, res)
		}
		if end := parse(t, stream.next()); !strings.Contains(string(end.Result), test.want) || strings.Contains(string(end.Result), "resultType") {
			t.Errorf("%s: the call ended with %s", name, end.Result)
		}
	}
	waiting := w.listen(w.at(one, http.MethodPost, "alice", id, string(call("wait", `{}`))))
	w.askAt(other, http.MethodPost, "alice", id, `{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c1"}}`)
	edgetest.Until(t, "the agent was cut off", func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.stopped })
	waiting.cut()
}
