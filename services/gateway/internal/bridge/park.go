package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// stateKind is the kind of a sealed requestState.
const stateKind = "s1"

// state is what a client keeps of a parked call. It is bound to the app by its seal.
type state struct {
	Call string `json:"c"`
	// At is the replica that holds the call.
	At     string            `json:"a"`
	Round  int               `json:"r"`
	User   string            `json:"u,omitempty"`
	Digest [sha256.Size]byte `json:"d"`
	// Expires is in seconds since 1970.
	Expires int64 `json:"e"`
}

// ask notes a question of the agent's; false when it has been answered here.
func (c *call) ask(ctx context.Context, r modern.Request, m jsonrpc.Message) bool {
	if m.Method == "ping" {
		c.reply(ctx, jsonrpc.NewResult(m.ID, json.RawMessage(`{}`)))
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !r.Capabilities.CanAnswer(m.Method, m.Params) {
		c.lacked = modern.Required(m.Method, m.Params)
		go c.reply(c.ctx, jsonrpc.NewError(m.ID, jsonrpc.CodeMethodNotFound, "the client cannot be asked "+m.Method))
		return false
	}
	c.asked++
	c.open["q"+strconv.Itoa(c.asked)] = ask{m.ID, m.Method, m.Params}
	return true
}

func (c *call) asking() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open) > 0
}

// park leaves the call to wait for its client and says what that is asked.
func (b *Bridge) park(c *call) json.RawMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.round++
	c.parked = time.AfterFunc(patience, c.abort)
	requests := map[string]any{}
	for key, q := range c.open {
		one := map[string]any{"method": q.method}
		if len(q.params) > 0 {
			one["params"] = shown(q)
		}
		requests[key] = one
	}
	sealed := b.ring.Seal(stateKind, c.target, jsonrpc.Encode(state{
		Call: c.id, At: b.peers.Name(), Round: c.round, User: c.user, Digest: c.digest, Expires: time.Now().Add(patience).Unix(),
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

// unpark stops the clock of a call whose client is back.
func (c *call) unpark() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.parked != nil {
		c.parked.Stop()
	}
}

// unseal reads what the client of a parked call brought back.
func (b *Bridge) unseal(target, user string, r modern.Request) (state, *modern.Refusal) {
	payload, err := b.ring.Open(stateKind, target, r.RequestState)
	var s state
	if err != nil || json.Unmarshal(payload, &s) != nil || s.User != user || s.Digest != r.Digest() {
		return s, modern.Invalid("requestState is not of this call", nil)
	}
	if time.Now().Unix() > s.Expires {
		return s, modern.Invalid("requestState has expired; make the call again", nil)
	}
	return s, nil
}

// find is the call that a retry goes on with.
func (b *Bridge) find(s state) (*call, *modern.Refusal) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c, ok := b.calls[s.Call]
	if !ok {
		return nil, callLost
	}
	return c, nil
}

var callLost = &modern.Refusal{
	Status: http.StatusOK, Code: jsonrpc.CodeInternal, Message: "the call that asked this is over; it had been started",
	Data: map[string]any{"reason": "call_lost", "retriable": false},
}

// take gives answers to the agent. Unknown keys, and those that were answered before,
// are ignored; an answer of the wrong shape answers nothing.
func (c *call) take(ctx context.Context, responses json.RawMessage) *modern.Refusal {
	c.mu.Lock()
	defer c.mu.Unlock()
	given := map[string]json.RawMessage{}
	_ = jsonrpc.Members(responses, func(key string, value json.RawMessage) error { // nothing below fails
		if _, open := c.open[key]; open {
			given[key] = value
		}
		return nil
	})
	for key, value := range given {
		if !fits(c.open[key].method, value) {
			return modern.Invalid("inputResponses."+key+" is no result of "+c.open[key].method, nil)
		}
	}
	for key, value := range given {
		c.reply(ctx, jsonrpc.NewResult(c.open[key].agentID, value))
		delete(c.open, key)
	}
	return nil
}

// fits says whether a value can be the result of a question.
func fits(method string, value json.RawMessage) bool {
	var result struct {
		Action string          `json:"action"`
		Role   string          `json:"role"`
		Roots  json.RawMessage `json:"roots"`
	}
	if !jsonrpc.IsObject(value) || json.Unmarshal(value, &result) != nil {
		return false
	}
	switch method {
	case "elicitation/create":
		return result.Action == "accept" || result.Action == "decline" || result.Action == "cancel"
	case "sampling/createMessage":
		return result.Role != ""
	}
	return result.Roots != nil
}
