package bridge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// backlog is how many messages of an agent wait for a slow client; then the agent waits.
const backlog = 64

func newID() string { return rand.Text() }

// call is a request that an agent works on. It outlives the HTTP request that began
// it when it asks back.
type call struct {
	id, user, target, org string
	version               routes.Pick // of the version that was called
	server                string      // where it is made; empty: wherever the version serves
	digest                [sha256.Size]byte
	repeatable            bool
	ctx                   context.Context //nolint:containedctx // ends with the call, which outlives requests
	end                   context.CancelFunc
	events                chan event
	// attended holds a place for the one client request that waits for the call.
	attended chan struct{}
	// waiting counts requests that wait for it, the attended one included.
	waiting atomic.Int32

	mu     sync.Mutex
	leg    *leg
	legID  json.RawMessage // of the request there
	caps   json.RawMessage // that the leg declared
	place  sessions.Place  // where the agent works on it; zero until it was sent
	open   map[string]ask
	asked  int
	round  int
	about  about
	lacked map[string]any // a capability that the agent asked for in vain
	given  []given        // what was answered, oldest first
	replay []given        // what was answered before it was made again, and is not asked yet
	cursor string         // id of the last event that was taken in
	kept   bool           // there is a record of it
	lease  int64
	reruns int32
	lost   bool      // its agent went away; the next answer makes it again
	until  time.Time // when it is given up, while it is parked
	over   *outcome
	unmind func() // ends the watch over a parked call
}

// about is what has to be known of a call's last request when it ends without one.
type about struct {
	method, name string
	capabilities modern.Capabilities
}

// ask is a question of the agent's that is open.
type ask struct {
	agentID json.RawMessage
	method  string
	params  json.RawMessage
	print   [sha256.Size]byte
}

// given is an answer, and the digest of what it answers.
type given struct {
	print  [sha256.Size]byte
	answer json.RawMessage
}

// outcome is how a call ended.
type outcome struct {
	Result  json.RawMessage `json:"result,omitempty"`
	Refusal *modern.Refusal `json:"refusal,omitempty"`
}

func printOf(method string, params json.RawMessage) [sha256.Size]byte {
	return sha256.Sum256([]byte(method + "\x00" + string(params)))
}

// concern notes who asks now, and what can be asked.
func (c *call) concern(r modern.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.about = about{r.Method, r.Name, r.Capabilities}
}

func (c *call) settle(at sessions.Place) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.place = at
}

func (c *call) ended() *outcome {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// leftOpen says whether the call is done with here, and not over.
func (c *call) leftOpen() bool { return c.ctx.Err() != nil && c.ended() == nil }

func (c *call) asking() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) > 0
}

// tellCancelled tells the agent, as the session era does.
func (c *call) tellCancelled() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	c.mu.Lock()
	id := c.legID
	c.mu.Unlock()
	c.notify(ctx, jsonrpc.NewRequest(nil, "notifications/cancelled", jsonrpc.Encode(map[string]any{
		"requestId": id, "reason": "the client has gone",
	})))
}

// notify says something to the agent where it works on the call.
func (c *call) notify(ctx context.Context, message []byte) {
	c.mu.Lock()
	l, at := c.leg, c.place
	c.mu.Unlock()
	switch {
	case l == nil: // there is nobody to be told
	case at != (sessions.Place{}):
		l.NotifyAt(ctx, at, message)
	default:
		l.Notify(ctx, message)
	}
}
