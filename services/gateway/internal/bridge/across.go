package bridge

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/awake"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// innerKind is the kind of a sealed requestState that holds an agent's own.
const innerKind = "s2"

// inner is the requestState of an agent of the stateless era, bound to who got it and
// for what: towards the agent all our callers are one.
type inner struct {
	User    string            `json:"u,omitempty"`
	Digest  [sha256.Size]byte `json:"d"`
	Expires int64             `json:"e"`
	State   string            `json:"s"`
	// Rollout is one whose canary asked; empty: the live version did.
	Rollout string `json:"r,omitempty"`
}

// across gives a request to an agent of the same era: bytes pass, the hop is ours.
func (b *Bridge) across(ctx context.Context, route *routes.Route, user string, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	before, refusal := b.unwrap(route.Address.GetTargetId(), user, r)
	if refusal != nil {
		return nil, refusal
	}
	if asked := (routes.Pick{Rollout: before.Rollout}); r.RequestState != "" && asked != route.Pick() {
		if route = b.deps.Now(route.Address.GetTargetId(), asked); route == nil || route.Endpoint == nil {
			return nil, refusalOf(errLost)
		}
	}
	var response jsonrpc.Message
	status, err := b.send(ctx, route, r, before.State, to.Stream, func(m jsonrpc.Message, raw []byte) {
		if m.IsResponse() {
			response = m
			return
		}
		to.Tell(raw)
	})
	switch {
	case ctx.Err() != nil:
		return nil, gone
	case err != nil:
		return nil, refusalOf(err)
	case len(response.Error) > 0:
		return nil, asSaid(status, response.Error)
	case response.Result == nil:
		return nil, refusalOf(errLost)
	}
	return b.wrap(route, user, r, response.Result), nil
}

// Stream passes all on that an agent of the stateless era says to a request, until
// either side ends it.
func (b *Bridge) Stream(ctx context.Context, route *routes.Route, r modern.Request, each func(raw []byte)) *modern.Refusal {
	said := false
	status, err := b.send(ctx, route, r, "", func() {}, func(m jsonrpc.Message, raw []byte) {
		if !said && m.IsResponse() && len(m.Error) > 0 {
			return
		}
		said = true
		each(raw)
	})
	switch quiet := !said && ctx.Err() == nil; {
	case quiet && err != nil:
		return refusalOf(err)
	case !quiet:
		return nil
	}
	return &modern.Refusal{Status: status, Code: jsonrpc.CodeInternal, Message: "the agent takes no subscription"}
}

// send posts a request and gives each message of the answer to handle; streams is
// called when it is a stream.
func (b *Bridge) send(ctx context.Context, route *routes.Route, r modern.Request, state string, streams func(), handle func(jsonrpc.Message, []byte)) (status int, err error) {
	res, err := b.post(ctx, route, r, state)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if !sessions.IsEventStream(res) {
		e := whole(res)
		if e.err == nil {
			handle(e.message, e.raw)
		}
		return res.StatusCode, e.err
	}
	streams()
	err = sessions.ReadEvents(res.Body, func(e sessions.Event) error {
		m, err := jsonrpc.Parse(e.Data)
		if err != nil {
			return nil //nolint:nilerr // a comment, or nothing that a client could read
		}
		handle(m, e.Data)
		if m.IsResponse() {
			return errAnswered
		}
		return nil
	})
	if err != nil && !errors.Is(err, errAnswered) {
		return res.StatusCode, errLost
	}
	return res.StatusCode, nil
}

// post gives a request to the agent, once it is awake.
func (b *Bridge) post(ctx context.Context, route *routes.Route, r modern.Request, state string) (*http.Response, error) {
	defer b.deps.Hold(ctx, route.Address.GetTargetId())()
	for {
		now, err := b.deps.Woken(ctx, route)
		if err != nil {
			return nil, err
		}
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, b.deps.Choose(now.Endpoint), bytes.NewReader(r.Across(r.ID, state)))
		if err != nil {
			return nil, err
		}
		req.Header = r.Headers()
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Accept", "application/json, text/event-stream")
		res, err := b.deps.Client.Do(req)
		switch {
		case errors.Is(err, awake.ErrResting):
			continue // it has just fallen asleep
		case err != nil:
			return nil, fault.Unavailable.Wrap(err, "the agent cannot be reached at the moment; the call may have been started")
		}
		return res, nil
	}
}

var errAnswered = errors.New("answered")

// asSaid is an agent's error as it gave it.
func asSaid(status int, raw json.RawMessage) *modern.Refusal {
	var e struct {
		Code    int             `json:"code"`
		Message string          `json:"message"`
		Data    json.RawMessage `json:"data"`
	}
	if json.Unmarshal(raw, &e) != nil {
		return refusalOf(fault.Unavailable.Errorf("the agent's error cannot be read"))
	}
	refusal := &modern.Refusal{Status: status, Code: e.Code, Message: e.Message}
	if e.Data != nil {
		refusal.Data = e.Data
	}
	return refusal
}

// unwrap takes the agent's own state out of what the client brought back.
func (b *Bridge) unwrap(target, user string, r modern.Request) (s inner, refusal *modern.Refusal) {
	if r.RequestState == "" {
		return s, nil
	}
	payload, err := b.deps.Seal.Open(innerKind, target, r.RequestState)
	if err != nil || json.Unmarshal(payload, &s) != nil || s.User != user || s.Digest != r.Digest() {
		return s, modern.Invalid("requestState is not of this call", nil)
	}
	if time.Now().Unix() > s.Expires {
		return s, modern.Invalid("requestState has expired; make the call again", nil)
	}
	return s, nil
}

// wrap seals the agent's own state for the way back.
func (b *Bridge) wrap(route *routes.Route, user string, r modern.Request, result json.RawMessage) json.RawMessage {
	var asked struct {
		Type  string  `json:"resultType"`
		State *string `json:"requestState"`
	}
	if json.Unmarshal(result, &asked) != nil || asked.Type != modern.InputRequired || asked.State == nil {
		return modern.Typed(r.Method, result)
	}
	var members map[string]json.RawMessage
	_ = json.Unmarshal(result, &members) // it is an object, as was just seen
	members["requestState"] = jsonrpc.Encode(b.deps.Seal.Seal(innerKind, route.Address.GetTargetId(), jsonrpc.Encode(inner{
		User: user, Digest: r.Digest(), Expires: time.Now().Add(b.deps.Wait).Unix(), State: *asked.State, Rollout: route.Pick().Rollout,
	})))
	return jsonrpc.Encode(members)
}
