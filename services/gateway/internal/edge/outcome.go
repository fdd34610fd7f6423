package edge

import (
	"context"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/outcomes"
)

// counted has a call's end counted, if it is of a tool and a rollout is under way.
func (v visit) counted(ctx context.Context, method string, do func(v visit) (reply []byte, err error)) (reply []byte, err error) {
	if v.outcome = v.begun(method); v.outcome == nil {
		return do(v)
	}
	err = errBrokeOff // if what follows panics
	defer func() { v.outcome.End(ctx, reply, err) }()
	return do(v)
}

// countedModern does so with a call of the stateless era.
func (v visit) countedModern(ctx context.Context, method string, do func() (json.RawMessage, *modern.Refusal)) (json.RawMessage, *modern.Refusal) {
	call := v.begun(method)
	result, refusal := do()
	call.EndModern(ctx, result, refusal)
	return result, refusal
}

func (v visit) begun(method string) *outcomes.Call {
	if method != modern.ToolsCall || v.route.Rollout == "" {
		return nil
	}
	return v.outcomes.Begin(v.route.Rollout, v.route.Endpoint.GetVersionId(), v.pick.Key)
}
