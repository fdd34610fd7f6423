package sessions

import (
	"context"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
)

// current is the conversation with the server of the live version, begun anew when
// there is none yet.
func (u *Upstream) current(ctx context.Context) (call, error) {
	for {
		route, err := u.table.Await(ctx, u.target)
		if err != nil {
			return call{}, err
		}
		live := route.Endpoint.MCPURL()
		if c := u.call(); c.url == live {
			return c, nil
		}
		err = u.begin(ctx, live)
		if err != nil && (!refused(err) || !u.knock(ctx)) {
			return call{}, err
		}
	}
}

// begin begins the conversation, once for all who wait for it; it outlives a caller
// who goes away meanwhile.
func (u *Upstream) begin(ctx context.Context, url string) error {
	done := u.begun.DoChan(url, func() (any, error) {
		return nil, u.handshake(context.WithoutCancel(ctx), url)
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
func (u *Upstream) handshake(ctx context.Context, url string) error {
	u.mu.Lock()
	initialize, protocol, over, peers := u.initialize, u.protocol, u.over, u.peers
	u.mu.Unlock()
	if initialize == nil {
		return fault.Invalid.Errorf("send initialize first")
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	if u.catchUp(ctx, url) {
		return nil
	}
	session, err := u.introduce(ctx, call{url: url, protocol: protocol}, initialize)
	if err != nil {
		return err
	}
	if peers != nil && session != "" {
		if winner := peers.Agree(ctx, url, session, over); winner != session {
			go u.bye(context.WithoutCancel(ctx), call{url, session, protocol})
			session = winner
		}
	}
	u.settle(url, session)
	return nil
}

func (u *Upstream) settle(url, session string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.url, u.session = url, session
}

// introduce begins a session at the server.
func (u *Upstream) introduce(ctx context.Context, c call, initialize []byte) (session string, err error) {
	res, err := u.post(ctx, call{url: c.url}, initialize)
	if err != nil {
		return "", err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if _, err := ReadReply(res); err != nil {
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
