package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// collect is how long more questions are waited for after the first.
	collect = 50 * time.Millisecond
	// patience is how long a parked call waits for its client.
	patience = time.Hour
	// callsKept and callsPerUser bound the calls that are open.
	callsKept    = 20_000
	callsPerUser = 256
)

// Bridge carries calls.
type Bridge struct {
	ring   *seal.Ring
	client *http.Client
	legs   *legs
	peers  *peers.Peers

	mu     sync.Mutex
	calls  map[string]*call
	byUser map[string]int
}

// New returns a Bridge; open begins conversations with agents of the session era, and
// client calls the others. Calls that wait here are answered for among, too.
func New(ring *seal.Ring, client *http.Client, open func(target string) *sessions.Upstream, among *peers.Peers) *Bridge {
	b := &Bridge{ring: ring, client: client, legs: newLegs(open), peers: among, calls: map[string]*call{}, byUser: map[string]int{}}
	among.Handle(topic, b.answer)
	return b
}

// Client is who waits for an answer.
type Client interface {
	// Stream says that the agent answers with a stream.
	Stream()
	// Tell gives a notification, at once.
	Tell(raw []byte)
}

// Call gives a request to the agent and returns the result for the client, which may
// be that it is asked something. When ctx ends, so does the call: that is how this era
// cancels.
func (b *Bridge) Call(ctx context.Context, route *routes.Route, user string, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	if route.Endpoint.GetModern() {
		return b.across(ctx, route, user, r, to)
	}
	if r.RequestState != "" {
		return b.again(ctx, route.Address.GetTargetId(), user, r, to)
	}
	c, refusal := b.begin(route, user, r)
	if refusal != nil {
		return nil, refusal
	}
	return b.goOn(ctx, c, r, to)
}

// again goes on with a call that waits, here or at another replica.
func (b *Bridge) again(ctx context.Context, target, user string, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	s, refusal := b.unseal(target, user, r)
	if refusal != nil {
		return nil, refusal
	}
	if s.At != b.peers.Name() {
		return b.elsewhere(ctx, s.At, target, user, r, to)
	}
	c, refusal := b.find(s)
	if refusal != nil {
		return nil, refusal
	}
	return b.goOn(ctx, c, r, to)
}

// goOn waits with the client for what its call leads to.
func (b *Bridge) goOn(ctx context.Context, c *call, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	select {
	case c.attended <- struct{}{}:
	case <-ctx.Done():
		return nil, gone
	}
	defer func() { <-c.attended }()
	c.unpark()
	if r.RequestState != "" {
		if refusal := c.take(ctx, r.InputResponses); refusal != nil {
			b.park(c)
			return nil, refusal
		}
		if c.asking() {
			return b.park(c), nil
		}
	}
	return b.attend(ctx, c, r, to)
}

var gone = &modern.Refusal{Status: http.StatusRequestTimeout, Code: jsonrpc.CodeInternal, Message: "the client has gone"}

// begin starts a call.
func (b *Bridge) begin(route *routes.Route, user string, r modern.Request) (*call, *modern.Refusal) {
	b.mu.Lock()
	if len(b.calls) >= callsKept || user != "" && b.byUser[user] >= callsPerUser {
		b.mu.Unlock()
		return nil, refusalOf(fault.Exhausted.Errorf("too many calls are open; wait for some to end"))
	}
	b.byUser[user]++
	b.mu.Unlock()
	c := newCall(r, route.Address.GetTargetId(), user, b.legs.get(route, user, r.Capabilities.Raw))
	b.mu.Lock()
	b.calls[c.id] = c
	b.mu.Unlock()
	context.AfterFunc(c.ctx, func() { b.forget(c) })
	return c, nil
}

func (b *Bridge) forget(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.calls, c.id)
	if b.byUser[c.user]--; b.byUser[c.user] <= 0 {
		delete(b.byUser, c.user)
	}
}

// attend waits with the client for what the agent says next.
func (b *Bridge) attend(ctx context.Context, c *call, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	var enough <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			c.abort()
			return nil, gone
		case <-enough:
			return b.park(c), nil
		case e := <-c.events:
			switch {
			case e.done:
				c.end()
				return c.finish(r, e)
			case e.message.Method == "":
			case !e.message.IsRequest():
				if wanted(r, e.message) {
					to.Tell(e.raw)
				}
			case c.ask(ctx, r, e.message) && enough == nil:
				enough = time.After(collect)
			}
		}
	}
}

// wanted says whether a notification is for this client: log messages are when it said
// so, and what is not about the call has no stream here.
func wanted(r modern.Request, m jsonrpc.Message) bool {
	switch m.Method {
	case "notifications/progress":
		return true
	case "notifications/message":
		var about struct {
			Level string `json:"level"`
		}
		_ = json.Unmarshal(m.Params, &about) // without a level it is not heard
		return r.LogLevel != "" && modern.Severity(about.Level) >= modern.Severity(r.LogLevel)
	}
	return false
}

// finish makes the agent's answer the client's.
func (c *call) finish(r modern.Request, e event) (json.RawMessage, *modern.Refusal) {
	switch {
	case e.err != nil:
		return nil, refusalOf(e.err)
	case len(e.message.Error) > 0 && c.lacked != nil:
		return nil, modern.Missing(c.lacked)
	case len(e.message.Error) > 0:
		return nil, modern.Translate(r, e.message.Error)
	}
	return modern.Typed(r.Method, e.message.Result), nil
}

// refusalOf says what failed between the client and the agent.
func refusalOf(err error) *modern.Refusal {
	r := &modern.Refusal{Status: fault.KindOf(err).HTTPStatus(), Code: jsonrpc.CodeInternal, Message: fault.Message(err), NotStarted: errors.Is(err, sessions.ErrNotStarted)}
	if fault.Unavailable.Is(err) {
		r.Data = map[string]string{"reason": "agent_unavailable"}
	}
	return r
}
