// Package routes is the gateway's table of apps: where each answers, who may call it,
// and where its live version runs. The registry tells the one half, the scheduler the
// other; while they are away, the last known table holds.
package routes

import (
	"context"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

const reconnect = 500 * time.Millisecond

// Route is one app or configuration as a caller meets it. It never changes; a newer
// one takes its place.
type Route struct {
	Address *registryv1.Address
	// Endpoint is the live version; nil before the first deploy.
	Endpoint *Endpoint
}

// Endpoint is a live version with what is derived from it once.
type Endpoint struct {
	*schedulerv1.Endpoint
	// Native is what a tool of this name is to the gateway.
	Native map[string]Native
	// WorkflowsList is the rendered answer of workflows-list.
	WorkflowsList []byte
	// Wrapped says which tools give structured content, and in which shape.
	Wrapped map[string]Shape
	// Tasks is what tools say of how they are served as tasks.
	Tasks map[string]TaskPolicy
	// Catalogue is what was recorded, in the dress of the stateless era.
	Catalogue *modern.Catalogue
}

// MCPURL is where its server takes messages.
func (e *Endpoint) MCPURL() string {
	if url := e.GetMcpUrl(); url != "" {
		return url
	}
	return e.GetServerUrl() + "/mcp"
}

// Up says whether there is a live version and its server can be called.
func (e *Endpoint) Up() bool { return e != nil && e.GetReady() }

// Table finds routes. Reading takes no lock.
type Table struct {
	log  *slog.Logger
	view atomic.Pointer[view]

	mu        sync.Mutex
	addresses map[string]*registryv1.Address
	endpoints map[string]*Endpoint
	changed   chan struct{}
	complete  [2]bool
}

type view struct {
	byTarget map[string]*Route
	byHost   map[string]*Route
	byPort   map[int]*Route
}

// New returns an empty table.
func New(log *slog.Logger) *Table {
	t := &Table{
		log: log, addresses: map[string]*registryv1.Address{}, endpoints: map[string]*Endpoint{}, changed: make(chan struct{}),
	}
	t.view.Store(&view{})
	return t
}

// Target finds a route by the id of its app or configuration; nil when there is none.
func (t *Table) Target(id string) *Route { return t.view.Load().byTarget[id] }

// Host finds a route by host name, lower case and without port.
func (t *Table) Host(name string) *Route { return t.view.Load().byHost[name] }

// Port finds a route by its own port.
func (t *Table) Port(port int) *Route { return t.view.Load().byPort[port] }

// Ports lists all ports in use.
func (t *Table) Ports() map[int]*Route { return t.view.Load().byPort }

// Changed returns a channel that closes at the next change.
func (t *Table) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.changed
}

// Complete says whether both halves of the table have been read once.
func (t *Table) Complete() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.complete[0] && t.complete[1]
}

// Await waits until the target's server can be called, as long as ctx allows.
func (t *Table) Await(ctx context.Context, target string) (*Route, error) {
	for {
		changed := t.Changed()
		route := t.Target(target)
		if route == nil {
			return nil, fault.NotFound.Errorf("this app is gone")
		}
		if route.Endpoint == nil {
			return nil, fault.Unavailable.Errorf("this app has no live version yet: deploy it with `mcp-agent deploy %s`", route.Address.GetAppName())
		}
		if route.Endpoint.GetReady() {
			return route, nil
		}
		select {
		case <-ctx.Done():
			return nil, fault.Unavailable.Errorf("the agent is starting and not ready yet; try again")
		case <-changed:
		}
	}
}

// Run follows both sources until ctx ends.
func (t *Table) Run(ctx context.Context, registry registryv1.AppsServiceClient, scheduler schedulerv1.DeploymentsServiceClient) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error {
		t.follow(ctx, "registry", func() error { return t.followRegistry(ctx, registry) })
		return nil
	})
	group.Go(func() error {
		t.follow(ctx, "scheduler", func() error { return t.followScheduler(ctx, scheduler) })
		return nil
	})
	return group.Wait()
}

func (t *Table) follow(ctx context.Context, room string, once func() error) {
	for ctx.Err() == nil {
		if err := once(); err != nil && ctx.Err() == nil {
			t.log.InfoContext(ctx, "routes stay as they are until the room is back", "room", room, "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(reconnect):
		}
	}
}

func (t *Table) followRegistry(ctx context.Context, registry registryv1.AppsServiceClient) error {
	stream, err := registry.WatchAddresses(ctx, &registryv1.WatchAddressesRequest{})
	if err != nil {
		return err
	}
	fresh := map[string]*registryv1.Address{}
	for first := true; ; {
		step, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, address := range step.GetUpserts() {
			fresh[address.GetTargetId()] = address
		}
		for _, target := range step.GetDeletedTargetIds() {
			delete(fresh, target)
		}
		if first = first && !step.GetComplete(); !first {
			t.update(0, func() { t.addresses = maps.Clone(fresh) })
		}
	}
}

func (t *Table) followScheduler(ctx context.Context, scheduler schedulerv1.DeploymentsServiceClient) error {
	stream, err := scheduler.WatchEndpoints(ctx, &schedulerv1.WatchEndpointsRequest{})
	if err != nil {
		return err
	}
	fresh := map[string]*Endpoint{}
	for first := true; ; {
		step, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, endpoint := range step.GetUpserts() {
			fresh[endpoint.GetTargetId()] = derive(fresh[endpoint.GetTargetId()], endpoint)
		}
		for _, target := range step.GetDeletedTargetIds() {
			delete(fresh, target)
		}
		if first = first && !step.GetComplete(); !first {
			t.update(1, func() { t.endpoints = maps.Clone(fresh) })
		}
	}
}

// update changes one half, makes the new view and wakes those who wait.
func (t *Table) update(half int, change func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	change()
	t.complete[half] = true
	next := &view{byTarget: map[string]*Route{}, byHost: map[string]*Route{}, byPort: map[int]*Route{}}
	for target, address := range t.addresses {
		route := &Route{Address: address, Endpoint: t.endpoints[target]}
		next.byTarget[target] = route
		if address.GetHost() != "" {
			next.byHost[address.GetHost()] = route
		}
		if address.GetPort() != 0 {
			next.byPort[int(address.GetPort())] = route
		}
	}
	t.view.Store(next)
	close(t.changed)
	t.changed = make(chan struct{})
}
