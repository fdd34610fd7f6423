package edge

import (
	"net/http"
	"sync"
	"time"

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

	mu    sync.Mutex
	begun bool
	gone  bool // the client is, or the answer is over
	timer *time.Timer
}

func beginAnswer(w http.ResponseWriter, res *http.Response, keepAlive time.Duration) *callStream {
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	streamHeaders(w)
	w.WriteHeader(res.StatusCode)
	c := &callStream{stream: &stream{w: w, control: http.NewResponseController(w), keepAlive: keepAlive}}
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
	case !c.begun && c.first != (sessions.EventID{}):
		c.gone = !c.prime(c.first)
	default:
		c.gone = !c.comment()
	}
	c.begun = true
	c.timer.Reset(c.keepAlive)
}

// put writes a message, unless the client has gone.
func (c *callStream) put(id sessions.EventID, message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.gone {
		return
	}
	b := make([]byte, 0, headRoom+min(len(message), smallMessage))
	if !c.begun && c.first != (sessions.EventID{}) {
		b = append(b, primer(c.first)...)
	}
	c.begun = true
	c.gone = !c.writeMessage(b, id, message)
}

func (c *callStream) close() {
	c.timer.Stop()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}
