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
	rows     map[string]*schedulerv1.Endpoint
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
	return &Table{rows: map[string]*schedulerv1.Endpoint{}, watchers: map[*watcher]struct{}{}, closed: make(chan struct{})}
}

// Put sets a target's endpoint, which must not change afterwards.
func (t *Table) Put(e *schedulerv1.Endpoint) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if proto.Equal(t.rows[e.GetTargetId()], e) {
		return
	}
	t.rows[e.GetTargetId()] = e
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
	return t.rows[targetID]
}

// SetServer says where the server of a live version is and whether it is up. It
// returns whether that made the target callable or took that away.
func (t *Table) SetServer(targetID, versionID, url string, ready bool) (flipped bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[targetID]
	if row == nil || row.GetVersionId() != versionID || row.GetReady() == ready && row.GetServerUrl() == url {
		return false
	}
	flipped = row.GetReady() != ready
	next := proto.Clone(row).(*schedulerv1.Endpoint)
	next.ServerUrl, next.Ready = url, ready
	t.rows[targetID] = next
	t.mark(targetID)
	return flipped
}

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
		row := t.rows[targetID]
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
