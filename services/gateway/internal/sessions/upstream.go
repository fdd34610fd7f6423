package sessions

import (
	"bytes"
	"context"
	"errors"
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
	// sessionTries is in how many sessions a message is tried: ours and that of the others may
	// both be forgotten.
	sessionTries = 3
)

// Upstream is a session's other half: the conversation with the agent's server, which
// is begun again, with the client's own words, when the server has forgotten it.
type Upstream struct {
	client *http.Client
	table  *routes.Table
	target string
	pick   routes.Pick
	// wait is how long a call waits for an agent that is starting.
	wait time.Duration
	// begun lets one caller begin the conversation for all who wait.
	begun singleflight.Group

	mu         sync.Mutex
	initialize []byte // the client's request
	url        string // where the server that knows us takes messages
	wanted     string // where to begin, if a server is there
	session    string
	over       string // a session that the server does not know any more
	protocol   string
	peers      Peers
	hearing    hearing
	remind     Reminder
	asked      int64   // requests of ours
	former     []Place // where the conversation was before, oldest first
}

// Peers let several processes use one conversation with a server.
type Peers interface {
	// Current is the session that the others use at one of the servers that serve; none
	// when it is the one that is over.
	Current(ctx context.Context, serves func(url string) bool, over string) (at Place, ok bool)
	// Places are the sessions that the others have used, those before the last included.
	Places(ctx context.Context) []Place
	// Agree offers a session, and tells which one all use.
	Agree(ctx context.Context, serves func(url string) bool, at Place, over string) (winner Place)
}

// Route leads to the version that the conversation is with from now on; nil when the app
// is gone.
func (u *Upstream) Route() *routes.Route { return u.table.Target(u.target).For(u.pick) }

// Pick decides which version that is.
func (u *Upstream) Pick() routes.Pick { return u.pick }

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
	defer u.table.Hold(ctx, u.target)()
	until, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	for {
		route, err := u.table.Await(until, u.target, u.pick)
		if err != nil {
			return nil, notStarted(ctx, err)
		}
		url := u.at(route.Endpoint)
		res, err := u.post(ctx, call{url: url}, body)
		if err == nil {
			u.mu.Lock()
			u.initialize, u.url, u.session = body, url, res.Header.Get(HeaderSession)
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

// Prefer has the conversation begun at a server, as long as it is one of the version's.
func (u *Upstream) Prefer(url string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.wanted = url
}

// at is where a conversation with a version begins.
func (u *Upstream) at(e *routes.Endpoint) string {
	u.mu.Lock()
	wanted := u.wanted
	u.mu.Unlock()
	if wanted != "" && e.Serves(wanted) {
		return wanted
	}
	return u.table.Choose(e)
}

// Agreed notes the protocol version that the server has chosen.
func (u *Upstream) Agreed(version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.protocol = version
}

// Send passes a message on. When the server does not know the session any more (it
// was restarted or replaced), the conversation is begun again and the message sent
// once more: a server that says 404, or takes no connection, has not begun it. Sent, when
// it is given, hears before each try where the message goes.
func (u *Upstream) Send(ctx context.Context, body []byte, sent func(Place)) (*http.Response, error) {
	defer u.table.Hold(ctx, u.target)() // it forgets its sessions when it sleeps
	until, cancel := context.WithTimeout(ctx, u.wait)
	defer cancel()
	for tries := 1; ; {
		c, err := u.current(until)
		if err != nil {
			return nil, notStarted(ctx, err)
		}
		if sent != nil {
			sent(Place{c.url, c.session})
		}
		res, err := u.post(ctx, c, body)
		switch {
		case err == nil && res.StatusCode != http.StatusNotFound:
			return res, nil
		case err == nil:
			_ = res.Body.Close()
			if tries++; tries > sessionTries {
				return nil, notStarted(ctx, errUnknownSession)
			}
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
	route := u.Route()
	if route == nil || !route.Endpoint.Up() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	if !route.Endpoint.Serves(u.call().url) && !u.catchUp(ctx, route.Endpoint) {
		return
	}
	c := u.call()
	if u.notify(ctx, c, body) {
		return
	}
	u.forget(c.session)
	if u.catchUp(ctx, route.Endpoint) {
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

// catchUp goes on with the session with a version that the others use, if there is one.
func (u *Upstream) catchUp(ctx context.Context, e *routes.Endpoint) bool {
	u.mu.Lock()
	over, peers := u.over, u.peers
	u.mu.Unlock()
	if peers == nil {
		return false
	}
	at, ok := peers.Current(ctx, e.Serves, over)
	if ok {
		u.settle(at.URL, at.Session)
	}
	return ok
}

// End tells the server that the session is over, and those that it was at before.
func (u *Upstream) End(ctx context.Context) {
	defer u.endFormer(ctx)
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
