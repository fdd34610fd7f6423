package edge

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/workflowtools"
)

// native answers a call of a workflow tool; ok is false for everything else. A call
// that agents could read in other ways than we do goes nowhere.
func (v visit) native(ctx context.Context, s *sessions.Session, m jsonrpc.Message, key string) (reply []byte, ok bool) {
	if m.Method != "tools/call" || v.route.Endpoint == nil {
		return nil, false
	}
	call, err := jsonrpc.ParseCall(m.Params)
	if err != nil {
		return jsonrpc.NewError(m.ID, jsonrpc.CodeInvalidParams, fault.Message(err)), true
	}
	if v.route.Endpoint.Native[call.Name] == routes.Passed {
		return nil, false
	}
	result, err := v.tools.Call(ctx, v.route, call, workflowtools.Origin{SessionID: s.ID, IdempotencyKey: v.runKey(key)})
	if err != nil {
		return jsonrpc.NewError(m.ID, code(err), fault.Message(err)), true
	}
	return jsonrpc.NewResult(m.ID, result), true
}

// callTool is a tool call by plain HTTP: {"name", "arguments"} gives a CallToolResult.
// It has a session of its own, which ends with the answer.
func (v visit) callTool(w http.ResponseWriter, r *http.Request) {
	body, err := v.readBody(w, r)
	if err != nil {
		rest.WriteFault(w, err)
		return
	}
	call, err := jsonrpc.ParseCall(body)
	if err != nil || call.Name == "" {
		rest.WriteFault(w, fault.Invalid.Wrap(err, `write {"name": "<tool>", "arguments": {…}}`))
		return
	}
	v = v.alone(r)
	over, err := v.countMethod(r.Context(), "tools/call", call.Name, v.standsFor(call))
	if err != nil {
		refusePlain(w, err)
		return
	}
	defer over()
	result, err := v.callKeyed(r.Context(), keyOf(r.Header, body), call, body)
	if err != nil {
		rest.WriteFault(w, err)
		return
	}
	writeJSON(w, result)
}

func (v visit) callKeyed(ctx context.Context, key string, call jsonrpc.Call, params []byte) (result json.RawMessage, err error) {
	if e := v.route.Endpoint; e != nil && e.Native[call.Name] != routes.Passed {
		return v.tools.Call(ctx, v.route, call, workflowtools.Origin{IdempotencyKey: v.runKey(key)})
	}
	err = v.once(ctx, key, call, func() ([]byte, error) {
		if result, err = v.callAgent(ctx, params); err != nil {
			return nil, err
		}
		return jsonrpc.NewResult(json.RawMessage("null"), result), nil
	}, func(reply json.RawMessage) {
		var m jsonrpc.Message
		_ = json.Unmarshal(reply, &m) // our own
		result = m.Result
	})
	if err == nil && result == nil {
		err = fault.Conflict.Errorf("the call with this idempotency key was made, and failed")
	}
	return result, err
}

// callAgent calls a tool of the agent's in a session of its own.
func (v visit) callAgent(ctx context.Context, params []byte) (json.RawMessage, error) {
	s, err := v.sessions.OpenAt(v.route, v.caller)
	if err != nil {
		return nil, err
	}
	defer v.sessions.End(s)
	reply, err := v.counted(ctx, modern.ToolsCall, func(v visit) ([]byte, error) {
		if v.stateless() {
			return v.callStateless(ctx, s, params), nil
		}
		return v.callOnce(ctx, s, params)
	})
	if err != nil {
		return nil, err
	}
	return resultOf(reply)
}

// callOnce begins the conversation with the agent and makes the one call in it.
func (v visit) callOnce(ctx context.Context, s *sessions.Session, params []byte) ([]byte, error) {
	hello := jsonrpc.Message{Params: json.RawMessage(callToolHello)}
	if _, err := v.initialize(ctx, s, jsonrpc.NewRequest(json.RawMessage("0"), "initialize", hello.Params), hello); err != nil {
		return nil, err
	}
	s.Upstream.Notify(ctx, jsonrpc.NewRequest(nil, "notifications/initialized", nil))
	res, err := s.Upstream.Send(ctx, jsonrpc.NewRequest(json.RawMessage("1"), "tools/call", params), nil)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	reply, err := s.Upstream.ReadReply(ctx, res)
	if err != nil {
		return nil, fault.Unavailable.Wrap(err, "the agent did not answer; see its log")
	}
	return reply, nil
}

const callToolHello = `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"agentcloud call_tool","version":"1"}}`

func resultOf(reply []byte) (json.RawMessage, error) {
	var m struct {
		Result json.RawMessage `json:"result"`
		Error  *struct {
			Message string `json:"message"`
		} `json:"error"`
	}
	if err := json.Unmarshal(reply, &m); err != nil {
		return nil, fault.Unavailable.Wrap(err, "the agent's answer cannot be read")
	}
	if m.Error != nil {
		return nil, fault.Invalid.Errorf("%s", m.Error.Message)
	}
	return m.Result, nil
}
