// Package edgetest gives the gateway's tests neighbours that do as they are told: the
// rooms behind it, by their generated server interfaces, and an agent's MCP server.
package edgetest

import (
	"sync"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// watch is a table that is streamed: first whole, then each change.
type watch[E, M any] struct {
	key  func(E) string
	step func(upserts []E, deleted []string, complete bool) M

	mu    sync.Mutex
	rows  map[string]E
	away  bool
	opens int
	subs  map[chan M]chan struct{}
}

func newWatch[E, M any](key func(E) string, step func([]E, []string, bool) M) *watch[E, M] {
	return &watch[E, M]{key: key, step: step, rows: map[string]E{}, subs: map[chan M]chan struct{}{}}
}

// Set adds or changes rows.
func (w *watch[E, M]) Set(rows ...E) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, row := range rows {
		w.rows[w.key(row)] = row
	}
	w.tell(w.step(rows, nil, false))
}

// Delete removes a row.
func (w *watch[E, M]) Delete(key string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.rows, key)
	w.tell(w.step(nil, []string{key}, false))
}

func (w *watch[E, M]) tell(step M) {
	for sub := range w.subs {
		sub <- step
	}
}

// Away breaks all streams and refuses new ones, until it is called with false.
func (w *watch[E, M]) Away(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
	for sub, broken := range w.subs {
		close(broken)
		delete(w.subs, sub)
	}
}

// Opens is how often the table has been asked for.
func (w *watch[E, M]) Opens() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.opens
}

func (w *watch[E, M]) serve(stream interface {
	Send(M) error
	grpc.ServerStream
},
) error {
	w.mu.Lock()
	w.opens++
	if w.away {
		w.mu.Unlock()
		return fault.Unavailable.Errorf("the room is away")
	}
	var all []E
	for _, row := range w.rows {
		all = append(all, row)
	}
	sub, broken := make(chan M, 1000), make(chan struct{})
	w.subs[sub] = broken
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		delete(w.subs, sub)
	}()
	for step := w.step(all, nil, true); ; {
		if err := stream.Send(step); err != nil {
			return err
		}
		select {
		case <-broken:
			return fault.Unavailable.Errorf("the room goes away")
		case <-stream.Context().Done():
			return nil
		case step = <-sub:
		}
	}
}

// Apps is the registry's list of addresses.
type Apps struct {
	registryv1.UnimplementedAppsServiceServer
	*watch[*registryv1.Address, *registryv1.WatchAddressesResponse]
}

// NewApps returns an empty list.
func NewApps() *Apps {
	return &Apps{watch: newWatch((*registryv1.Address).GetTargetId, func(up []*registryv1.Address, gone []string, complete bool) *registryv1.WatchAddressesResponse {
		return &registryv1.WatchAddressesResponse{Upserts: up, DeletedTargetIds: gone, Complete: complete}
	})}
}

// WatchAddresses streams the list.
func (a *Apps) WatchAddresses(_ *registryv1.WatchAddressesRequest, stream grpc.ServerStreamingServer[registryv1.WatchAddressesResponse]) error {
	return a.serve(stream)
}

// Deployments is the scheduler's list of endpoints.
type Deployments struct {
	schedulerv1.UnimplementedDeploymentsServiceServer
	*watch[*schedulerv1.Endpoint, *schedulerv1.WatchEndpointsResponse]
	agents
}

// NewDeployments returns an empty list.
func NewDeployments() *Deployments {
	return &Deployments{watch: newWatch((*schedulerv1.Endpoint).GetTargetId, func(up []*schedulerv1.Endpoint, gone []string, complete bool) *schedulerv1.WatchEndpointsResponse {
		return &schedulerv1.WatchEndpointsResponse{Upserts: up, DeletedTargetIds: gone, Complete: complete}
	})}
}

// WatchEndpoints streams the list.
func (d *Deployments) WatchEndpoints(_ *schedulerv1.WatchEndpointsRequest, stream grpc.ServerStreamingServer[schedulerv1.WatchEndpointsResponse]) error {
	return d.serve(stream)
}

// Limits is the registry's list of limits.
type Limits struct {
	registryv1.UnimplementedLimitsServiceServer
	*watch[*registryv1.Limit, *registryv1.WatchLimitsResponse]
}

// NewLimits returns an empty list.
func NewLimits() *Limits {
	return &Limits{watch: newWatch((*registryv1.Limit).GetLimitId, func(up []*registryv1.Limit, gone []string, complete bool) *registryv1.WatchLimitsResponse {
		return &registryv1.WatchLimitsResponse{Upserts: up, DeletedLimitIds: gone, Complete: complete}
	})}
}

// WatchLimits streams the list.
func (l *Limits) WatchLimits(_ *registryv1.WatchLimitsRequest, stream grpc.ServerStreamingServer[registryv1.WatchLimitsResponse]) error {
	return l.serve(stream)
}
