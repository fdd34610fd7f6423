package edge

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/awake"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// initialize gives the agent's own answer: what it is and can do is its to say. While
// it is away, what it said at its health check holds.
func (v visit) initialize(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) (json.RawMessage, error) {
	hello, version, known := v.recordedHello(m)
	recorded := func() (json.RawMessage, error) {
		s.Upstream.Adopt(body)
		s.Upstream.Agreed(version)
		s.Introduce(m.Params)
		return announcing(hello), nil
	}
	if known && (v.stateless() || !v.up()) {
		return recorded()
	}
	if known {
		ctx = awake.Quiet(ctx) // it could have been answered without the agent
	}
	res, err := s.Upstream.Begin(ctx, body)
	if known && fault.Unavailable.Is(err) {
		return recorded() // it went away before the scheduler knows
	}
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	reply, err := s.Upstream.ReadReply(ctx, res)
	if err != nil {
		return nil, fault.Unavailable.Wrap(err, "the agent did not answer initialize; see its log")
	}
	var chosen struct {
		Result struct {
			ProtocolVersion string `json:"protocolVersion"`
		} `json:"result"`
	}
	_ = json.Unmarshal(reply, &chosen) // an error reply has no version
	s.Upstream.Agreed(chosen.Result.ProtocolVersion)
	s.Introduce(m.Params)
	return announcing(reply), nil
}

// announcing is an answer to initialize that says what the gateway does for every app: it
// tells when a new version has other lists.
func announcing(reply json.RawMessage) json.RawMessage {
	var m, result, capabilities map[string]json.RawMessage
	if json.Unmarshal(reply, &m) != nil || json.Unmarshal(m["result"], &result) != nil || json.Unmarshal(result["capabilities"], &capabilities) != nil {
		return reply // an error, which has no lists
	}
	for _, name := range []string{"tools", "prompts", "resources"} {
		var about map[string]json.RawMessage
		if json.Unmarshal(capabilities[name], &about) == nil && about != nil {
			about["listChanged"] = json.RawMessage("true")
			capabilities[name] = jsonrpc.Encode(about)
		}
	}
	result["capabilities"] = jsonrpc.Encode(capabilities)
	m["result"] = jsonrpc.Encode(result)
	return jsonrpc.Encode(m)
}

// ask gets a request answered by the agent. Without a response, reply is what was
// recorded of an agent that is away.
func (v visit) ask(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) (res *http.Response, reply []byte, err error) {
	reply, known := v.recorded(m)
	if known && !v.up() {
		return nil, reply, nil
	}
	if known {
		ctx = awake.Quiet(ctx)
	}
	res, err = s.Upstream.Send(ctx, body, v.request.Sent)
	if known && fault.Unavailable.Is(err) {
		return nil, reply, nil
	}
	return res, nil, err
}

// accept takes a notification or a response.
func (v visit) accept(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) error {
	if m.IsResponse() {
		if question, ours, open := s.TakeAnswer(m.ID); ours {
			return v.give(ctx, s, question, open, m)
		}
	}
	if ours, err := v.reply(ctx, s, m); ours {
		return err
	}
	switch {
	case m.Method == "notifications/cancelled":
		v.cancel(ctx, s, body, m)
	case !v.stateless():
		s.Upstream.Notify(ctx, body)
	}
	if m.Method == "notifications/initialized" {
		s.MarkReady()
		v.questions.OfferOpen(ctx, s)
	}
	return nil
}

// give brings an answer to the run that asked. A question that was not asked here was
// asked by another replica, or before a restart; or somebody was faster.
func (v visit) give(ctx context.Context, s *sessions.Session, question sessions.Question, open bool, m jsonrpc.Message) error {
	if !open {
		return v.questions.AnswerOf(ctx, s, question.ID, m)
	}
	err := v.questions.Answer(ctx, question, m)
	if err != nil {
		s.Reopen(question)
	}
	return err
}

// up says whether the agent can be asked without being woken.
func (v visit) up() bool {
	e := v.route.Endpoint
	return e.Up() && !v.awake.Rests(e.GetTargetId(), e.GetVersionId())
}
