package stdiomux

import (
	"context"
	"encoding/json"
	"slices"
)

// take acts on one message of a client.
func (c *client) take(ctx context.Context, raw []byte) {
	msg, err := parse(raw)
	switch {
	case err != nil:
		c.refuse(failure(nil, codeParse, err.Error()))
	case msg.request():
		c.request(ctx, msg)
	case msg.method != "":
		c.notify(ctx, msg)
	default:
		c.reply(msg)
	}
}

func (c *client) request(ctx context.Context, msg message) {
	m := c.mux
	m.mu.Lock()
	out, begun := c.admit(msg)
	m.mu.Unlock()
	if begun != nil {
		_ = m.in.wait(ctx, item{line: out.encode(), call: begun}) // the client is leaving, and takes its calls along
	}
}

// admit answers what needs no process, and registers a call for what does. m.mu is held.
func (c *client) admit(msg message) (message, *call) {
	m := c.mux
	switch {
	case msg.method == "initialize":
		m.greet(c, msg)
		return msg, nil
	case msg.method == "ping" && (m.session == nil || !c.greeted):
		c.answer(message{id: msg.id, result: json.RawMessage("{}")})
		return msg, nil
	case !c.greeted:
		c.answer(failure(msg.id, codeInvalid, "the first request must be initialize"))
		return msg, nil
	case m.reason != "":
		c.answer(failure(msg.id, codeGone, m.reason))
		return msg, nil
	case c.calls[string(msg.id)] != nil:
		c.answer(failure(msg.id, codeInvalid, "a request with this id is under way"))
		return msg, nil
	case len(c.calls) >= m.options.MaxCalls:
		c.answer(failure(msg.id, codeGone, "too many calls of this client are under way; wait for some to end"))
		return msg, nil
	case !c.note(&msg):
		c.answer(message{id: msg.id, result: json.RawMessage("{}")})
		return msg, nil
	}
	open := &call{number: m.number(), client: c, id: msg.id}
	m.calls[open.number], c.calls[string(msg.id)] = open, open
	msg.id = number(open.number)
	msg.params, open.token = retoken(msg.params, open.number)
	return msg, open
}

// retoken puts the number in place of the client's progress token.
func retoken(params json.RawMessage, n uint64) (changed, token json.RawMessage) {
	meta := object(object(params)["_meta"])
	token = meta["progressToken"]
	if !validID(token) {
		return params, nil
	}
	meta["progressToken"] = number(n)
	return with(params, "_meta", encodeObject(meta)), token
}

// note remembers what the process will have to be told again, or not any more; false
// when it need not be told now. m.mu is held.
func (c *client) note(msg *message) bool {
	var params struct {
		URI   string `json:"uri"`
		Level string `json:"level"`
	}
	switch msg.method {
	case "logging/setLevel":
		_ = json.Unmarshal(msg.params, &params) // the process says what is wrong
		c.level = levelOf(params.Level)
		if low := c.mux.lowest(); low > 0 && c.level > 0 {
			msg.params = with(msg.params, "level", text(levels[low-1]))
		}
	case "resources/subscribe":
		if json.Unmarshal(msg.params, &params) == nil && len(c.resources) < c.mux.options.MaxCalls {
			c.resources[params.URI] = true
		}
	case "resources/unsubscribe":
		_ = json.Unmarshal(msg.params, &params) // as above
		delete(c.resources, params.URI)
		return !c.mux.subscribed(params.URI)
	}
	return true
}

// levels of log messages, the chattiest first.
var levels = []string{"debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}

func levelOf(name string) int { return slices.Index(levels, name) + 1 }

// lowest is the chattiest level that a client wants; 0: none has said. m.mu is held.
func (m *Mux) lowest() int {
	low := 0
	for _, c := range m.clients {
		if c.level > 0 && (low == 0 || c.level < low) {
			low = c.level
		}
	}
	return low
}

func (m *Mux) subscribed(uri string) bool {
	return slices.ContainsFunc(m.clients, func(c *client) bool { return c.resources[uri] })
}

func (c *client) notify(ctx context.Context, msg message) {
	m := c.mux
	switch msg.method {
	case "notifications/initialized": // the mux has said so itself
	case "notifications/cancelled":
		m.mu.Lock()
		defer m.mu.Unlock()
		var params struct {
			ID     json.RawMessage `json:"requestId"`
			Reason string          `json:"reason"`
		}
		_ = json.Unmarshal(msg.params, &params) // a call of no id is not found
		if open := c.calls[string(params.ID)]; open != nil {
			m.abandon(open, params.Reason)
		}
	default:
		m.mu.Lock()
		drop := m.session == nil || !c.greeted
		m.mu.Unlock()
		if !drop {
			_ = m.in.wait(ctx, item{line: msg.encode()}) // the client is leaving
		}
	}
}

// reply brings an answer to the process, if it is the one who was asked.
func (c *client) reply(msg message) {
	m := c.mux
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.questions[string(msg.id)] == c {
		delete(m.questions, string(msg.id))
		c.questions--
		m.say(msg)
	}
}
