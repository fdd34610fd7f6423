package sessions_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// twin is the store of another replica, until stop.
func (w *world) twin(t *testing.T, b *bus.Bus) (st *sessions.Store, stop func()) {
	t.Helper()
	return w.twinOf(t, b, usual())
}

func (w *world) twinOf(t *testing.T, b *bus.Bus, limits sessions.Limits) (st *sessions.Store, stop func()) {
	t.Helper()
	st = sessions.NewStore(w.table, sessions.NewClient(plain), limits)
	st.Records = sessions.NewRecords(b.JetStream(), limits.Idle)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- st.Run(ctx) }()
	edgetest.Background(t, st.Listen)
	stop = func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	}
	t.Cleanup(stop)
	return st, stop
}

// A replica that does not know yet that a session has moved takes a wish: the version that
// the session is with hears of it, too.
func TestAWishOfASessionThatHasJustMoved(t *testing.T) {
	t.Parallel()
	w, ahead, b := newWorld(t, usual()), newWorld(t, usual()), bustest.New(t)
	ahead.live(w.agent, true)
	edgetest.Until(t, "both know the agent", func() bool { return ahead.table.Target(app).Endpoint.GetServerUrl() == w.agent.URL() })
	one, _ := w.twin(t, b)
	other, _ := ahead.twin(t, b)
	first := w.kept(t, one)
	second := bringBack(t, other, first.ID)
	edgetest.Until(t, "each knows of the other", first.Elsewhere)
	next := ahead.replace(t)
	if _, err := call(t.Context(), second, "x"); err != nil {
		t.Fatal(err)
	}
	m := jsonrpc.Message{Version: "2.0", ID: []byte("1"), Method: "resources/subscribe", Params: []byte(`{"uri":"file:///a"}`)}
	r := first.UnderWay(m.ID, func() {})
	res, err := first.Upstream.Send(t.Context(), jsonrpc.Encode(m), r.Sent)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	first.Caught(t.Context(), r, m)
	for agent, want := range map[*edgetest.Agent]int{w.agent: 1, next: 1} {
		told := 0
		for _, seen := range agent.Seen() {
			if strings.Contains(string(seen.Body), "file:///a") {
				told++
			}
		}
		if told != want {
			t.Errorf("an agent is told %d times, want %d", told, want)
		}
	}
}

// kept begins a session that has a record.
func (w *world) kept(t *testing.T, st *sessions.Store) *sessions.Session {
	t.Helper()
	w.store = st
	s := w.open(t)
	st.Keep(t.Context(), s)
	return s
}

// recover brings a session back at another replica.
func bringBack(t *testing.T, st *sessions.Store, id string) *sessions.Session {
	t.Helper()
	s, err := st.Recover(t.Context(), id, app, alice)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := call(t.Context(), s, "x"); err != nil || got != "x" {
		t.Fatalf("the session that came back says %q, %v", got, err)
	}
	return s
}

func TestReplicasShareOneConversationWithTheAgent(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t, usual()), bustest.New(t)
	one, _ := w.twin(t, b)
	other, _ := w.twin(t, b)
	first := w.kept(t, one)
	second := bringBack(t, other, first.ID)
	if open, ever := w.agent.Sessions(); open != 1 || ever != 1 {
		t.Errorf("the agent has %d sessions and has had %d", open, ever)
	}
	w.agent.Forget()
	for range 3 {
		for _, s := range []*sessions.Session{second, first} {
			if _, err := call(t.Context(), s, "x"); err != nil {
				t.Error(err)
			}
		}
	}
	if open, ever := w.agent.Sessions(); open != 1 || ever != 2 {
		t.Errorf("after a restart the agent has %d sessions and has had %d", open, ever)
	}
}

func TestOfTwoConversationsOneIsKept(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t, usual()), bustest.New(t)
	one, _ := w.twin(t, b)
	other, _ := w.twin(t, b)
	first := w.kept(t, one)
	second := bringBack(t, other, first.ID)
	for range 10 {
		w.agent.Forget()
		done := make(chan error, 1)
		go func() {
			_, err := call(t.Context(), second, "x")
			done <- err
		}()
		if _, err := call(t.Context(), first, "x"); err != nil {
			t.Error(err)
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		edgetest.Until(t, "one conversation is left", func() bool { open, _ := w.agent.Sessions(); return open == 1 })
	}
}

func TestASessionIsIdleWhenNoReplicaUsesIt(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t, usual()), bustest.New(t)
	one, _ := w.twin(t, b)
	other, _ := w.twin(t, b)
	first := w.kept(t, one)
	second := bringBack(t, other, first.ID)
	soon, late := time.Now().Add(usual().Idle/2), time.Now().Add(2*usual().Idle)
	other.Renew(t.Context(), soon)
	one.Reap(late)
	edgetest.Until(t, "it has left the first", func() bool { _, ok := one.ByID(first.ID); return !ok })
	if _, err := call(t.Context(), second, "x"); err != nil {
		t.Error(err)
	}
	if open, ever := w.agent.Sessions(); open != 1 || ever != 1 {
		t.Errorf("the agent was told that it is over: %d open, %d ever", open, ever)
	}
	bringBack(t, one, first.ID)
	one.Reap(late)
	other.Reap(late)
	edgetest.Until(t, "it is over", func() bool {
		_, err := one.Recover(t.Context(), first.ID, app, alice)
		open, _ := w.agent.Sessions()
		return fault.NotFound.Is(err) && open == 0
	})
}

func TestAReplicaThatEndsLeavesItsSessions(t *testing.T) {
	t.Parallel()
	w, b := newWorld(t, usual()), bustest.New(t)
	one, stop := w.twin(t, b)
	other, _ := w.twin(t, b)
	first := w.kept(t, one)
	stop()
	bringBack(t, other, first.ID)
	if open, ever := w.agent.Sessions(); open != 1 || ever != 1 {
		t.Errorf("the agent has %d sessions and has had %d", open, ever)
	}
}
