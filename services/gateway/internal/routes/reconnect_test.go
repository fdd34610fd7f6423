package routes_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// TestRoomsAway sees that the last known table holds while a room is away, and that
// what changed meanwhile is learnt when it is back.
func TestRoomsAway(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Apps.Set(address("app_a"), address("app_b"))
	w.Deployments.Set(endpoint("app_a", "v1"), endpoint("app_b", "v1"))
	live := func(target, version string) func() bool {
		return func() bool {
			route := w.table.Target(target)
			return route != nil && route.Endpoint != nil && route.Endpoint.GetVersionId() == version
		}
	}
	w.until(t, "a is live", live("app_a", "v1"))
	w.until(t, "b is live", live("app_b", "v1"))

	w.Apps.Away(true)
	w.Deployments.Away(true)
	asked := w.Apps.Opens() + w.Deployments.Opens()
	w.Apps.Delete("app_b")
	w.Apps.Set(address("app_c"))
	w.Deployments.Set(endpoint("app_a", "v2"), endpoint("app_c", "v1"))
	w.until(t, "both have been asked again", func() bool { return w.Apps.Opens()+w.Deployments.Opens() >= asked+2 })
	if !live("app_a", "v1")() || !live("app_b", "v1")() || !w.table.Complete() {
		t.Error("the table was lost with the rooms")
	}

	w.Apps.Away(false)
	w.Deployments.Away(false)
	w.until(t, "a's new version is known", live("app_a", "v2"))
	w.until(t, "c is known", live("app_c", "v1"))
	w.until(t, "b is gone", func() bool { return w.table.Target("app_b") == nil })
}

// TestManyReaders is for the race detector.
func TestManyReaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Apps.Set(address("app_a"))
	w.Deployments.Set(endpoint("app_a", "v0"))
	w.until(t, "the app is live", func() bool { return w.table.Target("app_a") != nil && w.table.Target("app_a").Endpoint != nil })
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if route, err := w.table.Await(t.Context(), "app_a", routes.Pick{}); err != nil || route.Endpoint.GetServerUrl() == "" {
					t.Errorf("Await = %v, %v", route, err)
				}
				<-w.table.Changed()
			}
		})
	}
	for i := range 100 {
		w.Deployments.Set(endpoint("app_a", fmt.Sprintf("v%d", i)))
	}
	w.until(t, "the last version is live", func() bool { return w.table.Target("app_a").Endpoint.GetVersionId() == "v99" })
	close(stop)
	w.Deployments.Set(endpoint("app_a", "end"))
	readers.Wait()
}
