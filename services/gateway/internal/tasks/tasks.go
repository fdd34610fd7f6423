// Package tasks serves the tasks extension of MCP (io.modelcontextprotocol/tasks,
// SEP-2663): a workflow tool's run, as a task that is asked for, answered and stopped
// by id.
//
// It keeps nothing. A task is a run of the scheduler's, and its id, sealed, says which:
// any replica serves it, also after a restart.
package tasks

import (
	"context"
	"encoding/json"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/workflowtools"
)

const (
	// idKind is the kind of a sealed task id.
	idKind = "t1"
	// IdempotencyKey is the _meta key by which a repeated call finds the same run.
	IdempotencyKey = "io.agentcloud/idempotencyKey"
	openPage       = 100
)

// Tasks serves tasks.
type Tasks struct {
	runs  schedulerv1.RunsServiceClient
	tools *workflowtools.Tools
	ring  *seal.Ring
	now   func() time.Time
}

// New returns Tasks on the scheduler's runs.
func New(runs schedulerv1.RunsServiceClient, tools *workflowtools.Tools, ring *seal.Ring) *Tasks {
	return &Tasks{runs: runs, tools: tools, ring: ring, now: time.Now}
}

// ref is what a task's id says. It is bound to the app by its seal.
type ref struct {
	User       string `json:"u,omitempty"`
	WorkflowID string `json:"w"`
	RunID      string `json:"r"`
	// Created is in milliseconds since 1970.
	Created int64 `json:"c"`
	// Kept is for how many milliseconds the run is known after its end; 0: the id is of a
	// time when that was not said.
	Kept int64 `json:"k,omitempty"`
}

// Create starts the run that a tool call asks for, and makes it a task. The run is
// durable when Create returns.
func (t *Tasks) Create(ctx context.Context, route *routes.Route, call jsonrpc.Call, key string) (json.RawMessage, error) {
	r, err := t.start(ctx, route, call, key)
	if err != nil {
		return nil, err
	}
	return t.created(route, r), nil
}

func (t *Tasks) start(ctx context.Context, route *routes.Route, call jsonrpc.Call, key string) (ref, error) {
	started, err := t.tools.Start(ctx, route, call, workflowtools.Origin{IdempotencyKey: key})
	if err != nil {
		return ref{}, err
	}
	res, err := t.runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: route.Address.GetTargetId(), RunId: started.RunID})
	if err != nil {
		return ref{}, err
	}
	began := t.now()
	if at := res.GetRun().GetStartTime(); at != nil {
		began = at.AsTime()
	}
	return ref{
		User: principal.From(ctx).UserID, WorkflowID: started.WorkflowID, RunID: started.RunID,
		Created: began.UnixMilli(), Kept: res.GetRun().GetRetention().AsDuration().Milliseconds(),
	}, nil
}

// created is the answer that a call has become a task.
func (t *Tasks) created(route *routes.Route, r ref) json.RawMessage {
	at := stamp(time.UnixMilli(r.Created))
	return jsonrpc.Encode(view{
		ResultType: modern.Task, TaskID: t.ring.Seal(idKind, route.Address.GetTargetId(), jsonrpc.Encode(r)), Status: working, Message: "started",
		Created: at, Updated: at, Poll: pollFirst,
	})
}

// ErrUnknown says the same of an id that never was and of somebody else's.
var ErrUnknown = modern.Invalid("Task not found", nil)

// open reads a task's id. Only who made the task may use it.
func (t *Tasks) open(ctx context.Context, route *routes.Route, id string) (ref, *modern.Refusal) {
	payload, err := t.ring.Open(idKind, route.Address.GetTargetId(), id)
	var r ref
	if err != nil || json.Unmarshal(payload, &r) != nil || r.User != principal.From(ctx).UserID {
		return ref{}, ErrUnknown
	}
	return r, nil
}

// run finds the run of a task. It is expired when it can have been forgotten since.
func (t *Tasks) run(ctx context.Context, route *routes.Route, r ref) (*schedulerv1.Run, *modern.Refusal) {
	res, err := t.runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: route.Address.GetTargetId(), RunId: r.RunID})
	switch {
	case fault.NotFound.Is(err) && t.now().UnixMilli() >= r.Created+r.Kept:
		return nil, modern.Invalid("Task has expired", nil)
	case fault.NotFound.Is(err):
		return nil, ErrUnknown
	case err != nil:
		return nil, away(err)
	}
	return res.GetRun(), nil
}

