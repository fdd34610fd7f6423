package edge_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// at is a request to a gateway by the app's host name.
func (w *world) at(at, method, key, session, body string) *http.Request {
	w.t.Helper()
	return sentTo(at, w.request(method, "/mcp", key, session, []byte(body)))
}

// askAt sends a message to a gateway.
func (w *world) askAt(at, method, key, session, body string) answer {
	w.t.Helper()
	return w.send(w.at(at, method, key, session, body))
}

// openAt begins a session.
func (w *world) openAt(at, key string) (id string) {
	w.t.Helper()
	opened := w.askAt(at, http.MethodPost, key, "", hello)
	id = opened.header.Get("Mcp-Session-Id")
	if opened.status != http.StatusOK || id == "" {
		w.t.Fatalf("initialize = %+v", opened)
	}
	w.askAt(at, http.MethodPost, key, id, ready)
	return id
}

// sentTo makes a request one for a gateway, by the app's host name.
func sentTo(at string, req *http.Request) *http.Request {
	req.URL.Host, req.Host = strings.TrimPrefix(at, "http://"), "finder.test"
	return req
}

// twins are two gateways behind one name; stop ends the first.
func (w *world) twins() (one, other string, stop func()) {
	w.t.Helper()
	w.address(func(a *registryv1.Address) { a.Host, a.Port = "finder.test", 0 })
	first, stop := w.replicaUntil()
	servers := []*httptest.Server{httptest.NewServer(first), httptest.NewServer(w.replica())}
	for _, server := range servers {
		w.t.Cleanup(server.Close)
		w.t.Cleanup(server.CloseClientConnections) // before Close, which waits for streams
		edgetest.Until(w.t, "the host is known", func() bool {
			return w.askAt(server.URL, http.MethodGet, "alice", "", "").status != http.StatusNotFound
		})
	}
	return servers[0].URL, servers[1].URL, stop
}

func TestAnyReplicaServesASession(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other, _ := w.twins()
	id := w.openAt(one, "alice")
	called := string(call("add", `{"a":1}`))
	if res := w.askAt(other, http.MethodPost, "alice", id, called); res.status != http.StatusOK || !strings.Contains(res.body, `"a":1`) {
		t.Errorf("the other replica answers %+v", res)
	}
	for _, seen := range w.agent.Seen() {
		if strings.Contains(string(seen.Body), "initialize") && !strings.Contains(string(seen.Body), "a client") && !strings.Contains(string(seen.Body), "notifications/initialized") {
			t.Errorf("the agent was not told the client's own words: %s", seen.Body)
		}
	}
	for name, try := range map[string]answer{
		"somebody else's": w.askAt(other, http.MethodPost, "bob", id, called),
		"guessed":         w.askAt(other, http.MethodPost, "alice", strings.Repeat("0", 32), called),
	} {
		if try.status != http.StatusNotFound {
			t.Errorf("%s session = %+v", name, try)
		}
	}
	if res := w.askAt(one, http.MethodDelete, "alice", id, ""); res.status != http.StatusOK {
		t.Errorf("the end = %+v", res)
	}
	edgetest.Until(t, "the session has ended everywhere", func() bool {
		return w.askAt(one, http.MethodPost, "alice", id, called).status == http.StatusNotFound &&
			w.askAt(other, http.MethodPost, "alice", id, called).status == http.StatusNotFound
	})
}
