package bell_test

import (
	"context"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
)

func TestWorkAndRestExcludeEachOther(t *testing.T) {
	t.Parallel()
	b := bell.New(time.Now)
	count := b.Count("app_1")
	release := b.Hold(t.Context(), "app_1")
	if _, ok := b.Rest("app_1", b.Count("app_1")); ok {
		t.Error("Rest() while work is given")
	}
	release()
	if _, ok := b.Rest("app_1", count); ok {
		t.Error("Rest() after work has come")
	}
	done, ok := b.Rest("app_1", b.Count("app_1"))
	if !ok {
		t.Fatal("Rest() = false, and nobody gives work")
	}
	if _, ok := b.Rest("app_1", b.Count("app_1")); ok {
		t.Error("two roles rest at once")
	}
	b.Hold(t.Context(), "app_2")() // another app is not held up
	came := make(chan struct{})
	go func() {
		defer close(came)
		b.Hold(t.Context(), "app_1")()
	}()
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	b.Hold(gone, "app_1")() // who goes away does not wait
	select {
	case <-came:
		t.Error("work came to an agent that is falling asleep")
	case <-time.After(20 * time.Millisecond):
	}
	done()
	<-came
	if _, ok := b.Rest("app_1", b.Count("app_1")); !ok {
		t.Error("Rest() = false after all is over")
	}
}

func TestRings(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	b := bell.New(func() time.Time { return now })
	server, worker := bell.Key{VersionID: "v", Role: agentenv.RoleServer}, bell.Key{VersionID: "v", Role: agentenv.RoleWorker}
	b.Needed("v", agentenv.RoleServer)
	b.Needed("v", agentenv.RoleServer)
	b.Stirred("app_1")
	b.Busy(worker)
	<-b.Rung()
	if needed, stirred := b.Take(); len(needed) != 1 || needed[0] != server || len(stirred) != 1 || stirred[0] != "app_1" {
		t.Errorf("Take() = %v, %v", needed, stirred)
	}
	if needed, stirred := b.Take(); len(needed)+len(stirred) != 0 {
		t.Errorf("Take() again = %v, %v", needed, stirred)
	}
	if !b.Last(server).Equal(now) || !b.Last(worker).Equal(now) {
		t.Error("Last() does not say when")
	}
	b.Forget(func(k bell.Key) bool { return k == worker }, func(string) bool { return false })
	if !b.Last(server).IsZero() || b.Last(worker).IsZero() {
		t.Error("Forget() forgets the wrong one")
	}
	var none *bell.Bell
	none.Needed("v", agentenv.RoleServer)
	none.Stirred("app_1")
	none.Hold(t.Context(), "app_1")()
}
