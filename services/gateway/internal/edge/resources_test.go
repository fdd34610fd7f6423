package edge_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

func changedResource(uri string) string {
	return `{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"` + uri + `"}}`
}

// subscribable makes the agent one that tells of its resources, but for secret ones.
func (w *world) subscribable() {
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		if strings.Contains(string(m.Params), "secret") {
			edgetest.Stream(rw)
			edgetest.Event(rw, jsonrpc.NewError(m.ID, -32602, "no such resource"))
			return
		}
		edgetest.Echo(rw, r, m)
	}
	w.Deployments.Set(&schedulerv1.Endpoint{
		TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", ServerUrl: w.agent.URL(), Ready: true, Kind: "mcp-agent",
		InitializeJson: `{"protocolVersion":"2025-11-25","capabilities":{"resources":{"subscribe":true}},"serverInfo":{"name":"recorded","version":"1"}}`,
		ResourcesJson:  `{"resources":[]}`,
	})
	edgetest.Until(w.t, "the new version serves", func() bool {
		return strings.Contains(w.modern("alice", "server/discover", "", `{}`, nothing).body, `"subscribe":true`)
	})
}

// listenTo is a subscription of the stateless era whose acknowledgement is read.
func (w *world) listenTo(key, uris string) (stream *events, acknowledged rpc) {
	w.t.Helper()
	stream = w.listen(w.modernRequest(key, "subscriptions/listen", "", `{"notifications":{"resourceSubscriptions":[`+uris+`]}}`, nothing))
	return stream, parse(w.t, stream.next())
}

// wantUpdate reads that a resource has changed, tagged with the subscription.
func wantUpdate(t *testing.T, stream *events, uri string) {
	t.Helper()
	got := stream.next()
	if m := parse(t, got); m.Method != "notifications/resources/updated" || !strings.Contains(got, uri) || !strings.Contains(got, `"io.modelcontextprotocol/subscriptionId":"m1"`) {
		t.Errorf("it is told %s, want that %s has changed", got, uri)
	}
}

func TestResourcesAreListenedToAcrossTheEras(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.subscribable()
	first, ack := w.listenTo("alice", `"file:///a","secret:///b","file:///c"`)
	if got := string(ack.Params); ack.Method != "notifications/subscriptions/acknowledged" || !strings.Contains(got, `"resourceSubscriptions":["file:///a","file:///c"]`) {
		t.Fatalf("acknowledged is %s", got)
	}
	second, _ := w.listenTo("alice", `"file:///a"`)
	bobs, _ := w.listenTo("bob", `"file:///a"`)
	if open, ever := w.agent.Sessions(); open != 2 || ever != 2 {
		t.Errorf("the agent has %d sessions for two users", open)
	}
	if got := wishesIn(w.agent, "agent-session-1"); !slices.Equal(got, []string{`resources/subscribe{"uri":"file:///a"}`, `resources/subscribe{"uri":"file:///c"}`, `resources/subscribe{"uri":"secret:///b"}`}) {
		t.Errorf("for alice the agent is asked %v", got)
	}
	w.agent.SayTo("agent-session-1", changedResource("file:///a/part"))
	wantUpdate(t, first, "file:///a/part")
	wantUpdate(t, second, "file:///a/part")
	w.agent.SayTo("agent-session-1", changedResource("file:///c"))
	wantUpdate(t, first, "file:///c")
	w.agent.SayTo("agent-session-2", changedResource("file:///a"))
	wantUpdate(t, bobs, "file:///a")
	w.agent.Stop()
	w.agent.Start(t)
	told := []string{first.next(), first.next()}
	slices.Sort(told)
	if !strings.Contains(told[0], "file:///a") || !strings.Contains(told[1], "file:///c") {
		t.Errorf("after the agent's restart it is told %v", told)
	}
	wantUpdate(t, second, "file:///a")
	wantUpdate(t, bobs, "file:///a")
	w.agent.Say(changedResource("file:///c"))
	wantUpdate(t, first, "file:///c")
	for _, stream := range []*events{first, second, bobs} {
		stream.cut()
	}
	edgetest.Until(t, "the agent's sessions are ended", func() bool { open, _ := w.agent.Sessions(); return open == 0 })
}

func TestResourcesThatNobodyTellsOf(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if res := w.modern("alice", "subscriptions/listen", "", `{"notifications":{"resourceSubscriptions":["file:///a"]}}`, nothing); !strings.Contains(res.body, `"notifications":{}`) {
		t.Errorf("an agent that tells of none = %+v", res)
	}
	w.agent.Silent = true
	w.subscribable()
	if res := w.modern("alice", "subscriptions/listen", "", `{"notifications":{"resourceSubscriptions":["file:///a"]}}`, nothing); !strings.Contains(res.body, `"notifications":{}`) {
		t.Errorf("an agent without a stream of its own = %+v", res)
	}
	many := strings.TrimSuffix(strings.Repeat(`"file:///a",`, 101), ",")
	if res := w.modern("alice", "subscriptions/listen", "", `{"notifications":{"resourceSubscriptions":[`+many+`]}}`, nothing); res.status != http.StatusBadRequest {
		t.Errorf("too many = %+v", res)
	}
}

