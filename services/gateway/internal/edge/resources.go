package edge

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/updates"
)

// handOver is how long a new subscription is heard until the stream of its client hears it.
const handOver = 2 * time.Second

// listenToResources listens at the agent for a subscription of the stateless era. What
// that does not tell of is left out.
func (s *subscription) listenToResources(ctx context.Context) *modern.Refusal {
	if len(s.want.URIs) == 0 {
		return nil
	}
	l, err := s.updates.Listen(ctx, s.route, s.caller.UserID, s.want.URIs, updates.Before{})
	if err != nil {
		return refusalOf(err)
	}
	s.resources, s.want.URIs = l, l.URIs
	return nil
}

func (s *subscription) closeResources() {
	if s.resources != nil {
		s.resources.Close()
	}
}

func (s *subscription) resourcesChanged() <-chan struct{} {
	if s.resources == nil {
		return nil
	}
	return s.resources.Changed()
}

func (s *subscription) resourcesOver() <-chan struct{} {
	if s.resources == nil {
		return nil
	}
	return s.resources.Done()
}

func (s *subscription) tellResources() (ok bool) {
	for _, uri := range s.resources.Take() {
		if !s.say(updated, map[string]any{"uri": uri}) {
			return false
		}
	}
	return true
}

// subscribeAcross subscribes a client with a session to a resource of an agent that knows
// none: it is done when the agent has said that it will tell.
func (v visit) subscribeAcross(ctx context.Context, s *sessions.Session, m jsonrpc.Message) []byte {
	var about struct {
		URI string `json:"uri"`
	}
	if !v.route.Endpoint.Subscribes {
		return jsonrpc.NewError(m.ID, jsonrpc.CodeMethodNotFound, "this app does not tell of changes of its resources")
	}
	if json.Unmarshal(m.Params, &about) != nil || about.URI == "" {
		return jsonrpc.NewError(m.ID, jsonrpc.CodeInvalidParams, "params.uri must be a text")
	}
	if m.Method == unsubscribe {
		s.UnsubscribeFrom(ctx, about.URI)
		s.Subscribe() // who listens elsewhere hears of it
		return jsonrpc.NewResult(m.ID, json.RawMessage(`{}`))
	}
	l, err := v.updates.Listen(ctx, v.route, v.caller.UserID, []string{about.URI}, updates.Before{})
	if err == nil {
		time.AfterFunc(handOver, l.Close)
		if len(l.URIs) == 0 {
			err = fault.Invalid.Errorf("the agent does not tell of changes of this resource")
		}
	}
	if err == nil {
		err = s.SubscribeTo(ctx, about.URI)
	}
	switch {
	case fault.Invalid.Is(err):
		return jsonrpc.NewErrorData(m.ID, jsonrpc.CodeInvalidParams, fault.Message(err), map[string]string{"uri": about.URI})
	case err != nil:
		return jsonrpc.NewError(m.ID, code(err), fault.Message(err))
	}
	s.Subscribe()
	return jsonrpc.NewResult(m.ID, json.RawMessage(`{}`))
}

// listenAcrossEras tells a client with a session what changes at an agent that knows
// none, until ctx ends.
func (v visit) listenAcrossEras(ctx context.Context, s *sessions.Session) {
	var l *updates.Listener
	leave := func() {
		if l != nil {
			tellTaken(s, l)
			l.Close()
		}
	}
	defer func() { leave() }()
	missed, before := s.Heard(), updates.Before{}
	for pause := relisten; ctx.Err() == nil; {
		changed := s.WishesChanged()
		now := time.Now()
		next, err := v.hearWishes(ctx, s, before)
		before = updates.Before{Since: now}
		if next != nil {
			before.URIs = next.URIs
		}
		leave()
		again := time.After(pause)
		switch l = next; {
		case err == nil && l == nil:
			pause, missed, again = relisten, false, nil
		case err == nil:
			pause = relisten
			if missed {
				retell(ctx, s)
			}
			missed = v.follows(ctx, s, l, changed)
			continue
		case errors.Is(err, errGone):
			v.sessions.End(s)
			return
		default:
			missed = true
			pause = min(2*pause, relistenMax)
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-again:
		}
	}
}

var errGone = errors.New("the app is gone")

// hearWishes listens to what the client wants to hear; nil when that is nothing.
func (v visit) hearWishes(ctx context.Context, s *sessions.Session, before updates.Before) (*updates.Listener, error) {
	route := s.Upstream.Route()
	if route == nil {
		return nil, errGone
	}
	uris := s.Subscriptions(ctx)
	if len(uris) == 0 || route.Endpoint == nil {
		return nil, nil
	}
	return v.updates.Listen(ctx, route, v.caller.UserID, uris, before)
}

// follows tells the client what changes, until it wants something else; missed says that
// the agent is not heard any more.
func (v visit) follows(ctx context.Context, s *sessions.Session, l *updates.Listener, changed <-chan struct{}) (missed bool) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	moved := make(chan struct{})
	go v.untilMoved(ctx, func() { close(moved) }, l.Route, s.Upstream.Route)
	for {
		select {
		case <-ctx.Done():
			return false
		case <-moved:
			return true
		case <-changed:
			return false
		case <-l.Done():
			return true
		case <-l.Changed():
			tellTaken(s, l)
		}
	}
}

func tellTaken(s *sessions.Session, l *updates.Listener) {
	for _, uri := range slices.Sorted(slices.Values(l.Take())) {
		s.Tell(jsonrpc.NewRequest(nil, updated, jsonrpc.Encode(map[string]string{"uri": uri})))
	}
}
