package bridge

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// What replicas ask of each other: to go on with a call, and to end one.
const (
	topicRetry  = "retry"
	topicCancel = "cancel"
)

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
	// Away says that the call is not there, or not any more.
	Away bool `json:"away,omitempty"`
}

// elsewhere carries a retry to the replica that reads the call. It fails with
// peers.ErrAway when that is gone, or does not have the call.
func (b *Bridge) elsewhere(ctx context.Context, at, target, user string, r modern.Request, to Client) (json.RawMessage, *modern.Refusal, error) {
	body := jsonrpc.Encode(retry{Target: target, User: user, Header: r.Headers(), Body: jsonrpc.NewRequest(r.ID, r.Method, r.Params)})
	raw, err := b.deps.Peers.Ask(ctx, at, topicRetry, body, func(part []byte) {
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
		if !b.leaving() {
			b.work(func() { b.cancel(at, body) })
		}
		return nil, gone, nil
	case err != nil:
		return nil, nil, err
	case json.Unmarshal(raw, &s) != nil || s.Away || s.Refusal == nil && s.Result == nil:
		return nil, nil, peers.ErrAway
	}
	return s.Result, s.Refusal, nil
}

// cancel tells the replica that reads a call that its client has closed the stream. One
// that only sees that nobody waits cannot know: the replica between may have died.
func (b *Bridge) cancel(at string, body []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), cancelWait)
	defer cancel()
	_, _ = b.deps.Peers.Ask(ctx, at, topicCancel, body, func([]byte) {}) // what is not cancelled expires
}

const cancelWait = 5 * time.Second

// answer serves another replica's client, whose call is read here.
func (b *Bridge) answer(ctx context.Context, body []byte, say func([]byte)) []byte {
	c, r, s, refusal := b.carried(body)
	answer := said{Refusal: refusal, Away: c == nil}
	if c != nil {
		answer.Result, answer.Refusal = b.goOn(ctx, c, r, s.Round, remote(say))
		answer.Away = answer.Refusal == moved || answer.Refusal == gone
	}
	if refusal != nil {
		answer.Away = false
	}
	return jsonrpc.Encode(answer)
}

// cancelled ends a call for another replica's client, unless somebody else waits for it.
func (b *Bridge) cancelled(_ context.Context, body []byte, _ func([]byte)) []byte {
	c, _, _, _ := b.carried(body)
	if c == nil {
		return nil
	}
	if c.waiting.Load() <= 1 { // the one that has gone
		b.abort(c)
	}
	return nil
}

// carried is the call of a retry that came to another replica; nil when it is not here.
func (b *Bridge) carried(body []byte) (*call, modern.Request, state, *modern.Refusal) {
	var asked retry
	if json.Unmarshal(body, &asked) != nil {
		return nil, modern.Request{}, state{}, callLost
	}
	m, err := jsonrpc.Parse(asked.Body)
	if err != nil {
		return nil, modern.Request{}, state{}, refusalOf(err)
	}
	r, refusal := modern.Read(asked.Header, m, routes.Versions())
	if refusal != nil {
		return nil, r, state{}, refusal
	}
	s, refusal := b.unseal(asked.Target, asked.User, r)
	if refusal != nil {
		return nil, r, s, refusal
	}
	return b.find(s.Call), r, s, nil
}

// remote is a client that another replica serves.
type remote func(part []byte)

// Stream says that the answer is a stream.
func (say remote) Stream() { say(jsonrpc.Encode(said{Stream: true})) }

// Tell gives it a notification.
func (say remote) Tell(raw []byte) { say(jsonrpc.Encode(said{Tell: raw})) }
