package sessions

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/awake"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// ErrSilent says that the server offers no stream of its own.
var ErrSilent = errors.New("the agent has no stream of its own")

// Listen opens the server's own stream of notifications and requests. It ends when the
// server has begun another session at the same place: nothing more is said in this one.
// That somebody listens is no use of the agent after the stream's end.
func (u *Upstream) Listen(ctx context.Context) (*http.Response, error) {
	ctx = awake.Quiet(ctx)
	until, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	c, err := u.current(until)
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(ctx)
	req, err := u.request(ctx, http.MethodGet, c, nil)
	if err != nil {
		stop()
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := u.client.Do(req)
	if err != nil {
		stop()
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		res.Body = body{res.Body, stop}
		u.hear(c, stop)
		u.hearAt(u.Route())
		return res, nil
	}
	stop()
	_ = res.Body.Close()
	switch res.StatusCode {
	case http.StatusNotFound:
		u.forget(c.session)
	case http.StatusMethodNotAllowed:
		return nil, ErrSilent
	}
	return nil, fmt.Errorf("the agent answered the stream with %s", res.Status)
}

// hearing is the stream that is open.
type hearing struct {
	in   call
	stop context.CancelFunc
}

// body is a stream's body.
type body struct {
	io.ReadCloser
	stop context.CancelFunc
}

// Close ends the request, too.
func (b body) Close() error {
	b.stop()
	return b.ReadCloser.Close()
}

// hearAt ends the stream at a server that goes on, when the conversation is with another
// version by now: a rollout has begun to give that to the client. One that is replaced ends
// its streams itself, after what it still has to say.
func (u *Upstream) hearAt(route *routes.Route) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.hearing.stop != nil && route != nil && route.Rollout != "" && !route.Endpoint.Serves(u.hearing.in.url) {
		u.hearing.stop()
	}
}

// Left says whether the conversation is to go on at another server than at one where it was.
func (u *Upstream) Left(at Place) bool {
	route := u.Route()
	return route != nil && route.Endpoint.Up() && !route.Endpoint.Serves(at.URL)
}

func (u *Upstream) hear(c call, stop context.CancelFunc) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.session != c.session {
		stop() // it is over already
	}
	u.hearing = hearing{c, stop}
}
