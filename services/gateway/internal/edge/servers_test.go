package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// several is a version with more servers than one; each answers calls with its number.
type several struct {
	*world
	agents []*edgetest.Agent
}

func newSeveral(t *testing.T, n int) *several {
	t.Helper()
	s := &several{world: newWorld(t)}
	for i := range n {
		a := s.agent
		if i > 0 {
			a = edgetest.NewAgent(t)
		}
		a.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
			edgetest.Answer(rw, m, map[string]any{"content": []any{}, "structuredContent": map[string]int{"server": i}})
		}
		s.agents = append(s.agents, a)
	}
	s.serve(s.agents...)
	return s
}

// serve says which of the servers can be called.
func (s *several) serve(agents ...*edgetest.Agent) { s.Deployments.Set(s.of(agents...)) }

// of is a version with those servers.
func (s *several) of(agents ...*edgetest.Agent) *schedulerv1.Endpoint {
	e := s.endpoint(true)
	e.ServerUrl, e.Concurrency = agents[0].URL(), 2
	for i, a := range agents {
		e.Servers = append(e.Servers, &schedulerv1.Server{Url: a.URL(), InstanceId: fmt.Sprint(i)})
	}
	return e
}

// served tells which server answered a call.
func served(t *testing.T, res answer) int {
	t.Helper()
	var result struct {
		StructuredContent struct {
			Server *int `json:"server"`
		} `json:"structuredContent"`
	}
	if res.status != http.StatusOK || json.Unmarshal(parse(t, res.body).Result, &result) != nil || result.StructuredContent.Server == nil {
		t.Fatalf("call = %+v", res)
	}
	return *result.StructuredContent.Server
}

func TestSessionsStayAtTheirServer(t *testing.T) {
	t.Parallel()
	w := newSeveral(t, 3)
	one, other, _ := w.twins()
	const sessions = 30
	at := map[string]int{}
	count := make([]int, 3)
	for i := range sessions {
		id := w.openAt([]string{one, other}[i%2], "alice")
		at[id] = served(t, w.askAt(one, http.MethodPost, "alice", id, string(call("add", "{}"))))
		count[at[id]]++
	}
	for server, n := range count {
		if n < sessions/3-2 || n > sessions/3+2 {
			t.Errorf("server %d has %d of %d sessions: %v", server, n, sessions, count)
		}
	}
	for range 2 {
		for id, want := range at {
			for _, gateway := range []string{one, other} {
				if got := served(t, w.askAt(gateway, http.MethodPost, "alice", id, string(call("add", "{}")))); got != want {
					t.Errorf("a session of server %d is served by %d", want, got)
				}
			}
		}
	}
}

func TestSessionsOfAServerThatGoes(t *testing.T) {
	t.Parallel()
	w := newSeveral(t, 3)
	one, other, _ := w.twins()
	at := map[string]int{}
	for i := range 12 {
		id := w.openAt([]string{one, other}[i%2], "alice")
		at[id] = served(t, w.askAt(other, http.MethodPost, "alice", id, string(call("add", "{}"))))
	}
	w.agents[1].Stop()
	w.serve(w.agents[0], w.agents[2])
	for id, before := range at {
		first := served(t, w.askAt(one, http.MethodPost, "alice", id, string(call("add", "{}"))))
		if first == 1 || before != 1 && first != before {
			t.Errorf("a session of server %d is served by %d", before, first)
		}
		for _, gateway := range []string{other, one} {
			if again := served(t, w.askAt(gateway, http.MethodPost, "alice", id, string(call("add", "{}")))); again != first {
				t.Errorf("a session that moved to server %d is served by %d, too", first, again)
			}
		}
	}
}

// TestAServerEndsWhenNobodyCalls has a server leave the list while it is called.
func TestAServerEndsWhenNobodyCalls(t *testing.T) {
	t.Parallel()
	w := newSeveral(t, 2)
	began, goOn := make(chan struct{}), make(chan struct{})
	var calls, lost atomic.Int64
	var ended atomic.Bool
	answer := w.agents[1].Call
	w.agents[1].Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		if ended.Load() {
			lost.Add(1)
		}
		if calls.Add(1) == 1 {
			close(began)
			<-goOn
		}
		answer(rw, r, m)
	}
	ask := func() bool { return w.Sleep.AskOne(t, app, "ver_1", w.agents[1].URL()) }
	var callers sync.WaitGroup
	for range 2 { // one at each
		session := w.open("alice")
		callers.Go(func() { w.do(http.MethodPost, "/mcp", "alice", session, call("add", "{}")) })
	}
	<-began
	edgetest.Until(t, "the call is told of", func() bool { return w.Sleep.Load(w.agents[1].URL()) == 1 })
	if ask() {
		t.Error("a server that is in the list may end")
	}
	w.serve(w.agents[0])
	if ask() {
		t.Error("a server that is being called may end")
	}
	close(goOn)
	callers.Wait()
	edgetest.Until(t, "it may end", ask)
	ended.Store(true)
	if got := served(t, w.do(http.MethodPost, "/mcp", "bob", w.open("bob"), call("add", "{}"))); got != 0 || lost.Load() > 0 {
		t.Errorf("server %d answers; %d calls came to one that had ended", got, lost.Load())
	}
}

