package edge

import (
	"context"
	"errors"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// replyTopic is what clients' answers are called among replicas: the call that asked is
// read at one.
const replyTopic = "reply"

// errAskerGone is no 404: that would end the session for its client.
var errAskerGone = fault.Conflict.Errorf("the call that asked this was at a replica of the gateway that has gone; the answer reaches nobody, and what became of the call is not known")

// reply brings what a client says about a question to who asked it; ours is false when it
// is about none. A call that is over waits for nothing, which is no fault.
func (v visit) reply(ctx context.Context, s *sessions.Session, m jsonrpc.Message) (ours bool, err error) {
	at, ours := sessions.AskedBy(m)
	if !ours {
		return s.ReplyOutside(ctx, m)
	}
	if at == v.peers.Name() {
		s.Reply(ctx, m)
		return true, nil
	}
	message := passed{s.ID, s.TargetID, v.caller}.with(jsonrpc.Encode(m))
	_, err = v.peers.Ask(ctx, at, replyTopic, message, func([]byte) {})
	if errors.Is(err, peers.ErrAway) {
		err = errAskerGone
	}
	return true, err
}

// replied takes what a client has said at another replica.
func (e *Edge) replied(ctx context.Context, raw []byte, _ func([]byte)) []byte {
	p, body := unpass(raw)
	m, err := jsonrpc.Parse(body)
	if s, ok := e.sessions.Find(p.Session, p.Target, p.Caller); ok && err == nil {
		s.Reply(principal.With(ctx, p.Caller), m)
	}
	return nil
}

// cancel ends a request of the client's wherever it is under way; what is under way
// nowhere is told to the agent, which may know of it.
func (v visit) cancel(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) {
	if !s.Cancel(ctx, m) && !s.CancelElsewhere(ctx, m) && !v.stateless() {
		s.Upstream.Notify(ctx, body)
	}
}
