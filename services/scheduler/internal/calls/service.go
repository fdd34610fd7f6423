// Package calls keeps calls that wait for their clients, each as a workflow: what is
// asked, what was answered, who reads the agent's stream, how it ended.
//
// What a call is about, and going on with one, is the gateway's business.
package calls

import (
	"context"
	"log/slog"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	// Namespaces gives the client of the scheduler's own namespace.
	Namespaces interface {
		System(ctx context.Context) (client.Client, error)
	}
	Log *slog.Logger
}

// Service answers for calls that wait.
type Service struct {
	schedulerv1.UnimplementedCallsServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// AskCall notes what a call asks now.
func (s *Service) AskCall(ctx context.Context, req *schedulerv1.AskCallRequest) (*schedulerv1.AskCallResponse, error) {
	ask, err := askOf(req)
	if err != nil {
		return nil, err
	}
	c, err := s.client(ctx, ask.Call.TargetID, ask.Call.ID)
	if err != nil {
		return nil, err
	}
	start := c.NewWithStartWorkflowOperation(client.StartWorkflowOptions{
		ID: flow.CallID(ask.Call.ID), TaskQueue: flow.CallsQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_REJECT_DUPLICATE,
	}, flow.CallWorkflow, ask)
	handle, err := c.UpdateWithStartWorkflow(ctx, client.UpdateWithStartWorkflowOptions{
		StartWorkflowOperation: start, UpdateOptions: update(ask.Call.ID, flow.CallAskUpdate, ask),
	})
	if err == nil {
		err = handle.Get(ctx, nil)
	}
	return &schedulerv1.AskCallResponse{}, refusal(err)
}

// AnswerCall notes what the client answered.
func (s *Service) AnswerCall(ctx context.Context, req *schedulerv1.AnswerCallRequest) (*schedulerv1.AnswerCallResponse, error) {
	reply, err := replyOf(req)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.AnswerCallResponse{}, s.change(ctx, req, flow.CallAnswerUpdate, reply, nil)
}

// FinishCall notes how a call ended.
func (s *Service) FinishCall(ctx context.Context, req *schedulerv1.FinishCallRequest) (*schedulerv1.FinishCallResponse, error) {
	if len(req.GetOutcome()) > maxBytes {
		return nil, errTooLarge
	}
	end := flow.CallEnd{Lease: req.GetLease(), Outcome: req.GetOutcome()}
	return &schedulerv1.FinishCallResponse{}, s.change(ctx, req, flow.CallFinishUpdate, end, nil)
}

// TakeCall makes a replica the reader of a call whose reader has died.
func (s *Service) TakeCall(ctx context.Context, req *schedulerv1.TakeCallRequest) (*schedulerv1.TakeCallResponse, error) {
	if req.GetBy() == "" || len(req.GetBy()) > maxName || len(req.GetFrom()) > maxName {
		return nil, fault.Invalid.Errorf("the reader of a call has a name of at most %d bytes", maxName)
	}
	var call flow.Call
	err := s.change(ctx, req, flow.CallTakeUpdate, flow.CallTake{From: req.GetFrom(), By: req.GetBy()}, &call)
	if fault.NotFound.Is(err) || fault.Conflict.Is(err) { // or it has ended
		call, err = s.find(ctx, req)
	}
	if err == nil && call.TargetID != req.GetTargetId() {
		err = errNoCall
	}
	if err != nil {
		return nil, err
	}
	return &schedulerv1.TakeCallResponse{Call: toProto(call)}, nil
}

// GetCall tells how a call is.
func (s *Service) GetCall(ctx context.Context, req *schedulerv1.GetCallRequest) (*schedulerv1.GetCallResponse, error) {
	call, err := s.find(ctx, req)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetCallResponse{Call: toProto(call)}, nil
}

// named is a request about one call.
type named interface {
	GetTargetId() string
	GetCallId() string
}

// client checks that the gateway asks for a target that it may see.
func (s *Service) client(ctx context.Context, targetID, callID string) (client.Client, error) {
	if principal.From(ctx).Kind != principal.Service {
		return nil, fault.Denied.Errorf("calls that wait are kept for the gateway alone")
	}
	if callID == "" || len(callID) > maxName {
		return nil, fault.Invalid.Errorf("a call has an id of at most %d bytes", maxName)
	}
	if _, err := s.deps.Store.VisibleTarget(ctx, targetID); err != nil {
		return nil, err
	}
	c, err := s.deps.Namespaces.System(ctx)
	return c, namespaces.Fault(err, "Temporal does not answer")
}

// change gives an update to a call that is open.
func (s *Service) change(ctx context.Context, req named, name string, argument, result any) error {
	c, err := s.client(ctx, req.GetTargetId(), req.GetCallId())
	if err != nil {
		return err
	}
	handle, err := c.UpdateWorkflow(ctx, update(req.GetCallId(), name, argument))
	if err == nil {
		err = handle.Get(ctx, result)
	}
	return refusal(err)
}

func update(callID, name string, argument any) client.UpdateWorkflowOptions {
	return client.UpdateWorkflowOptions{
		WorkflowID: flow.CallID(callID), UpdateName: name, Args: []any{argument}, WaitForStage: client.WorkflowUpdateStageCompleted,
	}
}

// find reads a call, also one that has ended.
func (s *Service) find(ctx context.Context, req named) (call flow.Call, err error) {
	c, err := s.client(ctx, req.GetTargetId(), req.GetCallId())
	if err != nil {
		return call, err
	}
	value, err := c.QueryWorkflow(ctx, flow.CallID(req.GetCallId()), "", flow.CallState)
	if err == nil {
		err = value.Get(&call)
	}
	if err == nil && call.TargetID != req.GetTargetId() {
		err = errNoCall
	}
	return call, refusal(err)
}
