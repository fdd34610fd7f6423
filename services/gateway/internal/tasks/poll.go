package tasks

import (
	"context"
	"crypto/sha256"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// pollKind is the kind of the state of a question about a run that asks back.
const pollKind = "s4"

// polled is the run that such a question is about.
type polled struct {
	User   string            `json:"u"`
	RunID  string            `json:"r"`
	Digest [sha256.Size]byte `json:"d"`
}

// Poll is for a client without tasks that asks how a run is: what the run asked its
// starter comes as the answer, until it has been told. The result is nil when nothing
// is open that this client may and can answer. A caller without a name started no run
// that could be told from another's.
func (t *Tasks) Poll(ctx context.Context, route *routes.Route, call jsonrpc.Call, req modern.Request) (json.RawMessage, *modern.Refusal) {
	user := principal.From(ctx).UserID
	if user == "" || !req.Capabilities.Asks() {
		return nil, nil
	}
	if req.RequestState != "" {
		if refusal := t.told(ctx, route, user, req); refusal != nil {
			return nil, refusal
		}
	}
	run := t.runOf(ctx, route, call)
	if run == "" {
		return nil, nil
	}
	requests, refusal := t.openTo(ctx, route, run, user, req)
	if refusal != nil || len(requests) == 0 {
		return nil, refusal
	}
	return jsonrpc.Encode(map[string]any{
		"resultType": modern.InputRequired, "inputRequests": requests,
		"requestState": t.ring.Seal(pollKind, route.Address.GetTargetId(), jsonrpc.Encode(polled{user, run, req.Digest()})),
	}), nil
}

// told gives the answers that a client brings to the run that asked.
func (t *Tasks) told(ctx context.Context, route *routes.Route, user string, req modern.Request) *modern.Refusal {
	payload, err := t.ring.Open(pollKind, route.Address.GetTargetId(), req.RequestState)
	var p polled
	if err != nil || json.Unmarshal(payload, &p) != nil || p.User != user || p.Digest != req.Digest() {
		return modern.Invalid("requestState is not of this call", nil)
	}
	return t.answer(ctx, route, ref{User: user, RunID: p.RunID}, req.InputResponses)
}

// runOf is the run that a call of workflows-get_status names; empty when it names none
// that there is, which the tool itself says better.
func (t *Tasks) runOf(ctx context.Context, route *routes.Route, call jsonrpc.Call) string {
	var named struct {
		RunID      string `json:"run_id"`
		WorkflowID string `json:"workflow_id"`
	}
	_ = json.Unmarshal(call.Arguments, &named) // then it names none
	if named.RunID != "" || named.WorkflowID == "" {
		return named.RunID
	}
	res, err := t.runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: route.Address.GetTargetId(), WorkflowId: named.WorkflowID})
	if err != nil {
		return ""
	}
	return res.GetRun().GetRunId()
}

// openTo are the open questions of a run that this user was asked and the client can
// answer.
func (t *Tasks) openTo(ctx context.Context, route *routes.Route, run, user string, req modern.Request) (map[string]json.RawMessage, *modern.Refusal) {
	target := route.Address.GetTargetId()
	asked, err := t.runs.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: target, RunId: run, PageSize: openPage})
	if err != nil {
		return nil, away(err)
	}
	var mine []*schedulerv1.Question
	for _, q := range asked.GetQuestions() {
		if q.GetUserId() == user {
			mine = append(mine, q)
		}
	}
	if len(mine) == 0 {
		return nil, nil
	}
	res, err := t.runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: target, RunId: run})
	if err != nil {
		return nil, away(err)
	}
	return describe("", ref{}, res.GetRun(), mine, req.Capabilities, route.Endpoint, t.now()).Requests, nil
}