// TestNoCallIsLostToScaling has callers come while servers come and go.
func TestNoCallIsLostToScaling(t *testing.T) {
	t.Parallel()
	w := newSeveral(t, 2)
	end := time.Now().Add(2 * time.Second)
	var callers sync.WaitGroup
	for range 6 {
		session := w.open("alice")
		callers.Go(func() {
			for time.Now().Before(end) {
				served(t, w.do(http.MethodPost, "/mcp", "alice", session, call("add", "{}")))
			}
		})
	}
	ended := 0
	for ; time.Now().Before(end); ended++ {
		old, next := w.agents[1], edgetest.NewAgent(t)
		next.Call = old.Call
		w.agents = []*edgetest.Agent{w.agents[0], next}
		w.serve(append(w.agents, old)...)
		w.serve(w.agents...)
		edgetest.Until(t, "it may end", func() bool { return w.Sleep.AskOne(t, app, "ver_1", old.URL()) })
		old.Stop()
	}
	callers.Wait()
	if ended < 5 {
		t.Errorf("%d servers ended", ended)
	}
}

// TestATriedVersionHasServersOfItsOwn has all calls at a tried version with two servers,
// of which one ends.
func TestATriedVersionHasServersOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newSeveral(t, 3)
	try := func(agents ...*edgetest.Agent) {
		e, tried := w.of(w.agents[0]), w.of(agents...)
		tried.VersionId = "ver_2"
		e.Canary = &schedulerv1.Canary{RolloutId: "rol_1", Endpoint: tried, Weight: 1000}
		w.Deployments.Set(e)
	}
	ask := func(session string) int {
		t.Helper()
		return served(t, w.do(http.MethodPost, "/mcp", "alice", session, call("add", "{}")))
	}
	try(w.agents[1:]...)
	edgetest.Until(t, "it is tried", func() bool { return ask(w.open("alice")) > 0 })
	at, count := map[string]int{}, make([]int, 3)
	for range 8 {
		session := w.open("alice")
		at[session] = ask(session)
		count[at[session]]++
	}
	if count[0] > 0 || count[1] < 2 || count[2] < 2 {
		t.Errorf("of eight sessions the live server and the two tried ones have %v", count)
	}
	for session, want := range at {
		if got := ask(session); got != want {
			t.Errorf("a session of server %d is served by %d", want, got)
		}
	}
	began, goOn := make(chan struct{}), make(chan struct{})
	answer := w.agents[2].Call
	w.agents[2].Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		close(began)
		<-goOn
		answer(rw, r, m)
	}
	var caller sync.WaitGroup
	for session, server := range at {
		if server == 2 {
			caller.Go(func() { ask(session) })
			break
		}
	}
	<-began
	edgetest.Until(t, "the call is told of", func() bool { return w.Sleep.Load(w.agents[2].URL()) == 1 })
	try(w.agents[1])
	if w.Sleep.AskOne(t, app, "ver_2", w.agents[2].URL()) {
		t.Error("a server that is being called may end")
	}
	close(goOn)
	caller.Wait()
	edgetest.Until(t, "it may end", func() bool { return w.Sleep.AskOne(t, app, "ver_2", w.agents[2].URL()) })
	for session := range at {
		if got := ask(session); got != 1 {
			t.Errorf("server %d answers after the end of another one, want 1", got)
		}
	}
}

// TestCallsWithoutASessionAreSpread is for those of the stateless era, and of call_tool.
func TestCallsWithoutASessionAreSpread(t *testing.T) {
	t.Parallel()
	w := newSeveral(t, 3)
	count := make([]int, 3)
	for range 12 {
		body := `{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"add","arguments":{},"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":{}}}}`
		req := w.request(http.MethodPost, "/mcp", "alice", "", []byte(body))
		for name, value := range map[string]string{"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "add"} {
			req.Header.Set(name, value)
		}
		count[served(t, w.send(req))]++
	}
	for server, n := range count {
		if n < 3 {
			t.Errorf("server %d got %d of 12 calls: %v", server, n, strings.Trim(fmt.Sprint(count), "[]"))
		}
	}
}
