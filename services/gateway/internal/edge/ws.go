package edge

import (
	"context"
	"net/http"

	"github.com/coder/websocket"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// subprotocol is what clients that speak MCP by WebSocket ask for (RFC 6455, section 1.9).
const subprotocol = "mcp"

// wsOpen begins a session by WebSocket: each text message is one JSON-RPC message, both
// ways, and the connection is the session. It is an addition of ours to the protocol.
func (v visit) wsOpen(w http.ResponseWriter, r *http.Request) {
	s, err := v.open(r)
	if err != nil {
		rest.WriteFault(w, err)
		return
	}
	defer v.sessions.End(s)
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{
		Subprotocols: []string{subprotocol}, InsecureSkipVerify: true, // admit has looked at the origin
	})
	if err != nil {
		return // Accept has said why
	}
	defer conn.CloseNow() //nolint:errcheck // it is over
	conn.SetReadLimit(v.deps.Config.MaxBody)
	ctx, cancel := context.WithCancel(principal.With(context.WithoutCancel(r.Context()), v.caller))
	defer cancel()
	defer s.Attach()()
	s.Listening(func(ctx context.Context) { v.listenUpstream(ctx, s) })
	go func() {
		defer cancel()
		v.wsRead(ctx, conn, s)
	}()
	v.wsWrite(ctx, conn, s)
	_ = conn.Close(websocket.StatusGoingAway, "the session is over")
}

// wsRead takes the client's messages until it goes.
func (v visit) wsRead(ctx context.Context, conn *websocket.Conn, s *sessions.Session) {
	for {
		_, body, err := conn.Read(ctx)
		if err != nil {
			return
		}
		m, err := jsonrpc.Parse(body)
		if err == nil {
			err = v.sseTake(ctx, s, body, m)
		}
		if err != nil {
			s.Push(failure(m.ID, err))
		}
	}
}

// wsWrite gives the client what waits for it, until either goes.
func (v visit) wsWrite(ctx context.Context, conn *websocket.Conn, s *sessions.Session) {
	within := func(do func(context.Context) error) bool {
		limited, cancel := context.WithTimeout(ctx, writeLimit)
		defer cancel()
		return do(limited) == nil
	}
	follow(ctx, s, v.deps.Config.KeepAlive, func(_ sessions.EventID, message []byte) bool {
		return within(func(ctx context.Context) error { return conn.Write(ctx, websocket.MessageText, message) })
	}, func() bool { return within(conn.Ping) })
}
