package stdiomux

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// Process is a process of the server.
type Process struct {
	Stdout io.Reader
	Stdin  io.WriteCloser
	// Kill ends the process, and with it Stdout.
	Kill func()
	// Why says how it ended; it is asked after the end of Stdout.
	Why func() string
	// Ready is called once it has shaken hands; nil: nobody is told.
	Ready func()
}

// session is the time of one process.
type session struct {
	process Process
	first   chan []byte   // its initialize
	greeted chan struct{} // closed after the handshake
	number  uint64        // of the initialize that is under way
	begun   bool          // initialize was sent
	alarm   *time.Timer
	why     string // what the mux ended it for
}

// end gives up a process. m.mu is held.
func (s *session) end(why string) {
	s.why = cmp.Or(s.why, why)
	s.process.Kill()
}

// Serve speaks with one process until that ends. It returns why it ended.
func (m *Mux) Serve(ctx context.Context, p Process) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, p.Kill)()
	s := &session{process: p, first: make(chan []byte, 1), greeted: make(chan struct{})}
	m.mu.Lock()
	m.session, m.reason = s, ""
	if m.hello != nil {
		m.shake(s)
	}
	m.mu.Unlock()
	written := make(chan struct{})
	go func() {
		defer close(written)
		m.feed(ctx, s)
	}()
	m.listen(p.Stdout)
	cancel()
	_ = p.Stdin.Close()
	<-written
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.ended(s, p.Why)
}

// ended fails what the process had. m.mu is held.
func (m *Mux) ended(s *session, why func() string) error {
	if s.alarm != nil {
		s.alarm.Stop()
	}
	m.session = nil
	// The exit may take a moment to be known, and callers are not to wait for the lock.
	m.mu.Unlock()
	told := why()
	m.mu.Lock()
	reason := cmp.Or(s.why, told)
	for _, c := range m.calls {
		if c.sent {
			m.fail(c, m.gone("ended while this call was under way: "+reason))
		}
	}
	for id, c := range m.questions {
		c.tell(notice("notifications/cancelled", map[string]any{"requestId": json.RawMessage(id), "reason": m.gone("has ended")}))
		c.questions = 0
	}
	clear(m.questions)
	// Answers and notifications were meant for that process; calls can go to the next.
	m.in.keep(func(i item) bool { return i.call != nil })
	return errors.New(reason)
}

// shake sends the first client's initialize to the process. m.mu is held.
func (m *Mux) shake(s *session) {
	s.begun, s.number = true, m.number()
	s.alarm = time.AfterFunc(m.options.Patience, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if s.number != 0 {
			s.end(fmt.Sprintf("it did not answer initialize within %s", m.options.Patience))
		}
	})
	select {
	case s.first <- message{id: number(s.number), method: "initialize", params: m.hello}.encode():
	default:
		s.end("it answered before it was asked")
	}
}

// greet answers a client's initialize, at once or when the process has. m.mu is held.
func (m *Mux) greet(c *client, msg message) {
	c.able = object(object(msg.params)["capabilities"])
	if m.reason != "" {
		c.answer(failure(msg.id, codeGone, m.reason))
		return
	}
	if m.hello == nil {
		m.hello = with(msg.params, "capabilities", json.RawMessage(everything))
	}
	if s := m.session; s != nil && m.welcome != nil && closed(s.greeted) {
		m.welcomed(waiter{c, msg.id})
		return
	}
	m.waiting = append(m.waiting, waiter{c, msg.id})
	if m.session != nil && !m.session.begun {
		m.shake(m.session)
	}
}

func (m *Mux) welcomed(w waiter) {
	w.client.greeted = true
	w.client.answer(message{id: w.id, result: m.welcome})
}

// shaken takes the process's answer to initialize. m.mu is held.
func (m *Mux) shaken(s *session, msg message) {
	s.alarm.Stop()
	s.number = 0
	waiting := m.waiting
	m.waiting = nil
	if msg.failure != nil {
		if m.welcome != nil {
			s.end("it refused to be initialized again") // those who wait for it would wait for ever
		}
		// The next client may say what suits the server better.
		s.begun, m.hello = false, nil
		for _, w := range waiting {
			w.client.answer(message{id: w.id, failure: msg.failure})
		}
		return
	}
	m.welcome = msg.result
	for _, w := range waiting {
		m.welcomed(w)
	}
	close(s.greeted)
}

func closed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

// feed writes to the process what the clients have for it.
func (m *Mux) feed(ctx context.Context, s *session) {
	if !s.handshake(ctx) {
		return
	}
	if s.process.Ready != nil {
		s.process.Ready()
	}
	for _, line := range m.again() {
		if _, err := s.process.Stdin.Write(line); err != nil {
			return
		}
	}
	for {
		i, err := m.in.take(ctx)
		if err != nil {
			return
		}
		if i.call != nil && !m.sending(i.call) {
			continue
		}
		if _, err := s.process.Stdin.Write(i.line); err != nil {
			return
		}
	}
}

// handshake writes what is first, as often as it must; true when the process has agreed.
func (s *session) handshake(ctx context.Context) bool {
	for {
		select {
		case line := <-s.first:
			if _, err := s.process.Stdin.Write(line); err != nil {
				return false
			}
		case <-s.greeted:
			return true
		case <-ctx.Done():
			return false
		}
	}
}

// sending marks a call; false when it is over.
func (m *Mux) sending(c *call) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	c.sent = true
	return m.calls[c.number] == c
}

// again is what a process is told after the handshake: also what clients have said to
// one before it.
func (m *Mux) again() [][]byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	said := [][]byte{notice("notifications/initialized", struct{}{}).encode()}
	if low := m.lowest(); low > 0 {
		said = append(said, m.own("logging/setLevel", map[string]any{"level": levels[low-1]}).encode())
	}
	known := map[string]bool{}
	for _, c := range m.clients {
		for uri := range c.resources {
			if !known[uri] {
				known[uri] = true
				said = append(said, m.own("resources/subscribe", map[string]any{"uri": uri}).encode())
			}
		}
	}
	return said
}
