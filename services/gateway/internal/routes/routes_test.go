package routes_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

type world struct {
	*edgetest.Rooms
	table *routes.Table
}

func newWorld(t *testing.T) world {
	t.Helper()
	w := world{edgetest.NewRooms(t), routes.New(slog.New(slog.DiscardHandler))}
	edgetest.Background(t, func(ctx context.Context) error {
		return w.table.Run(ctx, registryv1.NewAppsServiceClient(w.Conn), schedulerv1.NewDeploymentsServiceClient(w.Conn))
	})
	return w
}

func (w world) until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	edgetest.Until(t, what, holds)
}

func address(target string) *registryv1.Address {
	return &registryv1.Address{TargetId: target, AppName: target, Host: target + ".apps.test"}
}

func endpoint(target, version string) *schedulerv1.Endpoint {
	return &schedulerv1.Endpoint{TargetId: target, VersionId: version, ServerUrl: "http://127.0.0.1:1/" + version, Ready: true}
}

func TestAddressFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.until(t, "both halves are read", w.table.Complete)
	w.Apps.Set(address("app_a"))
	w.until(t, "the address is there", func() bool { return w.table.Target("app_a") != nil })
	if route := w.table.Target("app_a"); route.Endpoint != nil {
		t.Errorf("an app without a version has %v", route.Endpoint)
	}
	if _, err := w.table.Await(t.Context(), "app_a", routes.Pick{}); !fault.Unavailable.Is(err) {
		t.Errorf("Await of an app without a version = %v, want unavailable", err)
	}
	w.Deployments.Set(endpoint("app_a", "v1"))
	w.until(t, "the endpoint has joined", func() bool { return w.table.Target("app_a").Endpoint != nil })
	if got, err := w.table.Await(t.Context(), "app_a", routes.Pick{}); err != nil || got != w.table.Host("app_a.apps.test") {
		t.Errorf("Await = %v, %v", got, err)
	}
}

func TestEndpointFirst(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Deployments.Set(endpoint("app_a", "v1"))
	w.until(t, "both halves are read", w.table.Complete)
	if w.table.Target("app_a") != nil {
		t.Error("an endpoint without an address has a route")
	}
	w.Apps.Set(address("app_a"))
	w.until(t, "the two have joined", func() bool {
		route := w.table.Target("app_a")
		return route != nil && route.Endpoint != nil && route.Endpoint.GetVersionId() == "v1"
	})
}

func TestHostAndPort(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	moving := address("app_a")
	w.Apps.Set(moving, &registryv1.Address{TargetId: "app_b", Port: 9001})
	w.until(t, "both are there", func() bool { return w.table.Host("app_a.apps.test") != nil && w.table.Port(9001) != nil })
	if w.table.Host("") != nil || w.table.Port(0) != nil {
		t.Error("an empty host or port has a route")
	}
	w.Apps.Set(&registryv1.Address{TargetId: "app_a", Port: 9002})
	w.until(t, "the app has moved", func() bool { return w.table.Port(9002) != nil })
	if w.table.Host("app_a.apps.test") != nil || len(w.table.Ports()) != 2 {
		t.Errorf("after the move: host %v, ports %v", w.table.Host("app_a.apps.test"), w.table.Ports())
	}
}

func TestRemovalAndChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Apps.Set(address("app_a"), address("app_b"))
	w.Deployments.Set(endpoint("app_a", "v1"), endpoint("app_b", "v1"))
	w.until(t, "both are live", func() bool {
		return w.table.Target("app_a") != nil && w.table.Target("app_a").Endpoint != nil && w.table.Target("app_b").Endpoint != nil
	})
	before := w.table.Target("app_a")
	w.Deployments.Set(endpoint("app_a", "v2"))
	w.until(t, "the new version serves", func() bool { return w.table.Target("app_a").Endpoint.GetVersionId() == "v2" })
	if before.Endpoint.GetVersionId() != "v1" {
		t.Error("a route that somebody holds has changed")
	}
	w.Deployments.Delete("app_b")
	w.until(t, "the version is gone", func() bool { return w.table.Target("app_b").Endpoint == nil })
	w.Apps.Delete("app_a")
	w.until(t, "the app is gone", func() bool { return w.table.Target("app_a") == nil })
	if _, err := w.table.Await(t.Context(), "app_a", routes.Pick{}); !fault.NotFound.Is(err) {
		t.Errorf("Await of a gone app = %v, want not found", err)
	}
}

func TestAwait(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	starting := endpoint("app_a", "v1")
	starting.Ready = false
	w.Apps.Set(address("app_a"))
	w.Deployments.Set(starting)
	w.until(t, "the app is starting", func() bool { return w.table.Target("app_a") != nil && w.table.Target("app_a").Endpoint != nil })
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := w.table.Await(short, "app_a", routes.Pick{}); !fault.Unavailable.Is(err) {
		t.Errorf("Await of a starting app = %v, want unavailable", err)
	}
	found := make(chan error, 20)
	for range cap(found) {
		go func() {
			_, err := w.table.Await(t.Context(), "app_a", routes.Pick{})
			found <- err
		}()
	}
	w.Deployments.Set(endpoint("app_a", "v1"))
	for range cap(found) {
		if err := <-found; err != nil {
			t.Errorf("Await of an app that came up = %v", err)
		}
	}
}
