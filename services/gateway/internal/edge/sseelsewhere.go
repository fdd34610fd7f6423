package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
)

// postTopic is what messages of sessions by SSE are called among replicas: the stream,
// which is the session, is with one of them.
const postTopic = "post"

var errNoStream = fault.NotFound.Errorf("could not find session")

// passed says whose message it is that follows, in a line before it.
type passed struct {
	Session string              `json:"session"`
	Target  string              `json:"target"`
	Caller  principal.Principal `json:"caller"`
}

// with puts the message behind.
func (p passed) with(body []byte) []byte { return append(append(jsonrpc.Encode(p), '\n'), body...) }

// unpass parts both again; what another replica has not written is nobody's.
func unpass(raw []byte) (p passed, body []byte) {
	about, body, _ := bytes.Cut(raw, []byte("\n"))
	_ = json.Unmarshal(about, &p) // then no session is found
	return p, body
}

// taken is what became of it.
type taken struct {
	Kind    fault.Kind `json:"kind,omitempty"`
	Message string     `json:"message,omitempty"`
}

// ssePass carries a message to the replica that has the session's stream.
func (v visit) ssePass(ctx context.Context, at, session string, body []byte) error {
	message := passed{session, v.route.Address.GetTargetId(), v.caller}.with(body)
	raw, err := v.peers.Ask(ctx, at, postTopic, message, func([]byte) {})
	if errors.Is(err, peers.ErrAway) {
		return errNoStream // it ended with its replica
	}
	if err != nil {
		return err
	}
	var answer taken
	if json.Unmarshal(raw, &answer) != nil {
		return fault.Unavailable.Errorf("the replica that has the stream cannot be understood; try again")
	}
	if answer.Kind != 0 {
		return answer.Kind.Errorf("%s", answer.Message)
	}
	return nil
}

// ssePosted takes a message that came to another replica.
func (e *Edge) ssePosted(ctx context.Context, raw []byte, _ func([]byte)) []byte {
	if err := e.ssePut(ctx, raw); err != nil {
		return jsonrpc.Encode(taken{fault.KindOf(err), fault.Message(err)})
	}
	return jsonrpc.Encode(taken{})
}

func (e *Edge) ssePut(ctx context.Context, raw []byte) error {
	p, body := unpass(raw)
	route := e.table.Target(p.Target)
	s, ok := e.sessions.Find(p.Session, p.Target, p.Caller)
	if !ok || route == nil {
		return errNoStream
	}
	m, err := jsonrpc.Parse(body)
	if err != nil {
		return err
	}
	return visit{Edge: e, route: route, caller: p.Caller}.sseTake(principal.With(ctx, p.Caller), s, body, m)
}
