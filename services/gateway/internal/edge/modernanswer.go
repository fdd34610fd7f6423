package edge

import (
	"encoding/json"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

var retryAfter = strconv.Itoa(retrySeconds)

// modernAnswer is the answer to one request: one JSON object, or a stream when the
// agent has something to say before it.
type modernAnswer struct {
	w  http.ResponseWriter
	id json.RawMessage

	mu     sync.Mutex
	stream *stream
	over   bool
}

// Stream makes the answer a stream, as the agent's is.
func (a *modernAnswer) Stream() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.open()
}

// Tell passes a notification on, at once.
func (a *modernAnswer) Tell(raw []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open() {
		a.stream.event("message", raw)
	}
}

// open makes the answer a stream.
func (a *modernAnswer) open() bool {
	if a.stream == nil && !a.over {
		a.stream, _ = openStream(a.w, time.Hour)
	}
	return a.stream != nil && !a.over
}

// keepAlive shows signs of life while the answer takes long, and returns how to stop.
func (a *modernAnswer) keepAlive(every time.Duration) (stop func()) {
	var timer *time.Timer
	a.mu.Lock() // the function reads it
	defer a.mu.Unlock()
	timer = time.AfterFunc(every, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.open() {
			a.stream.comment()
			timer.Reset(every)
		}
	})
	return func() { timer.Stop() }
}

// close ends an answer that said all in its stream.
func (a *modernAnswer) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}

// say gives a response as it is.
func (a *modernAnswer) say(response []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	if a.stream == nil {
		writeJSON(a.w, response)
		return
	}
	a.stream.event("message", response)
}

// finish gives the response.
func (a *modernAnswer) finish(result json.RawMessage, refusal *modern.Refusal) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
	switch {
	case a.stream == nil && refusal != nil:
		refuseModern(a.w, a.id, refusal)
	case a.stream == nil:
		writeJSON(a.w, jsonrpc.NewResult(a.id, result))
	case refusal != nil:
		a.stream.event("message", refusal.Body(a.id))
	default:
		a.stream.event("message", jsonrpc.NewResult(a.id, result))
	}
}
