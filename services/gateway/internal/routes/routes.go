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
	"github.com/mcpagentcloud/agentcloud/pkg/packed"
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
	// Rollout is the one that is under way; empty when there is none.
	Rollout string
	// Tried says that Endpoint is not the live version but the rollout's canary.
	Tried bool

	tried *Route // to the canary; nil when there is none
}

// Endpoint is a live version with what is derived from it once.
type Endpoint struct {
	*schedulerv1.Endpoint
	// Native is what a tool of this name is to the gateway.
	Native map[string]Native
	// WorkflowsList renders the answer of workflows-list; it is kept while the agent is
	// awake.
	WorkflowsList func() []byte
	// Wrapped says which tools give structured content, and in which shape.
	Wrapped map[string]Shape
	// Tasks is what tools say of how they are served as tasks.
	Tasks map[string]TaskPolicy
	// Repeatable are the tools that may be called again when it is not known what became
	// of a call.
	Repeatable map[string]bool
	// Subscribes says whether the agent tells of changes of its resources.
	Subscribes bool
	// Headers are the arguments of tools that headers of the stateless era mirror.
	Headers map[string]modern.ParamHeaders
	// Catalogue is what was recorded, in the dress of the stateless era; it is kept while
	// the agent is awake.
	Catalogue func() *modern.Catalogue
	// Canary is the version that is tried beside it; nil when there is none.
	Canary *Canary

	packed packed.Message // what was recorded, while the agent sleeps
}

// MCPURL is where its server takes messages.
func (e *Endpoint) MCPURL() string {
	if url := e.GetMcpUrl(); url != "" {
		return url
	}
	return e.GetServerUrl() + "/mcp"
}

// Up says whether there is a live version and its server can be called as it is.
func (e *Endpoint) Up() bool { return e != nil && e.GetReady() }

// Table finds routes. Reading takes no lock.
type Table struct {
	// Waker wakes agents that sleep; nil: none does.
	Waker Waker

	log  *slog.Logger
	view atomic.Pointer[view]
	turn atomic.Uint32 // who is asked first among equals

	mu        sync.Mutex
	addresses map[string]*registryv1.Address
	endpoints map[string]*Endpoint
	changed   chan struct{}
	complete  [2]bool
}

// A Waker has agents woken.
type Waker interface {
	// Rests says whether no call goes to a version until it is woken.
	Rests(targetID, versionID string) bool
	// Hold keeps a target's agent from falling asleep until leave is called.
	Hold(ctx context.Context, targetID string) (leave func())
	// Open is how many calls are under way at a server.
	Open(host string) int
	// Wake returns when the target's server is up, or tells why it will not be.
	Wake(ctx context.Context, targetID string) error
}

type view struct {
	byServer map[string]*Route
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

// Server finds a route by HOST:PORT of the server of its live version, or of the one that
// is tried; nil for servers that run elsewhere.
func (t *Table) Server(host string) *Route { return t.view.Load().byServer[host] }

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

type asleepKey struct{}

// LetSleep marks what does without an agent that sleeps: Await does not have it woken.
func LetSleep(ctx context.Context) context.Context {
	return context.WithValue(ctx, asleepKey{}, true)
}

// Await waits until the server of the target's version that is for pick can be called, as
// long as ctx allows, and has it woken when it sleeps.
func (t *Table) Await(ctx context.Context, target string, pick Pick) (*Route, error) {
	for {
		changed := t.Changed()
		route := t.Target(target).For(pick)
		if route == nil {
			return nil, fault.NotFound.Errorf("this app is gone")
		}
		if route.Endpoint == nil {
			return nil, fault.Unavailable.Errorf("this app has no live version yet: deploy it with `mcp-agent deploy %s`", route.Address.GetAppName())
		}
		asleep := t.asleep(route.Endpoint)
		if route.Endpoint.GetReady() && !asleep {
			return route, nil
		}
		if asleep && ctx.Value(asleepKey{}) == nil {
			if err := t.Waker.Wake(ctx, target); err != nil {
				return nil, err
			}
			t.hears(ctx, target, pick)
			continue
		}
		select {
		case <-ctx.Done():
			return nil, fault.Unavailable.Errorf("the agent is starting and not ready yet; try again")
		case <-changed:
		}
	}
}

// hearsWithin is how long the news that an agent woke may be under way.
const hearsWithin = 100 * time.Millisecond

// hears waits for the news that an agent woke. Other news may come before it, even that
// it fell asleep.
func (t *Table) hears(ctx context.Context, target string, pick Pick) {
	late := time.NewTimer(hearsWithin)
	defer late.Stop()
	for {
		changed := t.Changed()
		if route := t.Target(target).For(pick); route == nil || route.Endpoint == nil || !t.asleep(route.Endpoint) {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-late.C:
			return
		case <-changed:
		}
	}
}

// Hold keeps a target's agent from falling asleep until leave is called; it wakes nobody.
func (t *Table) Hold(ctx context.Context, targetID string) (leave func()) {
	if t.Waker == nil {
		return func() {}
	}
	return t.Waker.Hold(ctx, targetID)
}

// Woken is a route as it is now, with its agent awake. One that does not sleep is not
// waited for.
func (t *Table) Woken(ctx context.Context, route *Route) (*Route, error) {
	now := t.Target(route.Address.GetTargetId()).For(route.Pick())
	if now == nil || now.Endpoint == nil || !t.asleep(now.Endpoint) {
		return route, nil
	}
	return t.Await(ctx, route.Address.GetTargetId(), route.Pick())
}

func (t *Table) asleep(e *Endpoint) bool {
	return t.Waker != nil && (e.GetAsleep() || t.Waker.Rests(e.GetTargetId(), e.GetVersionId()))
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
	next := &view{byServer: map[string]*Route{}, byTarget: map[string]*Route{}, byHost: map[string]*Route{}, byPort: map[int]*Route{}}
	for target, address := range t.addresses {
		route := &Route{Address: address, Endpoint: t.endpoints[target]}
		route.try()
		next.byTarget[target] = route
		for _, to := range []*Route{route, route.tried} {
			for _, host := range to.hosts() {
				next.byServer[host] = to
			}
		}
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
