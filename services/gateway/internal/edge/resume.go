package edge

import (
	"context"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// findRest is how long to look for an answer that another replica is about to write
	// down, lookRest how often, and followRest how long to follow it.
	findRest   = 5 * time.Second
	lookRest   = 100 * time.Millisecond
	followRest = 10 * time.Minute
)

// errNotKept is no 404: that would end the session for its client.
var errNotKept = fault.Invalid.Errorf("the events after that one are not kept any more; the session goes on")

// resume goes on with the answer to a call whose connection broke (MCP 2025-11-25,
// "Resumability and Redelivery"), here or at the replica that has the call.
func (v visit) resume(w http.ResponseWriter, r *http.Request, s *sessions.Session, last sessions.EventID) {
	if answer, ok := s.Answer(last); ok {
		if _, _, whole := answer.Since(last.Place); !whole {
			refuse(w, jsonrpc.Message{}, errNotKept)
			return
		}
		v.resumeHere(w, r, s, answer, last)
		return
	}
	v.resumeThere(w, r, s, last)
}

func (v visit) resumeHere(w http.ResponseWriter, r *http.Request, s *sessions.Session, answer *sessions.Stream, last sessions.EventID) {
	to, ok := openStream(w, v.deps.Config.KeepAlive)
	if !ok {
		return
	}
	alive := time.NewTicker(to.keepAlive)
	defer alive.Stop()
	for {
		items, changed, whole := answer.Since(last.Place)
		for _, item := range items {
			last = answer.ID(item.Place)
			if !to.message(last, item.Message) {
				return
			}
		}
		if changed == nil || !whole {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-s.Done():
			return
		case <-changed:
		case <-alive.C:
			if !to.comment() {
				return
			}
		}
	}
}

// there is an answer that another replica has, on its way to a client.
type there struct {
	visit
	s    *sessions.Session
	last sessions.EventID
	next uint64  // where to read on
	to   *stream // nil until something was found
	over bool
}

// resumeThere follows what the replica that has the call writes down.
func (v visit) resumeThere(w http.ResponseWriter, r *http.Request, s *sessions.Session, last sessions.EventID) {
	ctx, cancel := context.WithTimeout(r.Context(), followRest)
	defer cancel()
	t := &there{visit: v, s: s, last: last}
	look, alive := time.NewTicker(lookRest), time.NewTicker(v.deps.Config.KeepAlive)
	defer look.Stop()
	defer alive.Stop()
	enough := time.After(findRest)
	for t.pass(ctx, w) && !t.over {
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-enough:
			if t.to == nil {
				refuse(w, jsonrpc.Message{}, errNotKept)
				return
			}
		case <-alive.C:
			if t.to != nil && !t.to.comment() {
				return
			}
		case <-look.C:
		}
	}
}

// pass passes on what is new; false when the client has gone.
func (t *there) pass(ctx context.Context, w http.ResponseWriter) (ok bool) {
	var items []sessions.Noted
	items, t.next, t.over = t.s.Rest(ctx, t.last, t.next)
	if t.to == nil && (len(items) > 0 || t.over) {
		if t.to, ok = openStream(w, t.deps.Config.KeepAlive); !ok {
			return false
		}
	}
	for _, item := range items {
		t.last = item.ID
		if !t.to.message(item.ID, item.Message) {
			return false
		}
	}
	return true
}
