package sessions

import (
	"context"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// current is the conversation with the server of the live version, begun anew when
// there is none yet.
func (u *Upstream) current(ctx context.Context) (call, error) {
	for {
		route, err := u.table.Await(ctx, u.target, u.pick)
		if err != nil {
			return call{}, err
		}
		if c := u.call(); route.Endpoint.Serves(c.url) {
			return c, nil
		}
		err = u.begin(ctx, route.Endpoint)
		if err != nil && (!refused(err) || !u.knock(ctx)) {
			return call{}, err
		}
	}
}

// begin begins the conversation, once for all who wait for it; it outlives a caller
// who goes away meanwhile.
func (u *Upstream) begin(ctx context.Context, e *routes.Endpoint) error {
	done := u.begun.DoChan(e.GetVersionId(), func() (any, error) {
		if e.Serves(u.call().url) {
			return nil, nil // somebody has just begun it
		}
		return nil, u.handshake(context.WithoutCancel(ctx), e)
	})
	select {
	case <-ctx.Done():
		return ctx.Err()
	case result := <-done:
		return result.Err
	}
}

// handshake goes on with the session that the others use, or replays the client's
// initialize and says that it is done.
func (u *Upstream) handshake(ctx context.Context, e *routes.Endpoint) error {
	u.mu.Lock()
	initialize, protocol, over, peers := u.initialize, u.protocol, u.over, u.peers
	u.mu.Unlock()
	if initialize == nil {
		return fault.Invalid.Errorf("send initialize first")
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	if u.catchUp(ctx, e) {
		return nil
	}
	url := u.at(e)
	session, err := u.introduce(ctx, call{url: url, protocol: protocol}, initialize)
	if err != nil {
		return err
	}
	if peers != nil && session != "" {
		at := Place{url, session}
		if winner := peers.Agree(ctx, e.Serves, at, over); winner != at {
			go u.bye(context.WithoutCancel(ctx), call{url, session, protocol})
			u.settle(winner.URL, winner.Session)
			return nil
		}
	}
	u.begunAnew(ctx, call{url, session, protocol})
	u.settle(url, session)
	return nil
}

func (u *Upstream) settle(url, session string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.former = moved(u.former, Place{u.url, u.session}, Place{url, session})
	u.url, u.session = url, session
	if h := u.hearing; h.stop != nil && h.in.url == url && h.in.session != session {
		h.stop()
	}
}

// introduce begins a session at the server.
func (u *Upstream) introduce(ctx context.Context, c call, initialize []byte) (session string, err error) {
	res, err := u.post(ctx, call{url: c.url}, initialize)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if _, err := u.ReadReply(ctx, res); err != nil {
		return "", err
	}
	c.session = res.Header.Get(HeaderSession)
	done, err := u.post(ctx, c, jsonrpc.NewRequest(nil, "notifications/initialized", nil))
	if err != nil {
		return "", err
	}
	_ = done.Body.Close()
	return c.session, nil
}

// bye tells the server that a session is over.
func (u *Upstream) bye(ctx context.Context, c call) {
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	req, err := u.request(ctx, http.MethodDelete, c, nil)
	if err != nil {
		return
	}
	if res, err := u.client.Do(req); err == nil {
		_ = res.Body.Close()
	}
}
