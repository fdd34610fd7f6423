package bridge

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

var gone = &modern.Refusal{Status: http.StatusRequestTimeout, Code: jsonrpc.CodeInternal, Message: "the client has gone"}

// moved says that another replica reads the call, or that its record has to say how it
// ended.
var moved = &modern.Refusal{Status: http.StatusServiceUnavailable, Code: jsonrpc.CodeInternal, Message: "the call is at another replica; try again"}

// goOn waits with the client for what its call leads to; round is that of the state it
// brought, 0 with the first request.
func (b *Bridge) goOn(ctx context.Context, c *call, r modern.Request, round int, to Client) (json.RawMessage, *modern.Refusal) {
	c.waiting.Add(1)
	defer c.waiting.Add(-1)
	select {
	case c.attended <- struct{}{}:
	case <-ctx.Done():
		return nil, gone
	}
	defer func() { <-c.attended }()
	c.unwatch()
	defer b.watch(c)
	if c.ctx.Err() != nil || c.ended() != nil {
		return c.final()
	}
	c.concern(r)
	if round == 0 {
		return b.attend(ctx, c, r, to)
	}
	answered, refusal := b.take(ctx, c, round, r.InputResponses)
	switch {
	case refusal != nil:
		return nil, refusal
	case c.asking() && answered:
		return b.park(ctx, c, to)
	case c.asking():
		return b.present(c), nil
	case c.isLost():
		b.rerun(c, r)
	}
	return b.attend(ctx, c, r, to)
}

// attend waits with the client for what the agent says next.
func (b *Bridge) attend(ctx context.Context, c *call, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	var enough <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return nil, b.left(c, to)
		case <-enough:
			return b.park(ctx, c, to)
		case <-c.ctx.Done():
			return c.final()
		case e := <-c.events:
			switch {
			case e.done && b.mayRepeat(c, e):
				b.rerun(c, r)
				enough = nil
			case e.done:
				b.conclude(c, c.outcomeOf(e))
				return c.final()
			case b.hear(ctx, c, e) && enough == nil:
				enough = time.After(collect)
			case e.message.Method != "" && !e.message.IsRequest() && wanted(r, e.message):
				to.Tell(e.raw)
			}
		}
	}
}

// final is how a call that is over here ended.
func (c *call) final() (json.RawMessage, *modern.Refusal) {
	if over := c.ended(); over != nil {
		return over.Result, over.Refusal
	}
	return nil, moved
}

// left ends a call whose client has closed its stream, which in this era cancels (MCP
// 2026-07-28, "Cancellation"). A client elsewhere says so by its own replica; another
// that waits for the same call keeps it.
func (b *Bridge) left(c *call, to Client) *modern.Refusal {
	if _, elsewhere := to.(remote); !elsewhere && !b.leaving() && c.waiting.Load() == 1 {
		b.abort(c)
	}
	return gone
}

// abort ends a call that nobody wants any more.
func (b *Bridge) abort(c *call) {
	if c.ended() == nil {
		c.tellCancelled()
		b.conclude(c, outcome{Refusal: c.broken("cancelled", "the call was cancelled: its client closed the stream")})
	}
}

// hear takes in what the agent says; true when it asks the client.
func (b *Bridge) hear(ctx context.Context, c *call, e event) bool {
	c.mu.Lock()
	c.cursor = e.id
	c.mu.Unlock()
	switch {
	case e.message.IsRequest():
		return c.ask(ctx, e.message)
	case e.message.Method == "notifications/cancelled":
		c.withdraw(e.message.Params)
	}
	return false
}

// conclude ends a call, and has its record say how.
func (b *Bridge) conclude(c *call, o outcome) {
	c.mu.Lock()
	first, kept := c.over == nil, c.kept
	if first {
		c.over = &o
	}
	c.mu.Unlock()
	switch {
	case !first:
		return
	case !kept:
		c.end()
		return
	}
	b.work(func() { // its client need not wait; until then it is found here
		defer c.end()
		if err := b.records.finish(c, o); err != nil {
			b.deps.Log.Warn("the end of a call that waited is not written down", "target", c.target, "call", c.id, "error", err)
		}
	})
}

// outcomeOf makes the agent's answer the client's.
func (c *call) outcomeOf(e event) outcome {
	c.mu.Lock()
	lacked, about, asked := c.lacked, c.about, c.round > 0
	c.mu.Unlock()
	r := modern.Request{Message: jsonrpc.Message{Method: about.method}, Name: about.name}
	switch {
	case e.err != nil && asked:
		return outcome{Refusal: c.broken("agent_restarted", "the agent went away while the call waited for its client; it had been started")}
	case e.err != nil:
		return outcome{Refusal: refusalOf(e.err)}
	case len(e.message.Error) > 0 && lacked != nil:
		return outcome{Refusal: modern.Missing(lacked)}
	case len(e.message.Error) > 0:
		return outcome{Refusal: modern.Translate(r, e.message.Error)}
	}
	return outcome{Result: modern.Typed(about.method, e.message.Result)}
}

// broken is the error of a call that was begun and will have no result.
func (c *call) broken(reason, message string) *modern.Refusal {
	return &modern.Refusal{
		Status: http.StatusOK, Code: jsonrpc.CodeInternal, Message: message,
		Data: map[string]any{"reason": reason, "retriable": c.repeatable},
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
