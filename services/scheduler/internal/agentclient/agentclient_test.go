package agentclient_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentclient"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// agent is an MCP server made of answers by method; "tools/list 2" is the one after
// cursor 2.
type agent struct {
	answers map[string]string
	stream  bool
	closed  atomic.Int32
	bad     atomic.Int32
}

func (a *agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodDelete {
		a.closed.Add(1)
		return
	}
	var req struct {
		ID     json.RawMessage
		Method string
		Params struct{ Cursor string }
	}
	if json.NewDecoder(r.Body).Decode(&req) != nil || r.URL.Path != "/mcp" ||
		req.Method != "initialize" && r.Header.Get("Mcp-Session-Id") != "ses" {
		a.bad.Add(1)
	}
	if req.ID == nil {
		w.WriteHeader(http.StatusAccepted)
		return
	}
	answer, ok := a.answers[strings.TrimSpace(req.Method+" "+req.Params.Cursor)]
	if !ok {
		answer = `"error":{"code":-32601,"message":"no such method"}`
	}
	w.Header().Set("Mcp-Session-Id", "ses")
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%s,%s}`, req.ID, answer)
	if !a.stream {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = fmt.Fprint(w, body)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	// A log line and the answer to somebody else come first.
	_, _ = fmt.Fprintf(w, ": hello\n\ndata: {\"jsonrpc\":\"2.0\",\"method\":\"notifications/message\"}\n\ndata: {\"id\":999,\"result\":{}}\n\nevent: message\ndata: %s\n\n", body)
}

func offers(capabilities string) string {
	return `"result":{"protocolVersion":"2025-06-18","capabilities":{` + capabilities + `},"serverInfo":{"name":"finder","version":"1"},"odd":1}`
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.URL
}

func TestCall(t *testing.T) {
	t.Parallel()
	for _, stream := range []bool{false, true} {
		a := &agent{stream: stream, answers: map[string]string{"initialize": offers(`"tools":{}`), "tools/call": `"result":{"content":[],"isError":true}`}}
		got, err := agentclient.Prober{}.Call(t.Context(), serve(t, a), "add", nil)
		if want := `{"content":[],"isError":true}`; err != nil || string(got) != want {
			t.Errorf("Call() = %s, %v; want %s", got, err, want)
		}
		if a.closed.Load() != 1 || a.bad.Load() != 0 {
			t.Errorf("%d sessions ended, %d bad requests", a.closed.Load(), a.bad.Load())
		}
	}
	refuses := &agent{answers: map[string]string{"initialize": offers(`"tools":{}`), "tools/call": `"error":{"code":-32602,"message":"unknown tool"}`}}
	if got, err := (agentclient.Prober{}).Call(t.Context(), serve(t, refuses), "add", nil); err == nil || !strings.Contains(err.Error(), "unknown tool") {
		t.Errorf("Call() of a tool that is not there = %s, %v", got, err)
	}
}

// listened is a server of the older transport; it answers initialize with what is given.
func listened(t *testing.T, answer string) string {
	t.Helper()
	said := make(chan string, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /sse", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = fmt.Fprint(w, "event: endpoint\r\ndata: /messages/?session_id=ses\r\n\r\n")
		_ = http.NewResponseController(w).Flush()
		select {
		case text := <-said:
			_, _ = fmt.Fprintf(w, ": ping\n\nevent: message\ndata: %s\n\n", text)
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
		}
		if answer != "" {
			<-r.Context().Done()
		}
	})
	mux.HandleFunc("POST /messages/", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		if r.URL.Query().Get("session_id") == "ses" && strings.Contains(string(body), `"initialize"`) {
			said <- answer
		}
		w.WriteHeader(http.StatusAccepted)
	})
	return serve(t, mux)
}

func TestGreetSSE(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ answer, want string }{
		"it answers":   {answer: `{"jsonrpc":"2.0","id":1,"result":{}}`},
		"it refuses":   {answer: `{"jsonrpc":"2.0","id":1,"error":{"code":-1,"message":"no"}}`, want: "answers with an error"},
		"it goes away": {want: "ended without an answer"},
	} {
		err := agentclient.Prober{}.GreetSSE(t.Context(), listened(t, tt.answer))
		if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: GreetSSE() = %v, want %q", name, err, tt.want)
		}
	}
	away := serve(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, "event: endpoint\ndata: http://127.0.0.1:1/messages/\n\n")
	}))
	if err := (agentclient.Prober{}).GreetSSE(t.Context(), away); err == nil || !strings.Contains(err.Error(), "not on the server") {
		t.Errorf("GreetSSE() of a server that names another = %v", err)
	}
	sent := serve(t, http.RedirectHandler("http://127.0.0.1:1/", http.StatusTemporaryRedirect))
	if err := (agentclient.Prober{}).GreetSSE(t.Context(), sent); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("GreetSSE() of a server that sends one on = %v", err)
	}
	if err := (agentclient.Prober{}).GreetSSE(t.Context(), serve(t, http.NotFoundHandler())); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("GreetSSE() of a server without = %v", err)
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	everything := map[string]string{
		"initialize":               offers(`"tools":{},"prompts":{},"resources":{}`),
		"tools/list":               `"result":{"tools":[{"name":"workflows-list"}],"nextCursor":"2"}`,
		"tools/list 2":             `"result":{"tools":[{"name":"b","x-unknown":{"kept":true}}]}`,
		"prompts/list":             `"result":{"prompts":[]}`,
		"resources/list":           `"result":{"resources":[{"uri":"a://b"}],"nextCursor":null}`,
		"resources/templates/list": `"result":{"resourceTemplates":[]}`,
		"tools/call":               `"result":{"content":[],"structuredContent":{"result":{"Flow":{}}}}`,
	}
	whole := store.Capture{
		AppName: "finder", ToolsJSON: `{"tools":[{"name":"workflows-list"},{"name":"b","x-unknown":{"kept":true}}]}`, PromptsJSON: `{"prompts":[]}`,
		ResourcesJSON: `{"resources":[{"uri":"a://b"}]}`, ResourceTemplatesJSON: `{"resourceTemplates":[]}`, WorkflowsJSON: `{"Flow":{}}`,
	}
	tests := map[string]struct {
		answers map[string]string
		stream  bool
		want    store.Capture
	}{
		"everything":           {answers: everything, want: whole},
		"everything, streamed": {answers: everything, stream: true, want: whole},
		"nothing":              {answers: map[string]string{"initialize": offers("")}, want: store.Capture{AppName: "finder"}},
		"tools but no workflows": {
			answers: map[string]string{"initialize": offers(`"tools":{}`), "tools/list": `"result":{"tools":[{"name":"add"}]}`},
			want:    store.Capture{AppName: "finder", ToolsJSON: `{"tools":[{"name":"add"}]}`},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := &agent{answers: tt.answers, stream: tt.stream}
			got, err := agentclient.Prober{}.Capture(t.Context(), serve(t, a))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(got.InitializeJSON, `"odd":1`) {
				t.Errorf("the answer to initialize is kept as %s", got.InitializeJSON)
			}
			got.InitializeJSON = ""
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Capture() differs (-want +got):\n%s", diff)
			}
			if a.closed.Load() != 1 || a.bad.Load() != 0 {
				t.Errorf("%d sessions ended, %d bad requests; want 1 and 0", a.closed.Load(), a.bad.Load())
			}
		})
	}
}

func TestBrokenAgents(t *testing.T) {
	t.Parallel()
	text := func(kind string, code int, body string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.WriteHeader(code)
			_, _ = fmt.Fprint(w, body)
		})
	}
	endless := &agent{answers: map[string]string{
		"initialize": offers(`"tools":{}`), "tools/list": `"result":{"tools":[],"nextCursor":"2"}`, "tools/list 2": `"result":{"tools":[],"nextCursor":"2"}`,
	}}
	tests := map[string]struct {
		server http.Handler
		want   string
	}{
		"no MCP at all":                   {http.NotFoundHandler(), "404"},
		"it fails":                        {text("text/plain", 500, "Traceback"), "500"},
		"no content type":                 {text("", 200, "{}"), "content type"},
		"no JSON":                         {text("application/json", 200, "<html>"), "initialize"},
		"a stream without an answer":      {text("text/event-stream", 200, "data: {}\n\n"), "without an answer"},
		"a line that never ends":          {text("text/event-stream", 200, "data: "+strings.Repeat("x", 17<<20)), "token too long"},
		"it says no":                      {&agent{answers: nil}, "error -32601: no such method"},
		"a list that fails":               {&agent{answers: map[string]string{"initialize": offers(`"tools":{}`)}}, "tools/list"},
		"a list that never ends":          {endless, "more than 100 pages"},
		"tools that are no list":          {&agent{answers: map[string]string{"initialize": offers(`"tools":{}`), "tools/list": `"result":{"tools":{}}`}}, "tools/list"},
		"an initialize that is no object": {&agent{answers: map[string]string{"initialize": `"result":7`}}, "initialize"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := agentclient.Prober{}.Capture(t.Context(), serve(t, tt.server))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("Capture() = %v, want %q", err, tt.want)
			}
		})
	}
}

// An agent that takes the question and says nothing holds nobody longer than asked.
func TestASilentAgent(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	url := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then does the server see that the caller left
		cancel()
		<-r.Context().Done()
	}))
	if _, err := (agentclient.Prober{}).Capture(ctx, url); err == nil {
		t.Error("Capture() of a silent agent found something")
	}
}
