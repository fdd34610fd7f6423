package edge_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

func TestASessionByStreamableHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if opened := w.do(http.MethodPost, "/mcp", "alice", "", []byte(hello)); !strings.Contains(opened.body, `"tools":{"listChanged":true}`) || !strings.Contains(opened.body, `"logging":{}`) {
		t.Errorf("initialize = %+v", opened)
	}
	w.agent.Forget()
	id := w.open("alice")
	if res := w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{"a":1}`)); parse(t, res.body).Result == nil || !strings.Contains(res.body, `"a":1`) {
		t.Errorf("a call = %+v", res)
	}
	if open, _ := w.agent.Sessions(); open != 1 {
		t.Errorf("the agent has %d sessions", open)
	}
	if res := w.do(http.MethodDelete, "/mcp", "alice", id, nil); res.status != http.StatusOK {
		t.Errorf("DELETE = %+v", res)
	}
	edgetest.Until(t, "the agent's session ends, too", func() bool {
		open, _ := w.agent.Sessions()
		return open == 0
	})
	if res := w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{}`)); res.status != http.StatusNotFound {
		t.Errorf("a call after the end = %+v", res)
	}
}

func TestMessagesThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.MaxBody = 1000 })
	id := w.open("alice")
	tests := map[string]struct {
		session, body, version, kind string
		status, code                 int
	}{
		"no JSON":              {session: id, body: "{", status: http.StatusBadRequest, code: jsonrpc.CodeParse},
		"no message":           {session: id, body: "[1]", status: http.StatusBadRequest, code: jsonrpc.CodeInvalidRequest},
		"no session":           {body: string(call("add", "{}")), status: http.StatusBadRequest, code: jsonrpc.CodeInvalidRequest},
		"an unknown session":   {session: "nobody's", body: string(call("add", "{}")), status: http.StatusNotFound, code: jsonrpc.CodeMethodNotFound},
		"too large":            {session: id, body: string(call("add", `"`+strings.Repeat("x", 1000)+`"`)), status: http.StatusRequestEntityTooLarge, code: jsonrpc.CodeInvalidRequest},
		"another version":      {session: id, body: string(call("add", "{}")), version: "1999-01-01", status: http.StatusBadRequest, code: jsonrpc.CodeUnsupportedVersion},
		"another kind of body": {session: id, body: "a=b", kind: "application/x-www-form-urlencoded", status: http.StatusUnsupportedMediaType, code: jsonrpc.CodeInvalidRequest},
		"deep nesting":         {session: id, body: strings.Repeat("[", 900), status: http.StatusBadRequest, code: jsonrpc.CodeParse},
		"a tool named twice":   {session: id, body: `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"add","name":"workflows-list"}}`, status: http.StatusOK, code: jsonrpc.CodeInvalidParams},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := w.request(http.MethodPost, "/mcp", "alice", test.session, []byte(test.body))
			if test.version != "" {
				req.Header.Set("Mcp-Protocol-Version", test.version)
			}
			if test.kind != "" {
				req.Header.Set("Content-Type", test.kind)
			}
			res := w.send(req)
			if m := parse(t, res.body); res.status != test.status || m.Error == nil || m.Error.Code != test.code || m.Error.Message == "" {
				t.Errorf("answer = %+v, want %d with code %d", res, test.status, test.code)
			}
		})
	}
}

func TestEachEventPassesAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	step := make(chan struct{})
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		edgetest.Stream(rw)
		for _, note := range []string{"one", "two"} {
			edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"`+note+`"}}`))
			<-step
		}
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, []byte(`{"content":[]}`)))
	}
	stream := w.listen(w.request(http.MethodPost, "/mcp", "alice", w.open("alice"), call("add", `{}`)))
	for _, want := range []string{"one", "two"} {
		if got := stream.next(); !strings.Contains(got, want) {
			t.Errorf("event = %s, want %s", got, want)
		}
		step <- struct{}{}
	}
	if m := parse(t, stream.next()); m.Result == nil || string(m.ID) != `"c1"` {
		t.Errorf("the answer = %+v", m)
	}
}

// A long event is passed on before it is whole; what comes of it is the same.
func TestLongAnswer(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	long, more := strings.Repeat("x", 1<<20), make(chan struct{})
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		edgetest.Stream(rw)
		_, _ = rw.Write([]byte("id: theirs\nevent: message\ndata: {\"jsonrpc\":\"2.0\",\"id\":" + string(m.ID) + ",\"result\":{\"text\":\"" + long))
		_ = http.NewResponseController(rw).Flush()
		<-more
		_, _ = rw.Write([]byte("\"}}\n\n"))
	}
	res, err := http.DefaultClient.Do(w.request(http.MethodPost, "/mcp", "alice", w.open("alice"), call("add", `{}`)))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if begin := make([]byte, 1<<19); true {
		if _, err := io.ReadFull(res.Body, begin); err != nil || strings.Contains(string(begin), "theirs") || !strings.Contains(string(begin), `,"result":{"text":"xxx`) {
			t.Errorf("it begins with %.200s, %v", begin, err)
		}
	}
	close(more)
	rest, err := io.ReadAll(res.Body)
	if err != nil || !strings.HasSuffix(string(rest), "x\"}}\n\n") {
		t.Errorf("it ends with %v", err)
	}
}

