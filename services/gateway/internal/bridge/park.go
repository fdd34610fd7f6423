package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// ask notes a question of the agent's; false when it has been answered here.
func (c *call) ask(ctx context.Context, m jsonrpc.Message) bool {
	if m.Method == "ping" {
		c.reply(ctx, jsonrpc.NewResult(m.ID, json.RawMessage(`{}`)))
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.about.capabilities.CanAnswer(m.Method, m.Params) {
		c.lacked = modern.Required(m.Method, m.Params)
		go c.reply(c.ctx, jsonrpc.NewError(m.ID, jsonrpc.CodeMethodNotFound, "the client cannot be asked "+m.Method))
		return false
	}
	print := printOf(m.Method, m.Params)
	if i := slices.IndexFunc(c.replay, func(g given) bool { return g.print == print }); i >= 0 {
		answer := c.replay[i].answer
		c.replay = slices.Delete(c.replay, i, i+1)
		go c.reply(c.ctx, jsonrpc.NewResult(m.ID, answer))
		return false
	}
	c.asked++
	c.open["q"+strconv.Itoa(c.asked)] = ask{m.ID, m.Method, m.Params, print}
	return true
}

// withdraw takes back a question that the agent does not wait for any more.
func (c *call) withdraw(params json.RawMessage) {
	var about struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	_ = json.Unmarshal(params, &about) // what names nothing takes nothing back
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, q := range c.open {
		if string(q.agentID) == string(about.RequestID) {
			delete(c.open, key)
		}
	}
}

// park leaves the call to wait for its client, and says what that is asked. From the
// first time on there is a record of it.
func (b *Bridge) park(ctx context.Context, c *call, to Client) (json.RawMessage, *modern.Refusal) {
	c.mu.Lock()
	c.round++
	c.until = time.Now().Add(b.deps.Wait)
	c.mu.Unlock()
	err := b.records.ask(c, b.deps.Peers.Name())
	switch {
	case fault.Conflict.Is(err):
		c.end()
		return nil, moved
	case err != nil: // better than to lose it now
		b.deps.Log.Warn("a call that waits for its client is not written down, and ends with this process", "target", c.target, "call", c.id, "error", err)
	default:
		c.mu.Lock()
		c.kept = true
		c.mu.Unlock()
	}
	if ctx.Err() != nil {
		return nil, b.left(c, to)
	}
	return b.present(c), nil
}

// present says what the client is asked now.
func (b *Bridge) present(c *call) json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	requests := map[string]any{}
	for key, q := range c.open {
		one := map[string]any{"method": q.method}
		if len(q.params) > 0 {
			one["params"] = shown(q)
		}
		requests[key] = one
	}
	sealed := b.deps.Seal.Seal(stateKind, c.target, jsonrpc.Encode(state{
		Call: c.id, At: b.deps.Peers.Name(), Round: c.round, User: c.user, Digest: c.digest, Expires: c.until.Unix(),
	}))
	return jsonrpc.Encode(map[string]any{"resultType": modern.InputRequired, "inputRequests": requests, "requestState": sealed})
}

// shown are the params of a question without what only the session era has.
func shown(q ask) json.RawMessage {
	var params map[string]json.RawMessage
	if q.method != "elicitation/create" || json.Unmarshal(q.params, &params) != nil {
		return q.params
	}
	if _, ok := params["elicitationId"]; !ok {
		return q.params
	}
	delete(params, "elicitationId")
	return jsonrpc.Encode(params)
}

// stateKind is the kind of a sealed requestState.
const stateKind = "s1"

// state is what a client keeps of a parked call. It is bound to the app by its seal.
type state struct {
	Call string `json:"c"`
	// At is the replica that read the call when it was sealed.
	At     string            `json:"a"`
	Round  int               `json:"r"`
	User   string            `json:"u,omitempty"`
	Digest [sha256.Size]byte `json:"d"`
	// Expires is in seconds since 1970.
	Expires int64 `json:"e"`
}

// unseal reads what the client of a parked call brought back.
func (b *Bridge) unseal(target, user string, r modern.Request) (state, *modern.Refusal) {
	payload, err := b.deps.Seal.Open(stateKind, target, r.RequestState)
	var s state
	if err != nil || json.Unmarshal(payload, &s) != nil || s.User != user || s.Digest != r.Digest() {
		return s, modern.Invalid("requestState is not of this call", nil)
	}
	if time.Now().Unix() > s.Expires {
		return s, expired()
	}
	return s, nil
}

func expired() *modern.Refusal {
	return modern.Invalid("requestState has expired; make the call again", nil)
}
