package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// topic is what retries are called among replicas.
const topic = "retry"

// retry is a request that goes on with a call at another replica, as its client made it.
type retry struct {
	Target string          `json:"target"`
	User   string          `json:"user,omitempty"`
	Header http.Header     `json:"header"`
	Body   json.RawMessage `json:"body"`
}

// said is one part of an answer between replicas.
type said struct {
	Stream  bool            `json:"stream,omitempty"`
	Tell    json.RawMessage `json:"tell,omitempty"`
	Result  json.RawMessage `json:"result,omitempty"`
	Refusal *modern.Refusal `json:"refusal,omitempty"`
}

// elsewhere carries a retry to the replica that holds the call. When that has gone, so
// has the call.
func (b *Bridge) elsewhere(ctx context.Context, at, target, user string, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	body := jsonrpc.Encode(retry{Target: target, User: user, Header: r.Headers(), Body: jsonrpc.NewRequest(r.ID, r.Method, r.Params)})
	raw, err := b.peers.Ask(ctx, at, topic, body, func(part []byte) {
		var s said
		switch _ = json.Unmarshal(part, &s); { // our own
		case s.Stream:
			to.Stream()
		case s.Tell != nil:
			to.Tell(s.Tell)
		}
	})
	var s said
	switch {
	case ctx.Err() != nil:
		return nil, gone
	case errors.Is(err, peers.ErrAway):
		return nil, callLost
	case err != nil:
		return nil, refusalOf(err)
	case json.Unmarshal(raw, &s) != nil || s.Refusal == nil && s.Result == nil:
		return nil, callLost
	case s.Refusal != nil && s.Refusal.Status == gone.Status:
		return nil, callLost // the replica ends: our client is still there
	}
	return s.Result, s.Refusal
}

// answer serves another replica's client, whose call waits here.
func (b *Bridge) answer(ctx context.Context, body []byte, say func([]byte)) []byte {
	var s said
	s.Result, s.Refusal = b.answered(ctx, body, remote(say))
	return jsonrpc.Encode(s)
}

func (b *Bridge) answered(ctx context.Context, body []byte, to Client) (json.RawMessage, *modern.Refusal) {
	var asked retry
	if json.Unmarshal(body, &asked) != nil {
		return nil, callLost
	}
	m, err := jsonrpc.Parse(asked.Body)
	if err != nil {
		return nil, refusalOf(err)
	}
	r, refusal := modern.Read(asked.Header, m, routes.Versions())
	if refusal != nil {
		return nil, refusal
	}
	s, refusal := b.unseal(asked.Target, asked.User, r)
	if refusal != nil {
		return nil, refusal
	}
	c, refusal := b.find(s)
	if refusal != nil {
		return nil, refusal
	}
	return b.goOn(ctx, c, r, to)
}

// remote is a client that another replica serves.
type remote func(part []byte)

// Stream says that the answer is a stream.
func (say remote) Stream() { say(jsonrpc.Encode(said{Stream: true})) }

// Tell gives it a notification.
func (say remote) Tell(raw []byte) { say(jsonrpc.Encode(said{Tell: raw})) }
