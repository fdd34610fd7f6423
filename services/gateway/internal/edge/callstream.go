package edge

import (
	"net/http"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// quiet is how long an answer may say nothing before its client gets a first sign.
const quiet = time.Second

// callStream writes the answer to one call. While the agent says nothing it shows signs
// of life, the first of which is an id for clients that take it: without one they could
// not ask for the rest.
type callStream struct {
	*stream
	first sessions.EventID // zero: none

	mu     sync.Mutex
	begun  bool
	gone   bool // the client is, or the answer is over
	passed int  // bytes of a long event that is not at its end
	timer  *time.Timer
}

func beginAnswer(w http.ResponseWriter, res *http.Response, keepAlive time.Duration) *callStream {
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	streamHeaders(w)
	w.WriteHeader(res.StatusCode)
	c := &callStream{stream: newStream(w, keepAlive)}
	c.mu.Lock() // live reads the timer
	defer c.mu.Unlock()
	c.timer = time.AfterFunc(min(quiet, keepAlive), c.live)
	return c
}

// live shows a sign of life.
func (c *callStream) live() {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
		return
	case c.passed > 0: // the event itself is a sign
	case !c.begun && c.first != (sessions.EventID{}):
		c.gone = !c.prime(c.first)
	default:
		c.gone = !c.comment()
	}
	c.begun = true
	c.timer.Reset(c.keepAlive)
}

// part writes what there is of a long event, before the rest is there.
func (c *callStream) part(id sessions.EventID, raw []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
	case c.passed > 0:
		c.gone = !c.write(raw[c.passed:])
		c.passed = len(raw)
	default:
		if at := sessions.DataAt(raw); at >= 0 && jsonrpc.IsResponse(raw[at:]) { // others may name requests
			c.gone = !c.write(sessions.AppendHead(appendID(c.head(0), id), "message"), raw[at:])
			c.passed = len(raw)
		}
	}
}

// put writes a message, or the rest of it, unless the client has gone.
func (c *callStream) put(id sessions.EventID, e sessions.Event) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.gone:
	case c.passed > 0:
		c.gone = !c.write(e.Raw[c.passed:])
		c.passed = 0
	default:
		c.gone = !c.writeMessage(c.head(len(e.Data)), id, e.Data)
	}
}

// head is what comes before a message of that size: the stream's first id, once.
func (c *callStream) head(size int) []byte {
	b := make([]byte, 0, headRoom+min(size, smallMessage))
	if !c.begun && c.first != (sessions.EventID{}) {
		b = append(b, primer(c.first)...)
	}
	c.begun = true
	return b
}

// half says whether the client has half an event.
func (c *callStream) half() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.passed > 0
}

func (c *callStream) close() {
	c.timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}
