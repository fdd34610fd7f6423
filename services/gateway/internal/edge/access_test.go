package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

func TestWhoMayCall(t *testing.T) {
	t.Parallel()
	closed := func(*registryv1.Address) {}
	open := func(a *registryv1.Address) { a.UnauthenticatedAccess = true }
	alices := func(a *registryv1.Address) { a.UserId = "u_alice" }
	tests := map[string]struct {
		app  func(*registryv1.Address)
		key  string
		want int
	}{
		"a user of the organisation":              {closed, "alice", http.StatusOK},
		"nobody":                                  {closed, "", http.StatusUnauthorized},
		"a key that nobody has":                   {closed, "wrong", http.StatusUnauthorized},
		"somebody of another organisation":        {closed, "stranger", http.StatusNotFound},
		"nobody, at an open app":                  {open, "", http.StatusOK},
		"a wrong key, at an open app":             {open, "wrong", http.StatusOK},
		"a stranger, at an open app":              {open, "stranger", http.StatusOK},
		"the user whose instance it is":           {alices, "alice", http.StatusOK},
		"a colleague, at somebody else's":         {alices, "bob", http.StatusNotFound},
		"a session of somebody else is not there": {closed, "bob", http.StatusOK},
	}
	w := newWorld(t)
	for name, test := range tests {
		t.Run(name, func(t *testing.T) { // one after another: they change the app
			w := &world{w.Rooms, t, w.agent, w.edge, w.nats, w.bus, w.url, w.callbacks, w.buses, w.silence}
			w.address(test.app)
			edgetest.Until(t, "the change is known", func() bool {
				return w.do(http.MethodPost, "/mcp", test.key, "", []byte(hello)).status == test.want
			})
		})
	}
	w.address(closed)
	t.Run("a session is its own user's", func(t *testing.T) {
		edgetest.Until(t, "the app is closed again", func() bool { return w.do(http.MethodGet, "/", "", "", nil).status == http.StatusUnauthorized })
		id := w.open("alice")
		if res := w.do(http.MethodPost, "/mcp", "bob", id, call("add", `{}`)); res.status != http.StatusNotFound {
			t.Errorf("a colleague in alice's session: %+v", res)
		}
	})
}

func TestHostAndOrigin(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := map[string]struct {
		host, origin string
		want         int
	}{
		"a program":                    {"", "", http.StatusOK},
		"localhost by name":            {"localhost:80", "", http.StatusOK},
		"a page of this machine":       {"", "http://localhost:3000", http.StatusOK},
		"a name that was pointed here": {"evil.example", "", http.StatusMisdirectedRequest},
		"a page of another origin":     {"", "http://evil.example", http.StatusForbidden},
		"an origin that is none":       {"", "null", http.StatusForbidden},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := w.request(http.MethodPost, "/mcp", "alice", "", []byte(hello))
			if test.host != "" {
				req.Host = test.host
			}
			if test.origin != "" {
				req.Header.Set("Origin", test.origin)
			}
			if res := w.send(req); res.status != test.want {
				t.Errorf("answer = %+v, want %d", res, test.want)
			}
		})
	}
}

func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tests := map[string]struct {
		method, path string
		want         int
	}{
		"no such path":           {http.MethodGet, "/nothing", http.StatusNotFound},
		"callbacks from outside": {http.MethodPost, "/internal/session/by-run/x/notify", http.StatusNotFound},
		"a wrong method":         {http.MethodPut, "/mcp", http.StatusMethodNotAllowed},
		"a person's browser":     {http.MethodGet, "/", http.StatusOK},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if res := w.do(test.method, test.path, "alice", "", nil); res.status != test.want {
				t.Errorf("answer = %+v, want %d", res, test.want)
			}
		})
	}
}

// What a caller sends beside the message stays here: an agent's SDK would copy some of
// it into the memos of workflows.
func TestNothingOfTheCallerReachesTheAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.open("alice")
	req := w.request(http.MethodPost, "/mcp", "alice", id, call("add", `{"a":1}`))
	for name, value := range map[string]string{
		"Cookie": "c=secret", "X-Api-Key": "secret", "X-Mcp-Gateway-Token": "secret", "X-Mcp-Gateway-Url": "http://evil.example",
		"X-Forwarded-For": "203.0.113.9", "Forwarded": "for=203.0.113.9", "X-Real-Ip": "203.0.113.9", "Traceparent-Evil": "secret",
	} {
		req.Header.Set(name, value)
	}
	if res := w.send(req); !strings.Contains(res.body, `"a":1`) {
		t.Fatalf("answer = %+v", res)
	}
	allowed := map[string]bool{
		"Accept": true, "Accept-Encoding": true, "Content-Length": true, "Content-Type": true, "User-Agent": true, "Connection": true,
		"Mcp-Session-Id": true, "Mcp-Protocol-Version": true, "Traceparent": true, "Tracestate": true,
	}
	for _, seen := range w.agent.Seen() {
		for name, values := range seen.Header {
			if !allowed[name] {
				t.Errorf("the agent got %s: %v", name, values)
			}
			if strings.Contains(strings.Join(values, " "), "alice") || strings.Contains(strings.Join(values, " "), id) {
				t.Errorf("the agent got %s: %v", name, values)
			}
		}
	}
}

// The caller's trace goes on in the agent (W3C Trace Context); nothing else of its
// request does.
func TestTraceGoesOn(t *testing.T) {
	otel.SetTextMapPropagator(propagation.TraceContext{}) // as pkg/observe does
	w := newWorld(t)
	req := w.request(http.MethodPost, "/mcp", "alice", w.open("alice"), call("add", `{}`))
	req.Header.Set("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-00f067aa0ba902b7-01")
	req.Header.Set("Cookie", "a=b")
	w.send(req)
	seen := w.agent.Seen()
	last := seen[len(seen)-1].Header
	if got := last.Get("Traceparent"); !strings.Contains(got, "0af7651916cd43dd8448eb211c80319c") {
		t.Errorf("the agent sees the trace %q", got)
	}
	if last.Get("Cookie") != "" || last.Get("Authorization") != "" {
		t.Errorf("the agent sees %v", last)
	}
}
