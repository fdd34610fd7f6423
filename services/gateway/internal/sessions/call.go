package sessions

import (
	"bytes"
	"context"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const (
	// brokenKept is how many calls of one session are known whose client's connection broke,
	// brokenFor for how long, and brokenBytes bounds the answer that is kept of each.
	brokenKept  = 32
	brokenFor   = 10 * time.Minute
	brokenBytes = 256 << 10
)

// Call is a tool call of a client's whose connection may break: the same request in the
// same session (its id and all its bytes) is then the same call, and not another one. A
// call whose answer went out whole is over, and its id is worth nothing: there are clients
// that use one id for all their calls. A nil Call is one that is not looked after.
type Call struct {
	session *Session
	id      string
	body    []byte

	// The session's mu is held for what follows.
	stream *Stream // nil: the answer is none, or has not begun
	reply  []byte  // known, as the error, when it has ended
	err    error
	ended  time.Time
	news   chan struct{} // closed when there is a stream, or the end; nil while nobody waits
	broken bool
	left   bool            // its answer is on its way
	told   bool            // the other replicas know of it
	echo   <-chan struct{} // closed when we have heard of it; nil: it was not told at its beginning
	called string          // its name among all replicas, when it was asked for; as told
}

// Begin notes a call, or finds the one that it repeats.
func (s *Session) Begin(m jsonrpc.Message, body []byte) (c *Call, again bool) {
	if m.Method != "tools/call" || !m.IsRequest() {
		return nil, false
	}
	id := string(m.ID)
	c = &Call{session: s, id: id, body: body}
	s.mu.Lock()
	defer s.mu.Unlock()
	if known := s.calls[id]; known != nil {
		if bytes.Equal(known.body, body) {
			return known, true
		}
		if known.ended.IsZero() {
			return c, false // on its own: the id is taken
		}
	}
	if s.calls == nil {
		s.calls = map[string]*Call{}
	}
	s.calls[id] = c
	if s.ear.elsewhere {
		c.tellFirst()
	}
	return c, false
}

// Known finds a call that is not over.
func (s *Session) Known(id string, body []byte) (*Call, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.calls[id]
	return c, c != nil && bytes.Equal(c.body, body)
}

// In says that the answer is a stream, which is kept for a client whose connection breaks.
func (c *Call) In(stream *Stream) {
	s := c.session
	s.mu.Lock()
	c.stream = stream
	c.wake()
	broken := c.broken
	s.mu.Unlock()
	if broken {
		stream.Orphan()
	}
}

// Broke says that the client's connection broke: it may come again anywhere.
func (c *Call) Broke() {
	s := c.session
	s.mu.Lock()
	c.broken = true
	if c.left && s.calls[c.id] == nil {
		s.calls[c.id] = c // it has not arrived
	}
	if s.calls[c.id] == c {
		c.tell()
	}
	stream := c.stream
	s.mu.Unlock()
	if stream != nil {
		stream.Orphan()
	}
}

// Leaves says that the response is about to be written: a client that reads it may use the
// id again at once.
func (c *Call) Leaves() {
	if c == nil {
		return
	}
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.left = !c.broken; c.left && s.calls[c.id] == c {
		delete(s.calls, c.id)
		c.untell()
	}
}

// wake tells those who wait that there is something new; the session's mu is held.
func (c *Call) wake() {
	if c.news != nil {
		close(c.news)
		c.news = nil
	}
}

// Over ends a call with what was answered. It is forgotten when that has arrived, or when
// the agent has not begun it.
func (c *Call) Over(reply []byte, err error, forget bool) {
	if c == nil {
		return
	}
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	c.reply, c.err, c.ended = reply, err, time.Now()
	if len(reply) > brokenBytes {
		c.reply, c.err = nil, fault.Conflict.Errorf("the call has been made; its answer is too large to be kept")
	}
	c.wake()
	switch {
	case s.calls[c.id] != c:
	case forget:
		delete(s.calls, c.id)
		c.untell()
	default:
		s.forgetBroken(c.ended)
	}
}

// Forget ends the memory of a call whose answer has arrived after all.
func (c *Call) Forget() {
	s := c.session
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls[c.id] == c && !c.ended.IsZero() {
		delete(s.calls, c.id)
		c.untell()
	}
}

// forgetBroken drops the oldest calls whose client never came back; s.mu is held.
func (s *Session) forgetBroken(now time.Time) {
	for {
		var oldest *Call
		broken := 0
		for _, c := range s.calls {
			if c.ended.IsZero() {
				continue
			}
			if broken++; oldest == nil || c.ended.Before(oldest.ended) {
				oldest = c
			}
		}
		if oldest == nil || broken <= brokenKept && now.Sub(oldest.ended) < brokenFor {
			return
		}
		delete(s.calls, oldest.id)
		oldest.untell()
	}
}

// Wait waits for the answer: a stream as soon as there is one, else the response.
func (c *Call) Wait(ctx context.Context) (stream *Stream, reply []byte, err error) {
	for {
		c.session.mu.Lock()
		stream, reply, err = c.stream, c.reply, c.err
		ended := !c.ended.IsZero()
		if c.news == nil {
			c.news = make(chan struct{})
		}
		news := c.news
		c.session.mu.Unlock()
		if stream != nil {
			if _, _, whole := stream.Since(0); whole {
				return stream, nil, nil
			}
		}
		if ended {
			return nil, reply, err
		}
		select {
		case <-news:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}