// Get tells how a task is (tasks/get).
func (t *Tasks) Get(ctx context.Context, route *routes.Route, id string, client modern.Capabilities) (json.RawMessage, *modern.Refusal) {
	r, refusal := t.open(ctx, route, id)
	if refusal != nil {
		return nil, refusal
	}
	run, refusal := t.run(ctx, route, r)
	if refusal != nil {
		return nil, refusal
	}
	var open []*schedulerv1.Question
	if run.GetCloseTime() == nil {
		asked, err := t.runs.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: route.Address.GetTargetId(), RunId: r.RunID, PageSize: openPage})
		if err != nil {
			return nil, away(err)
		}
		open = asked.GetQuestions()
	}
	return jsonrpc.Encode(describe(id, r, run, open, client, route.Endpoint, t.now())), nil
}

// Update answers what a task asks (tasks/update). Keys that are not open are ignored;
// what is answered here is gone from the next Get.
func (t *Tasks) Update(ctx context.Context, route *routes.Route, id string, responses json.RawMessage) (json.RawMessage, *modern.Refusal) {
	r, refusal := t.open(ctx, route, id)
	if refusal != nil {
		return nil, refusal
	}
	if responses == nil {
		return nil, modern.Invalid("inputResponses is missing", nil)
	}
	if _, refusal := t.run(ctx, route, r); refusal != nil {
		return nil, refusal
	}
	if refusal := t.answer(ctx, route, r, responses); refusal != nil {
		return nil, refusal
	}
	return done, nil
}

// answer gives the answers to those questions of a run that are open.
func (t *Tasks) answer(ctx context.Context, route *routes.Route, r ref, responses json.RawMessage) *modern.Refusal {
	asked, err := t.runs.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: route.Address.GetTargetId(), RunId: r.RunID, PageSize: openPage})
	if err != nil && !fault.NotFound.Is(err) {
		return away(err)
	}
	given := map[string]json.RawMessage{}
	_ = json.Unmarshal(responses, &given) // an object, as the envelope's check said
	for _, question := range asked.GetQuestions() {
		answer, ok := given[question.GetQuestionId()]
		if !ok {
			continue
		}
		if !jsonrpc.IsObject(answer) {
			return modern.Invalid("inputResponses."+question.GetQuestionId()+" must be an object", nil)
		}
		_, err := t.runs.AnswerQuestion(ctx, &schedulerv1.AnswerQuestionRequest{QuestionId: question.GetQuestionId(), AnswerJson: string(answer)})
		switch {
		case fault.Invalid.Is(err), fault.TooLarge.Is(err):
			return modern.Invalid(fault.Message(err), nil)
		case err != nil && !fault.NotFound.Is(err) && !fault.Conflict.Is(err):
			return away(err)
		}
	}
	return nil
}

// Cancel asks a task to end (tasks/cancel), which it does before long; one that has ended
// stays as it is.
func (t *Tasks) Cancel(ctx context.Context, route *routes.Route, id string) (json.RawMessage, *modern.Refusal) {
	r, refusal := t.open(ctx, route, id)
	if refusal != nil {
		return nil, refusal
	}
	if _, refusal := t.run(ctx, route, r); refusal != nil {
		return nil, refusal
	}
	_, err := t.runs.CancelRun(ctx, &schedulerv1.CancelRunRequest{TargetId: route.Address.GetTargetId(), RunId: r.RunID})
	if err != nil && !fault.NotFound.Is(err) {
		return nil, away(err)
	}
	return done, nil
}

// done acknowledges.
var done = json.RawMessage(`{"resultType":"complete"}`)

// away is for the rooms behind us; a task that cannot be looked up is not unknown.
func away(err error) *modern.Refusal {
	status := fault.KindOf(err).HTTPStatus()
	if status < http.StatusInternalServerError {
		status = http.StatusServiceUnavailable
	}
	return &modern.Refusal{Status: status, Code: jsonrpc.CodeInternal, Message: fault.Message(err)}
}
