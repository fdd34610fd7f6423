package sessions_test

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// helloed checks that an agent has heard the client's own initialize, and initialized.
func helloed(t *testing.T, agent *edgetest.Agent) {
	t.Helper()
	seen := agent.Seen()
	if len(seen) < 2 || string(seen[0].Body) != hello {
		t.Fatalf("the agent heard %q first, want the client's initialize", seen)
	}
	m, err := jsonrpc.Parse(seen[1].Body)
	if err != nil || m.Method != "notifications/initialized" || seen[1].Header.Get("Mcp-Protocol-Version") != "2025-06-18" {
		t.Errorf("then it heard %s (%v), want initialized in the agreed version", seen[1].Body, seen[1].Header)
	}
}

// TestReplaced sees that a client does not notice that its agent was replaced.
func TestReplaced(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	if got, err := call(t.Context(), s, "before"); err != nil || got != "before" {
		t.Fatalf("call = %q, %v", got, err)
	}
	next := w.replace(t)
	w.agent.Stop()
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() {
			if got, err := call(t.Context(), s, "after"); err != nil || got != "after" {
				t.Errorf("call after the agent was replaced = %q, %v", got, err)
			}
		})
	}
	calls.Wait()
	helloed(t, next)
	if _, ever := next.Sessions(); ever != 1 {
		t.Errorf("20 calls began the conversation %d times, want once", ever)
	}
}

// TestForgotten sees the same of an agent that was restarted at its address.
func TestForgotten(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	w.agent.Forget()
	if got, err := call(t.Context(), s, "again"); err != nil || got != "again" {
		t.Errorf("call after the agent forgot = %q, %v", got, err)
	}
	if _, ever := w.agent.Sessions(); ever != 2 {
		t.Errorf("the conversation began %d times, want twice", ever)
	}
}

// TestCrashed sees that a call waits for an agent that has gone and comes back before
// anybody told the gateway.
func TestCrashed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	w.agent.Stop()
	w.store.CloseIdle() // a call on a connection that breaks may have been started
	got := make(chan error, 1)
	go func() {
		_, err := call(t.Context(), s, "later")
		got <- err
	}()
	w.agent.Start(t)
	if err := <-got; err != nil {
		t.Errorf("call across a crash = %v", err)
	}
}

func TestDown(t *testing.T) {
	t.Parallel()
	limits := usual()
	limits.Wait = 50 * time.Millisecond
	tests := map[string]struct {
		down func(w *world)
		want fault.Kind
	}{
		"known to be down":  {func(w *world) { w.live(w.agent, false) }, fault.Unavailable},
		"gone unannounced":  {func(w *world) { w.agent.Stop() }, fault.Unavailable},
		"no version at all": {func(w *world) { w.Deployments.Delete(app) }, fault.Unavailable},
		"app deleted":       {func(w *world) { w.Apps.Delete(app) }, fault.NotFound},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, limits)
			s := w.open(t)
			tt.down(w)
			edgetest.Until(t, "calls fail", func() bool {
				_, err := call(t.Context(), s, "x")
				return tt.want.Is(err)
			})
			_, err := s.Upstream.Begin(t.Context(), []byte(hello))
			if !tt.want.Is(err) {
				t.Errorf("initialize = %v, want kind %v", err, tt.want)
			}
		})
	}
}

// TestDeaf sees that callers of an agent that takes connections and never answers do
// not wait for each other.
func TestDeaf(t *testing.T) {
	t.Parallel()
	limits := usual()
	limits.Wait = 100 * time.Millisecond
	w := newWorld(t, limits)
	s := w.open(t)
	deaf := edgetest.NewAgent(t)
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	deaf.Hello = func(http.ResponseWriter, *http.Request, jsonrpc.Message) { <-release }
	w.live(deaf, true)
	edgetest.Until(t, "the deaf agent serves", func() bool { return w.table.Target(app).Endpoint.GetServerUrl() == deaf.URL() })
	began := time.Now()
	var calls sync.WaitGroup
	for range 50 {
		calls.Go(func() {
			if _, err := call(t.Context(), s, "x"); !fault.Unavailable.Is(err) {
				t.Errorf("call of a deaf agent = %v, want unavailable", err)
			}
		})
	}
	calls.Wait()
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("50 callers of a deaf agent waited %v", took)
	}
}

func TestCallerHangsUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	called := make(chan struct{})
	w.agent.Call = func(_ http.ResponseWriter, r *http.Request, _ jsonrpc.Message) {
		close(called)
		<-r.Context().Done()
	}
	ctx, hangUp := context.WithCancel(t.Context())
	go func() { <-called; hangUp() }()
	if _, err := call(ctx, s, "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("call of a caller who hung up = %v", err)
	}
}

// TestBroken sees that a call whose connection broke is not sent again: it may have
// been started.
func TestBroken(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	calls := make(chan string, 10)
	w.agent.Call = func(http.ResponseWriter, *http.Request, jsonrpc.Message) {
		calls <- "called"
		panic(http.ErrAbortHandler)
	}
	if _, err := call(t.Context(), s, "x"); !fault.Unavailable.Is(err) {
		t.Errorf("call that broke = %v, want unavailable", err)
	}
	if len(calls) != 1 {
		t.Errorf("the agent was called %d times, want once", len(calls))
	}
}
