package bridge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// backlog is how many messages of an agent wait for a slow client; then the agent waits.
	backlog  = 64
	maxReply = 8 << 20
)

// call is a request that an agent works on. It outlives the HTTP request that began
// it when it asks back.
type call struct {
	id, user, target string
	digest           [sha256.Size]byte
	leg              *leg
	legID            json.RawMessage
	ctx              context.Context //nolint:containedctx // ends with the call, which outlives requests
	end              context.CancelFunc
	events           chan event
	// attended holds a place for the one client request that waits for the call.
	attended chan struct{}

	mu     sync.Mutex
	open   map[string]ask
	asked  int
	round  int
	lacked map[string]any // a capability that the agent asked for in vain
	parked *time.Timer
}

// ask is a question of the agent's that is open.
type ask struct {
	agentID json.RawMessage
	method  string
	params  json.RawMessage
}

// event is one message of the agent's; done with the last one.
type event struct {
	message jsonrpc.Message
	raw     []byte
	err     error
	done    bool
}

// newCall gives a request to the agent.
func newCall(r modern.Request, target, user string, l *leg) *call {
	ctx, end := context.WithCancel(context.Background())
	c := &call{
		id: rand.Text(), user: user, target: target, digest: r.Digest(), leg: l, legID: l.nextID(), ctx: ctx, end: end,
		events: make(chan event, backlog), attended: make(chan struct{}, 1), open: map[string]ask{},
	}
	go c.read(r.Down(c.legID))
	return c
}

// read follows the agent's answer to its end.
func (c *call) read(body []byte) {
	defer c.leg.release()
	res, err := c.leg.Send(c.ctx, body)
	if err != nil {
		c.put(event{err: err, done: true})
		return
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if !sessions.IsEventStream(res) {
		c.put(whole(res))
		return
	}
	answered := false
	_ = sessions.ReadEvents(res.Body, func(e sessions.Event) error { // how it ended does not matter
		m, err := jsonrpc.Parse(e.Data)
		if err != nil {
			return nil //nolint:nilerr // a comment, or nothing that a client could read
		}
		answered = answered || m.IsResponse()
		c.put(event{message: m, raw: e.Data, done: m.IsResponse()})
		return c.ctx.Err()
	})
	if !answered {
		c.put(event{err: errLost, done: true})
	}
}

var errLost = fault.Unavailable.Errorf("the agent went away during the call; it may have been started")

// whole reads an answer that is no stream.
func whole(res *http.Response) event {
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return event{err: errLost, done: true}
	}
	m, err := jsonrpc.Parse(raw)
	if err != nil || !m.IsResponse() {
		return event{err: fault.Unavailable.Errorf("the agent answered with %s and no message", res.Status), done: true}
	}
	return event{message: m, raw: raw, done: true}
}

func (c *call) put(e event) {
	select {
	case c.events <- e:
	case <-c.ctx.Done():
	}
}

// abort ends the call and tells the agent, as the session era does.
func (c *call) abort() {
	if c.ctx.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	c.leg.Notify(ctx, jsonrpc.NewRequest(nil, "notifications/cancelled", jsonrpc.Encode(map[string]any{
		"requestId": c.legID, "reason": "the client has gone",
	})))
	c.end()
}

// reply answers a question of the agent's.
func (c *call) reply(ctx context.Context, response []byte) { c.leg.Notify(ctx, response) }
