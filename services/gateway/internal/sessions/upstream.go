package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const (
	handshakeLimit = 20 * time.Second
	// knockEvery tries an agent again that has just gone, before the scheduler says so.
	knockEvery = 200 * time.Millisecond
)

// Upstream is a session's other half: the conversation with the agent's server, which
// is begun again, with the client's own words, when the server has forgotten it.
type Upstream struct {
	client *http.Client
	table  *routes.Table
	target string
	// wait is how long a call waits for an agent that is starting.
	wait time.Duration
	// begun lets one caller begin the conversation for all who wait.
	begun singleflight.Group

	mu         sync.Mutex
	initialize []byte // the client's request
	url        string // where the server that knows us takes messages
	session    string
	over       string // a session that the server does not know any more
	protocol   string
	peers      Peers
}

// Peers let several processes use one conversation with a server.
type Peers interface {
	// Current is the session at url that the others use; empty when there is none, or
	// when it is the one that is over.
	Current(ctx context.Context, url, over string) (session string)
	// Agree offers a session, and tells which one all use.
	Agree(ctx context.Context, url, session, over string) (winner string)
}

// Share lets others use the conversation.
func (u *Upstream) Share(peers Peers) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.peers = peers
}

// call is what one request needs to know.
type call struct{ url, session, protocol string }

// Begin passes the client's initialize on and returns the server's answer as it came.
func (u *Upstream) Begin(ctx context.Context, body []byte) (*http.Response, error) {
	until, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	for {
		route, err := u.table.Await(until, u.target)
		if err != nil {
			return nil, notStarted(ctx, err)
		}
		res, err := u.post(ctx, call{url: route.Endpoint.MCPURL()}, body)
		if err == nil {
			u.mu.Lock()
			u.initialize, u.url, u.session = body, route.Endpoint.MCPURL(), res.Header.Get(HeaderSession)
			u.mu.Unlock()
			return res, nil
		}
		if !refused(err) || !u.knock(until) {
			return nil, notStarted(ctx, err)
		}
	}
}

// Adopt keeps the client's initialize for the time when there is a server to say it to.
func (u *Upstream) Adopt(body []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.initialize, u.url, u.session = body, "", ""
}

// Agreed notes the protocol version that the server has chosen.
func (u *Upstream) Agreed(version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.protocol = version
}

// Send passes a message on. When the server does not know the session any more (it
// was restarted or replaced), the conversation is begun again and the message sent
// once more: a server that says 404, or takes no connection, has not begun it.
func (u *Upstream) Send(ctx context.Context, body []byte) (*http.Response, error) {
	until, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	for again := false; ; {
		c, err := u.current(until)
		if err != nil {
			return nil, notStarted(ctx, err)
		}
		res, err := u.post(ctx, c, body)
		switch {
		case err == nil && res.StatusCode != http.StatusNotFound:
			return res, nil
		case err == nil:
			_ = res.Body.Close()
			if again {
				return nil, notStarted(ctx, errUnknownSession)
			}
			again = true
		case !refused(err):
			return nil, maybeStarted(ctx, err)
		case !u.knock(until):
			return nil, notStarted(ctx, err)
		}
		u.forget(c.session)
	}
}

var errUnknownSession = errors.New("the agent does not know the session that it has just begun")

// Notify passes on what needs no answer, if the server is there that it is meant for.
// One that has gone has nothing left to be told.
func (u *Upstream) Notify(ctx context.Context, body []byte) {
	route := u.table.Target(u.target)
	if route == nil || !route.Endpoint.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	live := route.Endpoint.MCPURL()
	if u.call().url != live && !u.catchUp(ctx, live) {
		return
	}
	c := u.call()
	if u.notify(ctx, c, body) {
		return
	}
	u.forget(c.session)
	if u.catchUp(ctx, live) {
		u.notify(ctx, u.call(), body)
	}
}

// notify is false when the server does not know the session.
func (u *Upstream) notify(ctx context.Context, c call, body []byte) bool {
	res, err := u.post(ctx, c, body)
	if err != nil {
		return true // nobody knows whether it came
	}
	_ = res.Body.Close()
	return res.StatusCode != http.StatusNotFound
}

// catchUp goes on with the session at url that the others use, if there is one.
func (u *Upstream) catchUp(ctx context.Context, url string) bool {
	u.mu.Lock()
	over, peers := u.over, u.peers
	u.mu.Unlock()
	if peers == nil {
		return false
	}
	session := peers.Current(ctx, url, over)
	if session != "" {
		u.settle(url, session)
	}
	return session != ""
}

// ErrSilent says that the server offers no stream of its own.
var ErrSilent = errors.New("the agent has no stream of its own")

// Listen opens the server's own stream of notifications and requests.
func (u *Upstream) Listen(ctx context.Context) (*http.Response, error) {
	until, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	c, err := u.current(until)
	if err != nil {
		return nil, err
	}
	req, err := u.request(ctx, http.MethodGet, c, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	_ = res.Body.Close()
	switch res.StatusCode {
	case http.StatusNotFound:
		u.forget(c.session)
	case http.StatusMethodNotAllowed:
		return nil, ErrSilent
	}
	return nil, fmt.Errorf("the agent answered the stream with %s", res.Status)
}

// End tells the server that the session is over.
func (u *Upstream) End(ctx context.Context) {
	if c := u.call(); c.session != "" {
		u.bye(ctx, c)
	}
}

// Protocol is the version that was agreed on.
func (u *Upstream) Protocol() string { return u.call().protocol }

func (u *Upstream) call() call {
	u.mu.Lock()
	defer u.mu.Unlock()
	return call{url: u.url, session: u.session, protocol: u.protocol}
}

// knock waits a moment before an agent is tried again; false when there is no time left.
func (u *Upstream) knock(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return false
	case <-u.table.Changed():
	case <-time.After(knockEvery):
	}
	return true
}

// forget makes the next call begin the conversation anew, unless one has already.
func (u *Upstream) forget(session string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.session == session {
		u.url, u.over = "", session
	}
}

func (u *Upstream) post(ctx context.Context, c call, body []byte) (*http.Response, error) {
	req, err := u.request(ctx, http.MethodPost, c, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", acceptBoth)
	return u.client.Do(req)
}
