package sessions_test

import (
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

func TestFind(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	bob := principal.Principal{Kind: principal.User, UserID: "u_bob", OrgID: "org_1"}
	nobody := principal.Principal{Kind: principal.Anonymous, OrgID: "org_1"}
	for desc, tt := range map[string]struct {
		id, target string
		caller     principal.Principal
		want       bool
	}{
		"own":            {s.ID, app, alice, true},
		"another user's": {s.ID, app, bob, false},
		"without a name": {s.ID, app, nobody, false},
		"on another app": {s.ID, "app_b", alice, false},
		"guessed":        {strings.Repeat("0", len(s.ID)), app, alice, false},
		"a prefix of it": {s.ID[:8], app, alice, false},
		"empty":          {"", app, alice, false},
	} {
		if _, ok := w.store.Find(tt.id, tt.target, tt.caller); ok != tt.want {
			t.Errorf("%s: found = %v, want %v", desc, ok, tt.want)
		}
	}
	w.store.End(s)
	if _, ok := w.store.Find(s.ID, app, alice); ok {
		t.Error("an ended session is found")
	}
	edgetest.Until(t, "the agent was told", func() bool { open, _ := w.agent.Sessions(); return open == 0 })
	if s.Push([]byte("{}")) || s.Tell([]byte("{}")) {
		t.Error("an ended session takes messages")
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sessions.Limits{Total: 6, PerCaller: 2, Idle: time.Minute, Wait: time.Second})
	open := func(user string) error {
		_, err := w.store.Open(app, principal.Principal{UserID: user}, "")
		return err
	}
	for _, step := range []struct {
		user string
		ok   bool
	}{
		{"u_a", true},
		{"u_a", true},
		{"u_a", false},
		{"", true},
		{"", true},
		{"", true},
		{"", false}, // nameless callers share half
		{"u_b", true},
		{"u_b", false},
		{"u_c", false}, // none is left
	} {
		err := open(step.user)
		if step.ok && err != nil || !step.ok && !fault.Exhausted.Is(err) {
			t.Errorf("Open by %q = %v, want ok %v", step.user, err, step.ok)
		}
	}
	first := w.store.Of(app, "u_a")[1]
	w.store.End(first)
	edgetest.Until(t, "there is room again", func() bool { return open("u_c") == nil })
}

func TestIdle(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	quiet, listening, working := w.open(t), w.open(t), w.open(t)
	defer listening.Attach()()
	done, _ := working.Work()
	w.store.Reap(time.Now())
	if len(w.store.Of(app, alice.UserID)) != 3 {
		t.Error("a session was reaped before its time")
	}
	late := time.Now().Add(2 * time.Minute)
	w.store.Reap(late)
	<-quiet.Done()
	if listening.Context().Err() != nil || working.Context().Err() != nil {
		t.Error("a session in use was reaped")
	}
	edgetest.Until(t, "the agent was told", func() bool { open, _ := w.agent.Sessions(); return open == 2 })
	done()
	w.store.Reap(late)
	<-working.Done()
}

func TestSlowClientIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s, other := w.open(t), w.open(t)
	for i := range sessions.Gossip {
		if !s.Tell([]byte("{}")) {
			t.Fatalf("log line %d was dropped", i)
		}
	}
	if s.Tell([]byte("{}")) || s.Context().Err() != nil {
		t.Error("log lines fill the outbox or cut the session")
	}
	for i := range sessions.Outbox - sessions.Gossip {
		if !s.Push([]byte("{}")) {
			t.Fatalf("message %d found no room", i)
		}
	}
	if s.Push([]byte("{}")) || s.Context().Err() == nil {
		t.Error("a client that lets messages pile up is not cut")
	}
	edgetest.Until(t, "its session is forgotten", func() bool { _, ok := w.store.ByID(s.ID); return !ok })
	edgetest.Until(t, "its agent was told", func() bool { open, _ := w.agent.Sessions(); return open == 1 })
	if other.Context().Err() != nil {
		t.Error("another session was cut, too")
	}
}

func TestWorkIsBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, usual())
	s := w.open(t)
	var last func()
	for range sessions.MaxWork {
		done, ok := s.Work()
		if !ok {
			t.Fatal("a call within the bound is refused")
		}
		last = done
	}
	if _, ok := s.Work(); ok {
		t.Error("a call over the bound is taken")
	}
	last()
	if _, ok := s.Work(); !ok {
		t.Error("a place that has become free is not given away")
	}
}

// TestNothingIsLeftBehind is alone in the process, for it counts goroutines.
func TestNothingIsLeftBehind(t *testing.T) { //nolint:paralleltest // see above
	limits := usual()
	limits.PerCaller, limits.Total = 5000, 5000
	w := newWorld(t, limits)
	once := func() {
		s := w.open(t)
		if _, err := call(t.Context(), s, "x"); err != nil {
			t.Error(err)
		}
		w.store.End(s)
	}
	once()
	before := runtime.NumGoroutine()
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 250 {
				once()
			}
		})
	}
	for range 3000 { // and some that nobody ever used
		s, err := w.store.Open(app, alice, "")
		if err != nil {
			t.Fatal(err)
		}
		s.Offer("qst_1", "ping", nil)
		w.store.End(s)
	}
	all.Wait()
	edgetest.Until(t, "all sessions are gone", func() bool {
		open, _ := w.agent.Sessions()
		return open == 0 && len(w.store.Of(app, alice.UserID)) == 0
	})
	edgetest.Until(t, "goroutines are as before", func() bool {
		w.store.CloseIdle()
		return runtime.NumGoroutine() <= before+20
	})
}
