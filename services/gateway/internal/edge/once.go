package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/once"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/tasks"
)

// idempotencyHeader makes a repeated call the same (IETF draft "The Idempotency-Key HTTP
// Header Field").
const idempotencyHeader = "Idempotency-Key"

// keyOf is what the caller says makes a repeated call the same: in the params' _meta, or
// in a header.
func keyOf(h http.Header, params json.RawMessage) (key string) {
	if bytes.Contains(params, []byte(tasks.IdempotencyKey)) {
		_ = json.Unmarshal(jsonrpc.Meta(params, tasks.IdempotencyKey), &key) // what is no text is no key
	}
	if key == "" {
		key = h.Get(idempotencyHeader)
	}
	return key
}

// keyed is the call of a tool that a key is for. Other requests have none.
func keyed(key string, m jsonrpc.Message) (string, jsonrpc.Call) {
	if key == "" || m.Method != modern.ToolsCall {
		return "", jsonrpc.Call{}
	}
	call, _ := jsonrpc.ParseCall(m.Params) // what cannot be read is the agent's to refuse
	return key, call
}

// runKey is a key as the scheduler knows it, fenced to the caller.
func (v visit) runKey(key string) string {
	if key == "" {
		return ""
	}
	return v.caller.UserID + "/" + key
}

// once makes a call of the agent's own code by do, unless one with the same key was made:
// then others is given its answer. Do says what the agent answered, and whether that was
// the end.
func (v visit) once(ctx context.Context, key string, call jsonrpc.Call, do func() (reply []byte, err error), others func(reply json.RawMessage)) error {
	if key == "" || v.caller.UserID == "" {
		_, err := do()
		return err
	}
	claim, reply, err := v.answers.Begin(ctx, once.Call{
		Target: v.route.Address.GetTargetId(), User: v.caller.UserID, Key: key, Tool: call.Name, Arguments: call.Arguments,
	})
	if err != nil {
		return err
	}
	if claim == nil {
		others(reply)
		return nil
	}
	reply, err = do()
	switch {
	case errors.Is(err, sessions.ErrNotStarted):
		claim.Release()
	case err != nil: // what was answered to this one is answered to the others
		claim.Finish(jsonrpc.NewError(nil, code(err), fault.Message(err)))
	case len(reply) == 0:
		claim.Release()
	default:
		claim.Finish(reply)
	}
	return err
}

// onceModern is once for a client of the stateless era. A call that asks back is left to
// the state that its client brings.
func (v visit) onceModern(r *http.Request, req modern.Request, do func() (json.RawMessage, *modern.Refusal)) (result json.RawMessage, refusal *modern.Refusal) {
	key := keyOf(r.Header, req.Params)
	if key == "" || v.caller.UserID == "" || req.Method != modern.ToolsCall || req.RequestState != "" {
		return do()
	}
	err := v.once(r.Context(), key, jsonrpc.Call{Name: req.Name, Arguments: req.Arguments}, func() ([]byte, error) {
		result, refusal = do()
		switch {
		case refusal == nil && modern.Asks(result):
			return nil, nil
		case refusal == nil:
			return jsonrpc.NewResult(json.RawMessage("null"), result), nil
		case refusal.NotStarted:
			return nil, sessions.ErrNotStarted
		}
		return refusal.Body(nil), nil
	}, func(reply json.RawMessage) {
		m, err := jsonrpc.Parse(reply)
		if err == nil && len(m.Error) > 0 {
			refusal = modern.Repeat(m.Error)
		}
		result = m.Result
	})
	if err != nil && refusal == nil {
		refusal = refusalOf(err)
	}
	return result, refusal
}

// readdressed is an answer as the answer to another request.
func readdressed(reply json.RawMessage, id json.RawMessage) []byte {
	m, err := jsonrpc.Parse(reply)
	if err != nil {
		return jsonrpc.NewError(id, jsonrpc.CodeInternal, "the answer that was kept cannot be read")
	}
	m.ID = id
	return jsonrpc.Encode(m)
}
