// Package endpoints is the table of live versions as callers meet them, and the
// stream of its changes.
//
// It lives in memory: the store and the runtime fill it anew at each start.
package endpoints

import (
	"context"
	"maps"
	"slices"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// messageBytes bounds one message of the stream; an endpoint larger than that
// travels alone.
const messageBytes = 1 << 20

// Table holds the endpoints.
type Table struct {
	mu       sync.Mutex
	rows     map[string]row
	watchers map[*watcher]struct{}
	closed   chan struct{}
}

// watcher knows which targets have changed since its reader looked. A slow reader
// finds fewer, later changes; it never holds more than one mark a target.
type watcher struct {
	dirty map[string]struct{}
	wake  chan struct{}
}

// NewTable returns an empty Table.
func NewTable() *Table {
	return &Table{rows: map[string]row{}, watchers: map[*watcher]struct{}{}, closed: make(chan struct{})}
}

// Put sets a target's endpoint, which must not change afterwards.
func (t *Table) Put(e *schedulerv1.Endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if proto.Equal(t.rows[e.GetTargetId()].endpoint(), e) {
		return
	}
	t.rows[e.GetTargetId()] = newRow(e)
	t.mark(e.GetTargetId())
}

// Delete removes a target's endpoint.
func (t *Table) Delete(targetID string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.rows[targetID]; ok {
		delete(t.rows, targetID)
		t.mark(targetID)
	}
}

// Get returns a target's endpoint, or nil. It must not be changed.
func (t *Table) Get(targetID string) *schedulerv1.Endpoint {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.rows[targetID].endpoint()
}

// SetCanary says which version is tried beside a target's live one; nil: none is.
func (t *Table) SetCanary(targetID string, c *schedulerv1.Canary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[targetID].endpoint()
	if row == nil || proto.Equal(row.GetCanary(), c) {
		return
	}
	t.change(row, func(next *schedulerv1.Endpoint) { next.Canary = c })
}

// change puts a changed copy in the place of an endpoint that is there.
func (t *Table) change(row *schedulerv1.Endpoint, edit func(next *schedulerv1.Endpoint)) {
	next := proto.CloneOf(row)
	edit(next)
	t.rows[row.GetTargetId()] = newRow(next)
	t.mark(row.GetTargetId())
}

// setCanaryServer is SetServer of the version that is tried.
func (t *Table) setCanaryServer(row *schedulerv1.Endpoint, versionID, url string, ready bool, servers []*schedulerv1.Server) {
	e := row.GetCanary().GetEndpoint()
	if e.GetVersionId() != versionID || versionID == "" || is(e, url, ready, servers) {
		return
	}
	t.change(row, func(next *schedulerv1.Endpoint) {
		e := next.GetCanary().GetEndpoint()
		e.ServerUrl, e.Ready, e.Servers = url, ready, servers
	})
}

// is says whether an endpoint says so already.
func is(e *schedulerv1.Endpoint, url string, ready bool, servers []*schedulerv1.Server) bool {
	return e.GetReady() == ready && e.GetServerUrl() == url && slices.EqualFunc(e.GetServers(), servers, sameServer)
}

// SetServer says where the server of a version is, whether it is up, and which servers can
// be called, of the live version and of the one that is tried. It returns whether that made
// the target callable or took that away. One that sleeps cannot be called.
func (t *Table) SetServer(targetID, versionID, url string, ready bool, servers ...*schedulerv1.Server) (flipped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[targetID].endpoint()
	if row == nil {
		return false
	}
	isLive := row.GetVersionId() == versionID
	if ready = ready && (!isLive || !row.GetAsleep()); !ready {
		servers = nil
	}
	if !isLive {
		t.setCanaryServer(row, versionID, url, ready, servers)
		return false
	}
	if is(row, url, ready, servers) {
		return false
	}
	t.change(row, func(next *schedulerv1.Endpoint) { next.ServerUrl, next.Ready, next.Servers = url, ready, servers })
	return row.GetReady() != ready
}

// SetAsleep says that the server of a live version sleeps, so that it cannot be called,
// or that it does not any more; false when the version is not the live one.
func (t *Table) SetAsleep(targetID, versionID string, asleep bool) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[targetID].endpoint()
	if row == nil || row.GetVersionId() != versionID {
		return false
	}
	t.change(row, func(next *schedulerv1.Endpoint) {
		if next.Asleep = asleep; asleep {
			next.Ready, next.Servers = false, nil
		}
	})
	return true
}

func sameServer(a, b *schedulerv1.Server) bool { return proto.Equal(a, b) }

func (t *Table) mark(targetID string) {
	for w := range t.watchers {
		w.dirty[targetID] = struct{}{}
		w.poke()
	}
}

func (w *watcher) poke() {
	select {
	case w.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Close ends all watches, so that their readers look for another scheduler. It may be
// called once.
func (t *Table) Close() { close(t.closed) }

// Watch sends the full table, then each change, until ctx ends or send fails.
func (t *Table) Watch(ctx context.Context, send func(*schedulerv1.WatchEndpointsResponse) error) error {
	w := t.join()
	defer t.leave(w)
	for first := true; ; first = false {
		for _, message := range t.take(w, first) {
			if err := send(message); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.closed:
			return fault.Unavailable.Errorf("the scheduler is stopping; watch again")
		case <-w.wake:
		}
	}
}

// join adds a watcher to whom everything is new.
func (t *Table) join() *watcher {
	t.mu.Lock()
	defer t.mu.Unlock()
	w := &watcher{dirty: map[string]struct{}{}, wake: make(chan struct{}, 1)}
	for targetID := range t.rows {
		w.dirty[targetID] = struct{}{}
	}
	t.watchers[w] = struct{}{}
	return w
}

func (t *Table) leave(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.watchers, w)
}

// take returns what is new to w, in messages of bounded size; last of the first
// table is marked as completing it.
func (t *Table) take(w *watcher, first bool) []*schedulerv1.WatchEndpointsResponse {
	t.mu.Lock()
	defer t.mu.Unlock()
	targets := slices.Sorted(maps.Keys(w.dirty))
	clear(w.dirty)
	message, size := &schedulerv1.WatchEndpointsResponse{}, 0
	messages := []*schedulerv1.WatchEndpointsResponse{message}
	for _, targetID := range targets {
		row := t.rows[targetID].endpoint()
		if row == nil {
			message.DeletedTargetIds = append(message.DeletedTargetIds, targetID)
			continue
		}
		if size += proto.Size(row); size > messageBytes && len(message.GetUpserts()) > 0 {
			message, size = &schedulerv1.WatchEndpointsResponse{}, proto.Size(row)
			messages = append(messages, message)
		}
		message.Upserts = append(message.Upserts, row)
	}
	message.Complete = first
	if !first && len(targets) == 0 {
		return nil
	}
	return messages
}
