package stdiomux

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
)

// client is one of those who share the process.
type client struct {
	mux  *Mux
	out  *queue
	drop func() // ends the connection

	// Of these m.mu is the guard.
	able      map[string]json.RawMessage // its capabilities
	greeted   bool                       // it has had the answer to its initialize
	calls     map[string]*call           // by its own id
	questions int                        // that it has not answered
	level     int                        // of log messages, counted from 1; 0: it has not said
	resources map[string]bool            // that it is subscribed to
}

// call is a request on its way.
type call struct {
	number uint64 // its id at the process
	client *client
	id     json.RawMessage // the client's
	token  json.RawMessage // of its progress; the client's
	sent   bool            // the process may have it
}

// ErrFull is for a client beyond Options.MaxClients.
var ErrFull = errors.New("the server has as many clients as it may have")

// Attach serves one client until it ends the connection, or ctx ends, or it does not
// read. It closes the connection.
func (m *Mux) Attach(ctx context.Context, conn io.ReadWriteCloser) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c := &client{mux: m, out: newQueue(m.options.MaxQueue, m.total), drop: cancel, calls: map[string]*call{}, resources: map[string]bool{}}
	closed := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		if closed() {
			_ = conn.Close()
		}
	}()
	if err := m.enter(c); err != nil {
		return err
	}
	written := make(chan struct{})
	go func() {
		defer close(written)
		defer cancel()
		c.write(conn)
	}()
	err := c.read(ctx, conn)
	m.leave(c)
	c.out.close()
	cancel()
	<-written
	return err
}

func (m *Mux) enter(c *client) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.clients) >= m.options.MaxClients {
		return ErrFull
	}
	m.clients = append(m.clients, c)
	return nil
}

// leave tells the process what is over with a client.
func (m *Mux) leave(c *client) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.clients = slices.DeleteFunc(m.clients, func(other *client) bool { return other == c })
	m.waiting = slices.DeleteFunc(m.waiting, func(w waiter) bool { return w.client == c })
	for _, open := range c.calls {
		m.abandon(open, "the client has gone")
	}
	for id, asked := range m.questions {
		if asked == c {
			delete(m.questions, id)
			m.say(failure(json.RawMessage(id), codeGone, "the client has gone"))
		}
	}
	for uri := range c.resources {
		if !m.subscribed(uri) {
			m.say(m.own("resources/unsubscribe", map[string]any{"uri": uri}))
		}
	}
}

// abandon tells the process not to go on with a call. m.mu is held.
func (m *Mux) abandon(c *call, why string) {
	m.forget(c)
	if c.sent {
		m.say(notice("notifications/cancelled", map[string]any{"requestId": c.number, "reason": why}))
	}
}

// own is a request of the mux, whose answer nobody waits for. m.mu is held.
func (m *Mux) own(method string, params any) message {
	n := notice(method, params)
	n.id = number(m.number())
	return n
}

func notice(method string, params any) message {
	raw, _ := json.Marshal(params) //nolint:errchkjson // numbers and strings
	return message{method: method, params: raw}
}

func number(n uint64) json.RawMessage { return fmt.Append(nil, n) }

func (c *client) write(conn io.Writer) {
	for {
		i, err := c.out.take(context.Background())
		if err != nil {
			return
		}
		if _, err := conn.Write(i.line); err != nil {
			return
		}
	}
}

func (c *client) read(ctx context.Context, conn io.Reader) error {
	in := newLines(conn, c.mux.options.MaxLine)
	for {
		line, err := in.next()
		var tooLong *long
		switch {
		case errors.As(err, &tooLong):
			c.refuse(failure(tooLong.id(), codeInvalid, fmt.Sprintf("the message has more than %d bytes", c.mux.options.MaxLine)))
			continue
		case errors.Is(err, io.EOF) || ctx.Err() != nil:
			return nil //nolint:nilerr // the end that was to come
		case err != nil:
			return err
		case len(line) == 0:
			continue
		}
		for _, raw := range split(line) {
			c.take(ctx, raw)
		}
	}
}

// refuse answers what could not be read.
func (c *client) refuse(answer message) {
	c.mux.mu.Lock()
	defer c.mux.mu.Unlock()
	c.answer(answer)
}

// answer sends what a client waits for; one that does not read is dropped. m.mu is held.
func (c *client) answer(m message) {
	if !c.out.put(item{line: m.encode()}) {
		c.drop()
	}
}

// tell sends a notification, which one that does not read may miss. m.mu is held.
func (c *client) tell(m message) { c.out.put(item{line: m.encode()}) }
