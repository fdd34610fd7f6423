package tasks

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const (
	// beforeKind is the kind of the state of a call that asks before it is a task.
	beforeKind = "s3"
	// firstWord is how long a run may take to its first question; nextWord to one more.
	firstWord = 10 * time.Second
	nextWord  = 2 * time.Second
	wordLook  = 50 * time.Millisecond
)

// before is a call that is to become a task once its questions are answered.
type before struct {
	ref
	Digest [sha256.Size]byte `json:"d"`
}

// CreateAsking starts a run whose first questions are the answer to the call; the call
// that brings the last answer makes it a task. The same retry twice gives the same task.
func (t *Tasks) CreateAsking(ctx context.Context, route *routes.Route, call jsonrpc.Call, key string, req modern.Request) (json.RawMessage, *modern.Refusal, error) {
	if req.RequestState == "" {
		r, err := t.start(ctx, route, call, key)
		if err != nil {
			return nil, nil, err
		}
		result, refusal := t.hear(ctx, route, r, req, firstWord)
		return result, refusal, nil
	}
	payload, err := t.ring.Open(beforeKind, route.Address.GetTargetId(), req.RequestState)
	var b before
	if err != nil || json.Unmarshal(payload, &b) != nil || b.Digest != req.Digest() {
		return nil, modern.Invalid("requestState is not of this call", nil), nil
	}
	id := t.ring.Seal(idKind, route.Address.GetTargetId(), jsonrpc.Encode(b.ref))
	r, refusal := t.open(ctx, route, id)
	if refusal == nil {
		refusal = t.answer(ctx, route, r, req.InputResponses)
	}
	if refusal != nil {
		return nil, refusal, nil
	}
	result, refusal := t.hear(ctx, route, r, req, nextWord)
	return result, refusal, nil
}

// hear waits for what a run asks; one that asks nothing in time, or has ended, is a task.
func (t *Tasks) hear(ctx context.Context, route *routes.Route, r ref, req modern.Request, limit time.Duration) (json.RawMessage, *modern.Refusal) {
	over := time.After(limit)
	for {
		target := route.Address.GetTargetId()
		res, err := t.runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: target, RunId: r.RunID})
		if err != nil {
			return nil, away(err)
		}
		asked, err := t.runs.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: target, RunId: r.RunID, PageSize: openPage})
		if err != nil {
			return nil, away(err)
		}
		v := describe("", r, res.GetRun(), asked.GetQuestions(), req.Capabilities, route.Endpoint, t.now())
		switch v.Status {
		case asking:
			return jsonrpc.Encode(map[string]any{
				"resultType": modern.InputRequired, "inputRequests": v.Requests,
				"requestState": t.ring.Seal(beforeKind, target, jsonrpc.Encode(before{r, req.Digest()})),
			}), nil
		case working:
		default:
			return t.created(route, r), nil
		}
		select {
		case <-ctx.Done():
			return nil, away(ctx.Err())
		case <-over:
			return t.created(route, r), nil
		case <-time.After(wordLook):
		}
	}
}
