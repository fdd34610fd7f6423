package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// collect is how long more questions are waited for after the first.
	collect = 50 * time.Millisecond
	// callsKept and callsPerUser bound the calls that are open.
	callsKept    = 20_000
	callsPerUser = 256
)

// Deps is everything a Bridge needs from outside.
type Deps struct {
	Log  *slog.Logger
	Seal *seal.Ring
	// Client calls agents of the stateless era.
	Client *http.Client
	// Woken is a route as it is now, with its agent awake.
	Woken func(ctx context.Context, route *routes.Route) (*routes.Route, error)
	// Hold keeps a target's agent from falling asleep until leave is called.
	Hold func(ctx context.Context, targetID string) (leave func())
	// Now is the route that is for pick; nil when the app is gone.
	Now func(target string, pick routes.Pick) *routes.Route
	// Choose is where a version takes a call that belongs to no conversation.
	Choose func(e *routes.Endpoint) (url string)
	// Open begins conversations with agents of the session era.
	Open func(target string, pick routes.Pick) *sessions.Upstream
	// Peers are the other replicas, which have calls of ours and we of theirs.
	Peers *peers.Peers
	// Calls keeps calls that wait for their clients.
	Calls schedulerv1.CallsServiceClient
	// Wait is how long a client may take for an answer.
	Wait time.Duration
}

// Bridge carries calls.
type Bridge struct {
	deps    Deps
	legs    *legs
	records *records

	// leaves is closed when the process ends; what waits here is left to others.
	leaves  chan struct{}
	working sync.WaitGroup

	mu     sync.Mutex
	calls  map[string]*call
	byUser map[string]int
	coming map[string]chan struct{} // calls that are being taken over
	closed bool
}

// New returns a Bridge on deps, which must be complete.
func New(deps Deps) *Bridge {
	b := &Bridge{
		deps: deps, legs: newLegs(deps.Open), records: &records{deps.Calls, deps.Seal, deps.Wait}, leaves: make(chan struct{}),
		calls: map[string]*call{}, byUser: map[string]int{}, coming: map[string]chan struct{}{},
	}
	deps.Peers.Handle(topicRetry, b.answer)
	deps.Peers.Handle(topicCancel, b.cancelled)
	return b
}

// Run holds calls until ctx ends. Those that wait then are left to other replicas; their
// agents are told nothing.
func (b *Bridge) Run(ctx context.Context) error {
	<-ctx.Done()
	close(b.leaves)
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.working.Wait()
	return nil
}

// work does something that Run waits for. What is begun in the very end is done without.
func (b *Bridge) work(do func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		go do()
		return
	}
	b.working.Go(do)
}

func (b *Bridge) leaving() bool {
	select {
	case <-b.leaves:
		return true
	default:
		return false
	}
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
		return b.again(ctx, route, user, r, to)
	}
	c := b.newCall(route, user, r)
	if refusal := b.admit(c); refusal != nil {
		return nil, refusal
	}
	b.start(c, r)
	return b.goOn(ctx, c, r, 0, to)
}

// start gives the request to the agent.
func (b *Bridge) start(c *call, r modern.Request) {
	l := b.legs.get(c.target, c.server, c.version, c.user, r.Capabilities.Raw)
	id := l.nextID()
	c.mu.Lock()
	c.leg, c.legID, c.place, c.cursor, c.caps = l, id, sessions.Place{}, "", r.Capabilities.Raw
	c.mu.Unlock()
	quiet := l.want(r.LogLevel)
	b.work(func() { c.read(l, r.Down(id), quiet) })
}

// newCall is a call that nothing was done for.
func (b *Bridge) newCall(route *routes.Route, user string, r modern.Request) *call {
	ctx, end := context.WithCancel(context.Background())
	return &call{
		user: user, target: route.Address.GetTargetId(), server: b.serverFor(route.Endpoint), version: route.Pick(), org: route.Address.GetOrgId(), digest: r.Digest(), repeatable: repeatable(route, r),
		id: newID(), ctx: ctx, end: end, events: make(chan event, backlog), attended: make(chan struct{}, 1), open: map[string]ask{},
	}
}

// serverFor is the server that a call is made at; empty where there is no choice.
func (b *Bridge) serverFor(e *routes.Endpoint) string {
	if len(e.GetServers()) < 2 { //nolint:mnd // one is no choice
		return ""
	}
	return b.deps.Choose(e)
}

// repeatable says whether a request may be made twice: reading is, and tools say so.
func repeatable(route *routes.Route, r modern.Request) bool {
	return r.Method != modern.ToolsCall || route.Endpoint.Repeatable[r.Name]
}

// admit counts a call in, until it ends.
func (b *Bridge) admit(c *call) *modern.Refusal {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.calls) >= callsKept || c.user != "" && b.byUser[c.user] >= callsPerUser {
		c.end()
		return refusalOf(fault.Exhausted.Errorf("too many calls are open; wait for some to end"))
	}
	b.byUser[c.user]++
	b.calls[c.id] = c
	context.AfterFunc(c.ctx, func() { b.forget(c) })
	return nil
}

func (b *Bridge) forget(c *call) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.calls, c.id)
	if b.byUser[c.user]--; b.byUser[c.user] <= 0 {
		delete(b.byUser, c.user)
	}
}

// refusalOf says what failed between the client and the agent.
func refusalOf(err error) *modern.Refusal {
	r := &modern.Refusal{Status: fault.KindOf(err).HTTPStatus(), Code: jsonrpc.CodeInternal, Message: fault.Message(err), NotStarted: errors.Is(err, sessions.ErrNotStarted)}
	if fault.Unavailable.Is(err) {
		r.Data = map[string]string{"reason": "agent_unavailable"}
	}
	return r
}
