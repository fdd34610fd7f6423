package bridge

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	maxReply = 8 << 20
	// reachPause is how long to wait before an agent that is not there is tried again.
	reachPause = 300 * time.Millisecond
)

// event is one message of the agent's; done with the last one.
type event struct {
	message jsonrpc.Message
	raw     []byte
	id      string
	err     error
	done    bool
}

var errLost = fault.Unavailable.Errorf("the agent went away during the call; it may have been started")

// read gives the request to the agent and follows its answer to the end.
func (c *call) read(l *leg, body []byte, quiet func()) {
	defer func() { l.release(c.leftOpen()) }()
	defer quiet()
	l.loud(c.ctx)
	res, err := l.Send(c.ctx, body, c.settle) //nolint:bodyclose // below, or by follow
	if err != nil {
		c.put(event{err: err, done: true})
		return
	}
	if !sessions.IsEventStream(res) {
		defer res.Body.Close() //nolint:errcheck // read to its end
		c.put(whole(res))
		return
	}
	c.follow(l, res, "")
}

// follow reads a stream to the response; last is the id of the event before it.
func (c *call) follow(l *leg, res *http.Response, last string) {
	defer res.Body.Close()                                                                     //nolint:errcheck // read to its end
	answered, _ := l.ReadAnswer(c.ctx, res, nil, func(e sessions.Event, response bool) error { // how it ended does not matter
		if id := e.ID(); id != "" {
			last = id
		}
		m, err := jsonrpc.Parse(e.Data)
		if err != nil {
			return nil //nolint:nilerr // a comment, or nothing that a client could read
		}
		c.put(event{message: m, raw: e.Data, id: last, done: response})
		return c.ctx.Err()
	})
	if !answered {
		c.put(event{err: errLost, done: true})
	}
}

func (c *call) pause(d time.Duration) bool {
	select {
	case <-c.ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// whole reads an answer that is no stream.
func whole(res *http.Response) event {
	raw, err := io.ReadAll(io.LimitReader(res.Body, maxReply))
	if err != nil {
		return event{err: errLost, done: true}
	}
	m, err := jsonrpc.Parse(raw)
	if err != nil || !m.IsResponse() {
		return event{err: fault.Unavailable.Errorf("the agent answered with %s and no message", res.Status), done: true}
	}
	return event{message: m, raw: raw, done: true}
}

func (c *call) put(e event) {
	select {
	case c.events <- e:
	case <-c.ctx.Done():
	}
}

// reply answers a question of the agent's.
func (c *call) reply(ctx context.Context, response []byte) { c.notify(ctx, response) }
