package temporaledge

import (
	"context"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
)

// Types of the failures that this side gives runs.
const (
	tooLarge   = "ValueTooLarge"
	resultLost = "ResultLost"
	storeAway  = "ValueStoreAway"
)

// out encodes what a request brings. A value that is too large ends the step that made
// it with an error, for a refusal would only be tried again; then there is an answer.
func (p *passage) out(ctx context.Context, req proto.Message) (any, error) {
	if bare(req) {
		return nil, nil
	}
	err := p.edge.deps.Payloads.Out(ctx, payloads.Scope{OrgID: p.who.OrgID, WorkflowID: p.writesTo(req)}, req)
	if !fault.TooLarge.Is(err) {
		return nil, inWords(err)
	}
	switch r := req.(type) {
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		r.Commands, r.Messages, r.QueryResults = []*commandpb.Command{failing(err)}, nil, nil
		return nil, nil
	case *workflowservice.RespondActivityTaskCompletedRequest:
		return &workflowservice.RespondActivityTaskCompletedResponse{}, p.failActivity(ctx, r.GetTaskToken(), failure(err, true))
	}
	return nil, inWords(err)
}

// bare says whether a request has no payloads, which most have not.
func bare(req proto.Message) bool {
	switch req.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest, *workflowservice.PollActivityTaskQueueRequest, *workflowservice.RecordWorkerHeartbeatRequest:
		return true
	}
	return false
}

// writesTo is the workflow whose history a request's payloads go to.
func (p *passage) writesTo(req proto.Message) string {
	if p.workflowID != "" {
		return p.workflowID
	}
	switch r := req.(type) {
	case interface{ GetWorkflowId() string }:
		return r.GetWorkflowId()
	case interface {
		GetWorkflowExecution() *commonpb.WorkflowExecution
	}:
		return r.GetWorkflowExecution().GetWorkflowId()
	case interface {
		GetExecution() *commonpb.WorkflowExecution
	}:
		return r.GetExecution().GetWorkflowId()
	}
	return ""
}

// in decodes what an answer brings. A task whose values cannot be had is handed back to
// Temporal with the reason, which the run then shows; the agent sees an empty poll.
func (p *passage) in(ctx context.Context, answer any) (any, error) {
	message, ok := answer.(proto.Message)
	if !ok {
		return answer, nil
	}
	err := p.edge.deps.Payloads.In(ctx, p.who.OrgID, message)
	switch a := answer.(type) {
	case *workflowservice.DescribeNamespaceResponse:
		// SDKs fail a step again and again that makes a value above the namespace's limit.
		// This side ends the run, which says why.
		if limits := a.GetNamespaceInfo().GetLimits(); limits != nil {
			limits.BlobSizeLimitError, limits.MemoSizeLimitError = maxFromAgent, maxFromAgent
		}
	case *workflowservice.PollWorkflowTaskQueueResponse:
		if err != nil {
			return &workflowservice.PollWorkflowTaskQueueResponse{}, p.failWorkflow(ctx, a.GetTaskToken(), err)
		}
	case *workflowservice.PollActivityTaskQueueResponse:
		if err != nil {
			return &workflowservice.PollActivityTaskQueueResponse{}, p.failActivity(ctx, a.GetTaskToken(), failure(err, !fault.Unavailable.Is(err)))
		}
	case *workflowservice.RespondWorkflowTaskCompletedResponse:
		if err != nil {
			return p.handBack(ctx, a, err)
		}
	}
	return answer, inWords(err)
}

// handBack fails the tasks that came with the acknowledgement of another.
func (p *passage) handBack(ctx context.Context, a *workflowservice.RespondWorkflowTaskCompletedResponse, why error) (any, error) {
	if token := a.GetWorkflowTask().GetTaskToken(); len(token) > 0 {
		if err := p.failWorkflow(ctx, token, why); err != nil {
			return nil, err
		}
	}
	for _, task := range a.GetActivityTasks() {
		if err := p.failActivity(ctx, task.GetTaskToken(), failure(why, false)); err != nil {
			return nil, err
		}
	}
	a.WorkflowTask, a.ActivityTasks = nil, nil
	return a, nil
}

func (p *passage) failWorkflow(ctx context.Context, taskToken []byte, why error) error {
	_, err := p.edge.client.RespondWorkflowTaskFailed(ctx, &workflowservice.RespondWorkflowTaskFailedRequest{
		Namespace: p.who.OrgID, TaskToken: taskToken, Failure: failure(why, false),
		Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_WORKFLOW_WORKER_UNHANDLED_FAILURE, Identity: "agentcloud-edge",
	})
	return err
}

func (p *passage) failActivity(ctx context.Context, taskToken []byte, why *failurepb.Failure) error {
	_, err := p.edge.client.RespondActivityTaskFailed(ctx, &workflowservice.RespondActivityTaskFailedRequest{
		Namespace: p.who.OrgID, TaskToken: taskToken, Failure: why, Identity: "agentcloud-edge",
	})
	return err
}

// failing ends a workflow that made a value that is too large.
func failing(why error) *commandpb.Command {
	return &commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_FAIL_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_FailWorkflowExecutionCommandAttributes{
			FailWorkflowExecutionCommandAttributes: &commandpb.FailWorkflowExecutionCommandAttributes{Failure: failure(why, true)},
		},
	}
}

func failure(why error, final bool) *failurepb.Failure {
	kind := resultLost
	switch {
	case fault.TooLarge.Is(why):
		kind = tooLarge
	case fault.Unavailable.Is(why):
		kind = storeAway
	}
	return &failurepb.Failure{
		Message: fault.Message(why), Source: "agentcloud",
		FailureInfo: &failurepb.Failure_ApplicationFailureInfo{ApplicationFailureInfo: &failurepb.ApplicationFailureInfo{Type: kind, NonRetryable: final}},
	}
}

// inWords gives an agent the reason why a call was not passed on.
func inWords(err error) error {
	switch fault.KindOf(err) {
	case fault.None:
		return nil
	case fault.TooLarge:
		return status.Error(codes.InvalidArgument, fault.Message(err))
	case fault.NotFound:
		return status.Error(codes.DataLoss, fault.Message(err))
	case fault.Unavailable:
		return status.Error(codes.Unavailable, fault.Message(err))
	}
	return err
}