// A client whose answer breaks off hears of it; it would wait for ever otherwise.
func TestAnAgentThatDiesInACall(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		call   func(rw http.ResponseWriter)
		status int
	}{
		"before it answers": {func(http.ResponseWriter) {}, http.StatusServiceUnavailable},
		"in its stream":     {func(rw http.ResponseWriter) { edgetest.Stream(rw) }, http.StatusOK},
		"in the middle of an event": {func(rw http.ResponseWriter) {
			edgetest.Stream(rw)
			_, _ = rw.Write([]byte("data: {\"jsonrpc\":\"2.0\",\"id\":\"c1\",\"result\":"))
			_ = http.NewResponseController(rw).Flush()
		}, http.StatusOK},
		"in its JSON": {func(rw http.ResponseWriter) {
			rw.Header().Set("Content-Type", "application/json")
			rw.Header().Set("Content-Length", "1000")
			_, _ = rw.Write([]byte(`{"jsonrpc":"2.0",`))
		}, http.StatusServiceUnavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, _ jsonrpc.Message) {
				test.call(rw)
				panic(http.ErrAbortHandler)
			}
			res := w.do(http.MethodPost, "/mcp", "alice", w.open("alice"), call("add", `{}`))
			if m := parse(t, res.body); res.status != test.status || m.Error == nil || string(m.ID) != `"c1"` || !strings.Contains(m.Error.Message, "may have been started") {
				t.Errorf("answer = %+v, want %d", res, test.status)
			}
		})
	}
}

func TestAnAgentThatIsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.ReadyWait = 1 })
	id := w.open("alice")
	w.live(false)
	w.agent.Stop()
	edgetest.Until(t, "a call is refused", func() bool {
		res := w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{}`))
		return res.status == http.StatusServiceUnavailable && res.header.Get("Retry-After") != "" && parse(t, res.body).Error != nil
	})
	if res := w.do(http.MethodPost, "/mcp", "alice", id, []byte(`{"jsonrpc":"2.0","id":2,"method":"tools/list"}`)); !strings.Contains(res.body, `"add"`) {
		t.Errorf("tools/list = %+v", res)
	}
	if res := w.do(http.MethodPost, "/mcp", "alice", "", []byte(hello)); !strings.Contains(res.body, `"recorded"`) || !strings.Contains(res.body, `"2025-06-18"`) {
		t.Errorf("initialize = %+v", res)
	}
	if res := w.do(http.MethodPost, "/mcp", "alice", id, call("workflows-list", `{}`)); !strings.Contains(res.body, "Refund") {
		t.Errorf("workflows-list = %+v", res)
	}
	w.agent.Start(t)
	w.live(true)
	edgetest.Until(t, "the same session goes on", func() bool {
		return parse(t, w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{}`)).body).Result != nil
	})
}

func TestBoundsOfSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.SessionsPerCaller = 2 })
	w.open("alice")
	w.open("alice")
	if res := w.do(http.MethodPost, "/mcp", "alice", "", []byte(hello)); res.status != http.StatusTooManyRequests || res.header.Get("Retry-After") == "" {
		t.Errorf("a third session = %+v", res)
	}
	w.open("bob")
}

func TestWhatTheAgentSaysUnasked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.open("alice")
	w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{}`))
	stream := w.listen(w.request(http.MethodGet, "/mcp", "alice", id, nil))
	edgetest.Until(t, "the agent is listened to", func() bool {
		for _, seen := range w.agent.Seen() {
			if seen.Method == http.MethodGet {
				return true
			}
		}
		return false
	})
	w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
	if m := parse(t, stream.next()); m.Method != "notifications/tools/list_changed" {
		t.Errorf("message = %+v", m)
	}
}

func TestCallByPlainHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if res := w.do(http.MethodPost, "/call_tool", "alice", "", []byte(`{"name":"add","arguments":{"a":1}}`)); res.status != http.StatusOK || !strings.Contains(res.body, `"a":1`) {
		t.Errorf("a tool of the agent's = %+v", res)
	}
	if res := w.do(http.MethodPost, "/call_tool", "alice", "", []byte(`{"name":"workflows-list"}`)); res.status != http.StatusOK || !strings.Contains(res.body, "Refund") {
		t.Errorf("a tool of ours = %+v", res)
	}
	for _, body := range []string{"", "{}", `{"name":1}`, "[]"} {
		if res := w.do(http.MethodPost, "/call_tool", "alice", "", []byte(body)); res.status != http.StatusBadRequest {
			t.Errorf("%q = %+v", body, res)
		}
	}
	edgetest.Until(t, "no session is left", func() bool {
		open, _ := w.agent.Sessions()
		return open == 0
	})
}
