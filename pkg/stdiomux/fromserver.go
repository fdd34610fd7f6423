package stdiomux

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// listen acts on what the process says until it says no more.
func (m *Mux) listen(stdout io.Reader) {
	out := newLines(stdout, m.options.MaxLine)
	for {
		line, err := out.next()
		var tooLong *long
		switch {
		case errors.As(err, &tooLong):
			m.overlong(tooLong)
			continue
		case err != nil:
			return
		case len(line) == 0:
			continue
		}
		for _, raw := range split(line) {
			m.heard(raw)
		}
	}
}

// overlong fails the call whose answer was too long. When that cannot be seen, the
// process is ended: a caller would wait for ever.
func (m *Mux) overlong(l *long) {
	m.mu.Lock()
	defer m.mu.Unlock()
	open := m.called(l.id())
	if open == nil {
		m.session.end(fmt.Sprintf("it wrote a line of more than %d bytes", m.options.MaxLine))
		return
	}
	m.forget(open)
	open.client.answer(failure(open.id, codeInternal, fmt.Sprintf("the answer of the MCP server %s has more than %d bytes", m.options.Name, m.options.MaxLine)))
}

// called finds the call of an id of ours; nil when it is over. m.mu is held.
func (m *Mux) called(id json.RawMessage) *call {
	n, err := strconv.ParseUint(string(id), 10, 64)
	if err != nil {
		return nil
	}
	return m.calls[n]
}

func (m *Mux) heard(raw []byte) {
	msg, err := parse(raw)
	if err != nil {
		m.options.Output(raw)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	switch {
	case msg.request():
		m.asked(msg)
	case msg.method != "":
		m.told(msg)
	default:
		m.answered(msg)
	}
}

func (m *Mux) answered(msg message) {
	if s := m.session; s.number != 0 && string(msg.id) == string(number(s.number)) {
		m.shaken(s, msg)
		return
	}
	open := m.called(msg.id)
	if open == nil {
		return // the client has gone, or gave the call up
	}
	m.forget(open)
	msg.id = open.id
	open.client.answer(msg)
}

// asked brings a question of the process to the client it belongs to.
func (m *Mux) asked(msg message) {
	refuse := func(code int, why string) { m.say(failure(msg.id, code, why)) }
	if msg.method == "ping" {
		m.say(message{id: msg.id, result: json.RawMessage("{}")})
		return
	}
	c, why := m.askable(msg.method)
	switch {
	case c == nil:
		refuse(codeInternal, why)
	case !c.takes(msg.method):
		refuse(codeUnknown, "the client does not take "+msg.method)
	case m.questions[string(msg.id)] != nil || c.questions >= m.options.MaxCalls:
		refuse(codeInvalid, "too many questions are open, or one with this id")
	default:
		m.questions[string(msg.id)] = c
		c.questions++
		c.answer(msg)
	}
}

// askable is the client that a question is for; else it says why there is none.
func (m *Mux) askable(method string) (*client, string) {
	busy := m.busy()
	candidates := busy
	if len(busy) == 0 {
		candidates = m.greeted()
	}
	if method == "roots/list" && len(candidates) > 0 { // is not about a call; of several any answer is as right
		return candidates[max(0, slices.IndexFunc(candidates, func(c *client) bool { return c.takes(method) }))], ""
	}
	switch len(candidates) {
	case 0:
		return nil, "nobody is there to be asked"
	case 1:
		return candidates[0], ""
	}
	return nil, "calls of several clients are under way, and MCP does not say whose question this is; " +
		"give each client a process of its own (shared: false)"
}

// busy are the clients whose calls the process has, in the order in which they came.
func (m *Mux) busy() []*client {
	var found []*client
	for _, c := range m.clients {
		for _, open := range c.calls {
			if open.sent {
				found = append(found, c)
				break
			}
		}
	}
	return found
}

func (m *Mux) greeted() []*client {
	return slices.DeleteFunc(slices.Clone(m.clients), func(c *client) bool { return !c.greeted })
}

// takes says whether a client has declared the capability for a question.
func (c *client) takes(method string) bool {
	name, _, _ := strings.Cut(method, "/")
	_, able := c.able[name]
	return able || !slices.Contains([]string{"roots", "sampling", "elicitation"}, name)
}

// told brings a notification of the process to those whom it concerns.
func (m *Mux) told(msg message) {
	var params struct {
		Token json.RawMessage `json:"progressToken"`
		ID    json.RawMessage `json:"requestId"`
		Level string          `json:"level"`
		URI   string          `json:"uri"`
	}
	_ = json.Unmarshal(msg.params, &params) // what is missing concerns nobody
	switch msg.method {
	case "notifications/progress":
		if open := m.called(params.Token); open != nil && open.token != nil {
			msg.params = with(msg.params, "progressToken", open.token)
			open.client.tell(msg)
		}
	case "notifications/cancelled":
		if c := m.questions[string(params.ID)]; c != nil {
			delete(m.questions, string(params.ID))
			c.questions--
			c.answer(msg)
		}
	case "notifications/resources/updated":
		for _, c := range m.subscribers(params.URI) {
			c.answer(msg)
		}
	case "notifications/message":
		level := levelOf(params.Level)
		for _, c := range m.concerned() {
			if c.level == 0 || level == 0 || level >= c.level {
				c.tell(msg)
			}
		}
	default: // lists that have changed, and what is not known here
		for _, c := range m.greeted() {
			c.answer(msg)
		}
	}
}

// concerned are the clients that are served just now, else all.
func (m *Mux) concerned() []*client {
	if busy := m.busy(); len(busy) > 0 {
		return busy
	}
	return m.greeted()
}

// subscribers of a resource, else of any: an update may name a part of one.
func (m *Mux) subscribers(uri string) []*client {
	var exact, some []*client
	for _, c := range m.clients {
		if c.resources[uri] {
			exact = append(exact, c)
		}
		if len(c.resources) > 0 {
			some = append(some, c)
		}
	}
	if len(exact) > 0 {
		return exact
	}
	return some
}
