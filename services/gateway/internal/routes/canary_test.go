package routes_test

import (
	"reflect"
	"strconv"
	"testing"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// tried is an endpoint with a version beside it.
func tried(weight int32) *schedulerv1.Endpoint {
	e, c := endpoint("app_a", "v1"), endpoint("app_a", "v2")
	e.ServerUrl, c.ServerUrl, c.ToolsJson = "http://127.0.0.1:1001", "http://127.0.0.1:1002", listed
	e.Canary = &schedulerv1.Canary{RolloutId: "rol_1", Endpoint: c, Weight: weight}
	return e
}

// A version is derived once: it is kept while the weight changes, and when it becomes live.
func TestACanaryIsDerivedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Apps.Set(address("app_a"))
	w.Deployments.Set(tried(10))
	pick := routes.Pick{Rollout: "rol_1"}
	w.until(t, "it is tried", func() bool {
		return w.table.Target("app_a").For(pick) != nil && w.table.Target("app_a").For(pick).Tried
	})
	live, canary := w.table.Target("app_a"), w.table.Target("app_a").For(pick)
	if canary.Endpoint.GetVersionId() != "v2" || canary.Rollout != "rol_1" || live.Rollout != "rol_1" || live.Tried {
		t.Errorf("live %+v, canary %+v", live, canary)
	}
	for server, want := range map[string]string{"127.0.0.1:1001": "v1", "127.0.0.1:1002": "v2"} {
		if got := w.table.Server(server); got == nil || got.Endpoint.GetVersionId() != want {
			t.Errorf("the server %s is of %+v, want %s", server, got, want)
		}
	}
	everybody := routes.Pick{Key: "anybody"}
	if got := live.For(routes.Pick{}); got != live {
		t.Errorf("who has no place gets %+v", got)
	}
	w.Deployments.Set(tried(1000))
	w.until(t, "the weight has grown", func() bool { return w.table.Target("app_a").For(everybody).Tried })
	if got := w.table.Target("app_a").For(everybody).Endpoint; !derivedOnce(got, canary.Endpoint) {
		t.Error("the canary is derived again when its weight changes")
	}
	promoted := endpoint("app_a", "v2")
	promoted.ServerUrl, promoted.ToolsJson = "http://127.0.0.1:1002", listed
	w.Deployments.Set(promoted)
	w.until(t, "it is promoted", func() bool { return w.table.Target("app_a").Rollout == "" })
	now := w.table.Target("app_a")
	if !derivedOnce(now.Endpoint, canary.Endpoint) || now.For(pick) != now || now.For(everybody) != now {
		t.Errorf("after the promotion %+v is live, for all", now)
	}
	if w.table.Server("127.0.0.1:1001") != nil {
		t.Error("the server of the version before is known")
	}
}

// Ten thousand are divided by weight, and who has the canary keeps it while that grows.
func TestManyAreDividedByWeight(t *testing.T) {
	t.Parallel()
	const many = 10_000
	w := newWorld(t)
	w.Apps.Set(address("app_a"))
	had := make([]bool, many)
	for _, weight := range []int{0, 1, 100, 300, 999, 1000} {
		w.Deployments.Set(tried(int32(weight))) //nolint:gosec // small
		w.until(t, "the weight is known", func() bool {
			r := w.table.Target("app_a")
			return r != nil && r.Endpoint != nil && r.Endpoint.Canary != nil && r.Endpoint.Canary.Weight() == int32(weight) //nolint:gosec // as above
		})
		live, n := w.table.Target("app_a"), 0
		for i := range had {
			has := live.For(routes.Pick{Key: strconv.Itoa(i)}).Tried
			if had[i] && !has {
				t.Fatalf("at %d thousandths %d has lost the canary", weight, i)
			}
			if had[i] = has; has {
				n++
			}
		}
		// Six standard deviations to either side: chance has no part in this test.
		mean := many * weight / 1000
		if off := float64(n - mean); off*off > 36*many*float64(weight)/1000*(1-float64(weight)/1000) {
			t.Errorf("at %d thousandths %d of %d have the canary", weight, n, many)
		}
	}
}

// derivedOnce says whether what is derived of a version is one and the same.
func derivedOnce(a, b *routes.Endpoint) bool {
	return reflect.ValueOf(a.Native).UnsafePointer() == reflect.ValueOf(b.Native).UnsafePointer()
}

// Who waits for a canary that is not up goes on at the live version when it is aborted.
func TestAwaitOfACanaryThatIsAborted(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Apps.Set(address("app_a"))
	broken := tried(1000)
	broken.Canary.Endpoint.Ready = false
	w.Deployments.Set(broken)
	pick := routes.Pick{Key: "anybody"}
	w.until(t, "it is tried", func() bool {
		return w.table.Target("app_a").For(pick) != nil && w.table.Target("app_a").For(pick).Tried
	})
	found := make(chan *routes.Route, 1)
	go func() {
		route, _ := w.table.Await(t.Context(), "app_a", pick)
		found <- route
	}()
	w.Deployments.Set(endpoint("app_a", "v1"))
	if route := <-found; route == nil || route.Endpoint.GetVersionId() != "v1" {
		t.Errorf("Await of a canary that was aborted = %+v", route)
	}
}
