package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// sleeper is the scheduler's side of one agent: it ends it when the gateways agree, and
// starts it when one asks.
type sleeper struct {
	*world
	mu    sync.Mutex
	up    bool
	lost  atomic.Int64 // requests that came to an agent that had ended
	slept atomic.Int64
}

func newSleeper(w *world) *sleeper {
	s := &sleeper{world: w, up: true}
	answer := w.agent.Call
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		s.mu.Lock()
		up := s.up
		s.mu.Unlock()
		if !up {
			s.lost.Add(1)
		}
		answer(rw, r, m)
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.up {
			s.lost.Add(1)
		}
	}
	w.Sleep.OnWake(func(context.Context, string) (string, error) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if !s.up {
			s.up = true
			w.agent.Forget()
			w.live(true)
		}
		return "", nil
	})
	return s
}

// sleep ends the agent if the gateways agree.
func (s *sleeper) sleep(idle time.Duration) bool {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.up || !s.Sleep.Ask(s.t, app, "ver_1", idle) {
		return false
	}
	s.up = false
	e := s.endpoint(false)
	e.Asleep = true
	s.Deployments.Set(e)
	s.slept.Add(1)
	return true
}

func TestCallsWakeAndListsDoNot(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newSleeper(w)
	session := w.open("alice")
	edgetest.Until(t, "it sleeps", func() bool { return s.sleep(time.Millisecond) })
	for _, ask := range []string{
		`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`, `{"jsonrpc":"2.0","id":1,"method":"ping"}`, string(call("workflows-list", "{}")),
	} {
		if res := w.do(http.MethodPost, "/mcp", "alice", session, []byte(ask)); res.status != http.StatusOK || strings.Contains(res.body, `"error"`) {
			t.Errorf("%s = %+v", ask, res)
		}
	}
	other := w.open("bob")
	listen := w.request(http.MethodGet, "/mcp", "alice", session, nil)
	w.listen(listen)
	if n := w.Sleep.Wakes(); n != 0 {
		t.Fatalf("%d wakes for what needs none", n)
	}
	for _, id := range []struct{ key, session string }{{"alice", session}, {"bob", other}} {
		if res := w.do(http.MethodPost, "/mcp", id.key, id.session, call("add", `{"a":1}`)); !strings.Contains(res.body, `"structuredContent"`) {
			t.Errorf("call of %s = %+v", id.key, res)
		}
	}
	if n := w.Sleep.Wakes(); n == 0 || s.lost.Load() > 0 {
		t.Errorf("%d wakes, %d calls lost", n, s.lost.Load())
	}
}