// teller is an agent of the stateless era that tells of its resources.
type teller struct {
	mu      sync.Mutex
	streams map[int]chan string
	asked   [][]string
}

// ServeHTTP serves subscriptions/listen.
func (a *teller) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var m struct {
		ID     json.RawMessage
		Params struct {
			Notifications struct {
				URIs []string `json:"resourceSubscriptions"`
			}
		}
	}
	if json.NewDecoder(r.Body).Decode(&m) != nil || r.Header.Get("Mcp-Method") != "subscriptions/listen" {
		http.Error(w, "", http.StatusNotFound)
		return
	}
	uris := slices.DeleteFunc(m.Params.Notifications.URIs, func(uri string) bool { return strings.HasPrefix(uri, "secret") })
	say := make(chan string, 10)
	a.mu.Lock()
	n := len(a.asked)
	a.asked, a.streams[n] = append(a.asked, uris), say
	a.mu.Unlock()
	edgetest.Stream(w)
	edgetest.Event(w, jsonrpc.NewRequest(nil, "notifications/subscriptions/acknowledged", jsonrpc.Encode(map[string]any{"notifications": map[string]any{"resourceSubscriptions": uris}})))
	for {
		select {
		case text, ok := <-say:
			if !ok {
				return
			}
			edgetest.Event(w, []byte(text))
		case <-r.Context().Done():
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.streams, n)
			return
		}
	}
}

// open are the resources of the streams that are open.
func (a *teller) open() (uris [][]string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n := range a.asked {
		if a.streams[n] != nil {
			uris = append(uris, a.asked[n])
		}
	}
	return uris
}

// say says something on all streams; cut ends them.
func (a *teller) say(text string, cut bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for n, stream := range a.streams {
		if stream <- text; cut {
			close(stream)
			delete(a.streams, n)
		}
	}
}

func TestSessionsListenToResourcesOfAgentsWithoutThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	agent := &teller{streams: map[int]chan string{}}
	server := httptest.NewServer(agent)
	t.Cleanup(server.CloseClientConnections)
	w.Deployments.Set(&schedulerv1.Endpoint{
		TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", McpUrl: server.URL, Ready: true, Kind: "remote", Modern: true, ModernOnly: true,
		InitializeJson: `{"protocolVersion":"2025-11-25","capabilities":{"resources":{"subscribe":true}},"serverInfo":{"name":"teller","version":"1"}}`,
		DiscoverJson:   `{"supportedVersions":["2026-07-28"],"capabilities":{"resources":{"subscribe":true}}}`,
	})
	one, other, _ := w.twins()
	var id string
	edgetest.Until(t, "the new version serves", func() bool {
		res := w.askAt(one, http.MethodPost, "alice", "", hello)
		id = res.header.Get("Mcp-Session-Id")
		return strings.Contains(res.body, "teller") && strings.Contains(w.askAt(other, http.MethodPost, "alice", "", hello).body, "teller")
	})
	w.askAt(one, http.MethodPost, "alice", id, ready)
	stream := w.listen(w.at(one, http.MethodGet, "alice", id, ""))
	if res := w.askAt(one, http.MethodPost, "alice", id, about("resources/subscribe", "secret:///a")); !strings.Contains(res.body, "-32602") {
		t.Errorf("a resource that is not told of = %+v", res)
	}
	for _, uri := range []string{"file:///a", "file:///b"} {
		if res := w.askAt(one, http.MethodPost, "alice", id, about("resources/subscribe", uri)); !strings.Contains(res.body, `"result":{}`) {
			t.Fatalf("subscribe = %+v", res)
		}
	}
	edgetest.Until(t, "one stream has both", func() bool {
		return slices.EqualFunc(agent.open(), [][]string{{"file:///a", "file:///b"}}, slices.Equal)
	})
	wanted := func(uris ...string) {
		t.Helper()
		for _, uri := range uris {
			if got := stream.next(); !strings.Contains(got, uri) {
				t.Errorf("it is told %s, want %s", got, uri)
			}
		}
	}
	agent.say(changedResource("file:///b"), false)
	wanted("file:///b")
	agent.say(changedResource("file:///a"), true) // as a restart would
	wanted("file:///a", "file:///a", "file:///b")
	if res := w.askAt(other, http.MethodPost, "alice", id, about("resources/subscribe", "file:///c")); !strings.Contains(res.body, `"result":{}`) {
		t.Fatalf("subscribe at the other replica = %+v", res)
	}
	edgetest.Until(t, "who listens has heard of it", func() bool {
		return slices.ContainsFunc(agent.open(), func(uris []string) bool { return slices.Contains(uris, "file:///c") && len(uris) == 3 })
	})
	wanted("file:///c") // it may have changed since
	agent.say(changedResource("file:///c"), false)
	wanted("file:///c")
	w.askAt(one, http.MethodPost, "alice", id, about("resources/unsubscribe", "file:///a"))
	w.askAt(one, http.MethodDelete, "alice", id, "")
	edgetest.Until(t, "nobody listens any more", func() bool { return len(agent.open()) == 0 })
}
