package edge

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/bridge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	// askRounds is how often an agent of the stateless era may ask back in one call.
	askRounds = 10
	// askWait is how long a client may take for one answer.
	askWait = time.Hour
	// askAgain is the pause before a call is repeated that asked nothing.
	askAgain = time.Second
)

// stateless says whether the app's agent knows no sessions at all.
func (v visit) stateless() bool { return v.route.Endpoint.GetModernOnly() }

// ascend gives a request of a client with a session to an agent that knows none, and
// returns the response. What the agent asks back is asked in the call's own stream.
func (v visit) ascend(ctx context.Context, s *sessions.Session, m jsonrpc.Message, to bridge.Client) []byte {
	if reply, known := v.recorded(m); known {
		return reply
	}
	switch m.Method {
	case setLevels:
		return setLevel(ctx, s, m)
	case subscribe, unsubscribe:
		return v.subscribeAcross(ctx, s, m)
	}
	req, refusal := modern.Lift(m, helloOf(s))
	req = v.route.Endpoint.Headers[req.Name].Mirrored(req)
	for range askRounds {
		if refusal != nil {
			return jsonrpc.NewErrorData(m.ID, plainCode(refusal.Code), refusal.Message, refusal.Data)
		}
		var result json.RawMessage
		if result, refusal = v.bridge.Call(ctx, v.route, v.caller.UserID, req, to); refusal != nil {
			continue
		}
		if !modern.Asks(result) {
			return jsonrpc.NewResult(m.ID, modern.Plain(result))
		}
		var asked modern.Asked
		_ = json.Unmarshal(result, &asked) // it was read before
		answers, err := askClient(ctx, s, asked, to)
		if err != nil {
			return jsonrpc.NewError(m.ID, code(err), fault.Message(err))
		}
		req = req.Again(asked.State, answers)
	}
	return jsonrpc.NewErrorData(m.ID, jsonrpc.CodeInternal, "the agent asks too often", map[string]string{"reason": "too_many_rounds"})
}

// plainCode is an error's code as the session era knows it.
func plainCode(code int) int {
	if code == modern.CodeHeaderMismatch || code == modern.CodeMissingCapability || code == jsonrpc.CodeUnsupportedVersion {
		return jsonrpc.CodeInternal
	}
	return code
}

func helloOf(s *sessions.Session) (hello modern.Hello) {
	_ = json.Unmarshal(s.Said(), &hello) // what cannot be read is not declared
	hello.LogLevel = s.Level()
	return hello
}

func setLevel(ctx context.Context, s *sessions.Session, m jsonrpc.Message) []byte {
	var params struct {
		Level string `json:"level"`
	}
	if json.Unmarshal(m.Params, &params) != nil || modern.Severity(params.Level) < 0 {
		return jsonrpc.NewError(m.ID, jsonrpc.CodeInvalidParams, "level must be one of debug … emergency")
	}
	s.SetLevel(ctx, params.Level)
	return jsonrpc.NewResult(m.ID, json.RawMessage(`{}`))
}

// askClient asks the client all that is open, at once, and waits for the answers.
func askClient(ctx context.Context, s *sessions.Session, asked modern.Asked, to bridge.Client) (map[string]json.RawMessage, error) {
	if len(asked.Requests) == 0 {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(askAgain):
			return nil, nil
		}
	}
	ctx, cancel := context.WithTimeout(ctx, askWait)
	defer cancel()
	waiting := map[string]<-chan jsonrpc.Message{}
	for key, q := range asked.Requests {
		id, answer, forget, ok := s.Expect()
		if !ok {
			return nil, fault.Exhausted.Errorf("the session's client is asked too much at once")
		}
		defer forget()
		waiting[key] = answer
		to.Tell(jsonrpc.NewRequest(id, q.Method, q.Params))
	}
	answers := map[string]json.RawMessage{}
	for key, answer := range waiting {
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case m := <-answer:
			switch {
			case len(m.Error) == 0:
				answers[key] = m.Result
			case asked.Requests[key].Method == "elicitation/create":
				answers[key] = json.RawMessage(`{"action":"cancel"}`)
			default:
				return nil, fault.Invalid.Errorf("the client refused %s", asked.Requests[key].Method)
			}
		}
	}
	return answers, nil
}

// ascendHTTP answers a request by streamable HTTP.
func (v visit) ascendHTTP(ctx context.Context, w http.ResponseWriter, s *sessions.Session, m jsonrpc.Message) []byte {
	answer := &modernAnswer{w: w, id: m.ID}
	defer answer.keepAlive(v.deps.Config.KeepAlive)()
	reply := v.ascend(ctx, s, m, answer)
	v.call.Leaves()
	answer.say(reply)
	return reply
}

// onStream is a client that hears all on its session's stream.
type onStream struct{ *sessions.Session }

// Stream has nothing to do.
func (onStream) Stream() {}

// Tell gives it a message.
func (c onStream) Tell(raw []byte) { c.Push(raw) }

// callStateless is a tool call by plain HTTP, which can be asked nothing.
func (v visit) callStateless(ctx context.Context, s *sessions.Session, params json.RawMessage) []byte {
	return v.ascend(ctx, s, jsonrpc.Message{Version: "2.0", ID: json.RawMessage("1"), Method: modern.ToolsCall, Params: params}, onStream{s})
}