// TestUse sees what keeps an agent awake.
func TestUse(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began, goOn := make(chan struct{}), make(chan struct{})
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		if m.Method == "tools/call" {
			close(began)
			<-goOn
		}
		edgetest.Answer(rw, m, map[string]any{})
	}
	ask := func(idle time.Duration) bool { return w.Sleep.Ask(t, app, "ver_1", idle) }
	session := w.open("alice")
	if ask(time.Hour) {
		t.Error("the gateway has just come, and agreed to an hour without calls")
	}
	done := make(chan answer, 1)
	go func() { done <- w.do(http.MethodPost, "/mcp", "alice", session, call("add", "{}")) }()
	<-began
	if ask(0) {
		t.Error("the gateway agreed while a call is under way")
	}
	close(goOn)
	<-done
	if ask(time.Minute) {
		t.Error("the gateway agreed to a minute without calls, after one")
	}
	w.do(http.MethodPost, "/mcp", "alice", session, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`))
	edgetest.Until(t, "it agrees", func() bool { return ask(0) })

	// Who subscribes listens, and whom it listens to is awake.
	w.do(http.MethodPost, "/mcp", "alice", session, []byte(`{"jsonrpc":"2.0","id":2,"method":"logging/setLevel","params":{"level":"info"}}`))
	listening := w.listen(w.request(http.MethodGet, "/mcp", "alice", session, nil))
	edgetest.Until(t, "the agent is listened to", func() bool { return w.agent.Listeners() > 0 })
	if ask(0) {
		t.Error("the gateway agreed while a session listens to the agent")
	}
	listening.cut()
	edgetest.Until(t, "it agrees again", func() bool { return ask(0) })
}

func TestWaitersAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.WakeWaiters = 3 })
	s := newSleeper(w)
	sessions := make([]string, 10)
	for i := range sessions {
		sessions[i] = w.open("alice")
	}
	edgetest.Until(t, "it sleeps", func() bool { return s.sleep(time.Millisecond) })
	goOn := make(chan struct{})
	w.Sleep.OnWake(func(context.Context, string) (string, error) {
		<-goOn
		s.mu.Lock()
		defer s.mu.Unlock()
		s.up = true
		w.live(true)
		return "", nil
	})
	answers := make(chan answer, len(sessions))
	for _, session := range sessions {
		go func() { answers <- w.do(http.MethodPost, "/mcp", "alice", session, call("add", "{}")) }()
	}
	for range len(sessions) - 3 {
		if res := <-answers; res.status != http.StatusServiceUnavailable || res.header.Get("Retry-After") == "" || !strings.Contains(res.body, "3 calls wait for it") {
			t.Errorf("one too many = %+v", res)
		}
	}
	close(goOn)
	for range 3 {
		if res := <-answers; res.status != http.StatusOK {
			t.Errorf("one that waited = %+v", res)
		}
	}
	if n := w.Sleep.Wakes(); n != 1 {
		t.Errorf("%d wakes for three who waited", n)
	}
}

func TestAnAgentThatDoesNotWake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newSleeper(w)
	session := w.open("alice")
	edgetest.Until(t, "it sleeps", func() bool { return s.sleep(time.Millisecond) })
	w.Sleep.OnWake(func(context.Context, string) (string, error) { return "main.py has a mistake", nil })
	res := w.do(http.MethodPost, "/mcp", "alice", session, call("add", "{}"))
	if res.status != http.StatusServiceUnavailable || res.header.Get("Retry-After") == "" || !strings.Contains(res.body, "main.py has a mistake") {
		t.Errorf("call = %+v, want the reason", res)
	}
}

// TestNoCallIsLostToSleep has callers come at every moment of falling asleep and waking.
func TestNoCallIsLostToSleep(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newSleeper(w)
	end := time.Now().Add(3 * time.Second)
	var callers sync.WaitGroup
	var calls atomic.Int64
	for i := range 6 {
		session := w.open("alice")
		callers.Go(func() {
			for n := 0; time.Now().Before(end); n++ {
				time.Sleep(time.Duration((n*7+i*3)%23) * time.Millisecond)
				res := w.do(http.MethodPost, "/mcp", "alice", session, call("add", fmt.Sprintf(`{"a":%d}`, n)))
				if res.status != http.StatusOK || !strings.Contains(res.body, fmt.Sprintf(`{"a":%d}`, n)) {
					t.Errorf("call = %+v", res)
				}
				calls.Add(1)
			}
		})
	}
	for time.Now().Before(end) {
		s.sleep(time.Millisecond)
	}
	callers.Wait()
	if s.lost.Load() > 0 || s.slept.Load() < 5 {
		t.Errorf("%d of %d calls came to an agent that had ended; it slept %d times", s.lost.Load(), calls.Load(), s.slept.Load())
	}
	t.Logf("%d calls, %d sleeps, %d wakes asked for", calls.Load(), s.slept.Load(), w.Sleep.Wakes())
}

// TestModernCallsWake is for agents and clients of the stateless era.
func TestModernCallsWake(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := newSleeper(w)
	edgetest.Until(t, "it sleeps", func() bool { return s.sleep(time.Millisecond) })
	meta := map[string]any{"io.modelcontextprotocol/protocolVersion": "2026-07-28", "io.modelcontextprotocol/clientCapabilities": map[string]any{}}
	post := func(method, name string, params map[string]any) answer {
		params["_meta"] = meta
		body, err := json.Marshal(map[string]any{"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
		if err != nil {
			t.Fatal(err)
		}
		req := w.request(http.MethodPost, "/mcp", "alice", "", body)
		req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
		req.Header.Set("Mcp-Method", method)
		if name != "" {
			req.Header.Set("Mcp-Name", name)
		}
		return w.send(req)
	}
	for _, method := range []string{"server/discover", "tools/list"} {
		if res := post(method, "", map[string]any{}); res.status != http.StatusOK {
			t.Errorf("%s = %+v", method, res)
		}
	}
	if n := w.Sleep.Wakes(); n != 0 {
		t.Fatalf("%d wakes for what needs none", n)
	}
	if res := post("tools/call", "add", map[string]any{"name": "add", "arguments": map[string]any{}}); res.status != http.StatusOK || !strings.Contains(res.body, "structuredContent") {
		t.Errorf("call = %+v", res)
	}
	if s.lost.Load() > 0 || w.Sleep.Wakes() == 0 {
		t.Errorf("%d wakes, %d lost", w.Sleep.Wakes(), s.lost.Load())
	}
}
