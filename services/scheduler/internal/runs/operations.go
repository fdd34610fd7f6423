package runs

import (
	"context"
	"strings"
	"time"
	"unicode/utf8"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	maxReason = 1000
	// factWithin bounds the record of what has been done already.
	factWithin = 10 * time.Second
)

// Questions are those that runs wait to be told.
type Questions interface {
	ListQuestions(ctx context.Context, req *schedulerv1.ListQuestionsRequest) (*schedulerv1.ListQuestionsResponse, error)
}

// Operations is what operators do with runs, one or many at once.
type Operations struct {
	schedulerv1.UnimplementedRunOperationsServiceServer
	*Service
	questions Questions
}

// NewOperations returns Operations on the runs of s.
func NewOperations(s *Service, questions Questions) *Operations {
	return &Operations{Service: s, questions: questions}
}

// An act is something a caller does to a run, with what it says for it.
type act struct {
	found
	by, reason string
}

// named is what every request about one run has.
type named interface {
	GetTargetId() string
	GetRunId() string
	GetWorkflowId() string
}

// act finds the run that a caller wants to do something to.
func (o *Operations) act(ctx context.Context, req interface {
	named
	GetReason() string
},
) (act, error) {
	reason, err := reasonOf(req.GetReason())
	if err != nil {
		return act{}, err
	}
	f, err := o.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	return act{found: f, by: principal.From(ctx).UserID, reason: reason}, err
}

func reasonOf(text string) (string, error) {
	switch {
	case len(text) > maxReason:
		return "", fault.Invalid.Errorf("the reason has %d bytes; at most %d are taken", len(text), maxReason)
	case !utf8.ValidString(text):
		return "", fault.Invalid.Errorf("the reason must be text")
	}
	return strings.TrimSpace(text), nil
}

// over is the fault for a run that has ended.
func over(f found) error {
	if status := f.status(); status != enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING && outcomes[status] != "" {
		return fault.Conflict.Errorf("the run is over: %s", strings.ReplaceAll(outcomes[status], "_", " "))
	}
	return fault.Conflict.Errorf("the run is over")
}

func (f found) status() enumspb.WorkflowExecutionStatus {
	return f.description.GetWorkflowExecutionInfo().GetStatus()
}

func (f found) execution() *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: f.workflowID, RunId: f.runID}
}

// fact is what is written down about f.
func (f found) fact() store.Run {
	info := f.description.GetWorkflowExecutionInfo()
	return store.Run{
		RunID: f.runID, WorkflowID: f.workflowID, TargetID: f.target.ID, OrgID: f.target.OrgID,
		VersionID: versionOf(info), Type: info.GetType().GetName(),
	}
}

// done has something written down that Temporal has accepted, also when the caller has
// gone away meanwhile.
func (o *Operations) done(ctx context.Context, f found, record func(context.Context) error) error {
	o.recent.forget(f.runID)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), factWithin)
	defer cancel()
	return record(ctx)
}

// TerminateRun ends a run by force.
func (o *Operations) TerminateRun(ctx context.Context, req *schedulerv1.TerminateRunRequest) (*schedulerv1.TerminateRunResponse, error) {
	a, err := o.act(ctx, req)
	if err != nil {
		return nil, err
	}
	if closed(a.found) {
		return nil, over(a.found)
	}
	_, err = a.client.WorkflowService().TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{
		Namespace: a.target.OrgID, WorkflowExecution: a.execution(), Reason: a.reason, Identity: a.by,
	})
	if namespaces.IsNotFound(err) {
		return nil, over(found{})
	}
	if err != nil {
		return nil, away(err)
	}
	return &schedulerv1.TerminateRunResponse{}, o.done(ctx, a.found, func(ctx context.Context) error {
		return o.deps.Record.Terminated(ctx, a, o.deps.Now())
	})
}

// PauseRun holds an open run.
func (o *Operations) PauseRun(ctx context.Context, req *schedulerv1.PauseRunRequest) (*schedulerv1.PauseRunResponse, error) {
	a, err := o.act(ctx, req)
	if err != nil {
		return nil, err
	}
	if closed(a.found) {
		return nil, over(a.found)
	}
	if a.paused() {
		return &schedulerv1.PauseRunResponse{}, nil
	}
	_, err = a.client.WorkflowService().PauseWorkflowExecution(ctx, &workflowservice.PauseWorkflowExecutionRequest{
		Namespace: a.target.OrgID, WorkflowId: a.workflowID, RunId: a.runID, Identity: a.by, Reason: a.reason, RequestId: o.deps.NewUUID(),
	})
	if changed, err := switched(err); err != nil || !changed {
		return &schedulerv1.PauseRunResponse{}, err
	}
	return &schedulerv1.PauseRunResponse{Changed: true}, o.done(ctx, a.found, func(ctx context.Context) error {
		return o.deps.Record.Paused(ctx, a, o.deps.Now())
	})
}

// UnpauseRun lets a run that was held go on.
func (o *Operations) UnpauseRun(ctx context.Context, req *schedulerv1.UnpauseRunRequest) (*schedulerv1.UnpauseRunResponse, error) {
	a, err := o.act(ctx, req)
	if err != nil {
		return nil, err
	}
	if closed(a.found) {
		return nil, over(a.found)
	}
	if !a.paused() {
		return &schedulerv1.UnpauseRunResponse{}, nil
	}
	_, err = a.client.WorkflowService().UnpauseWorkflowExecution(ctx, &workflowservice.UnpauseWorkflowExecutionRequest{
		Namespace: a.target.OrgID, WorkflowId: a.workflowID, RunId: a.runID, Identity: a.by, Reason: a.reason, RequestId: o.deps.NewUUID(),
	})
	if changed, err := switched(err); err != nil || !changed {
		return &schedulerv1.UnpauseRunResponse{}, err
	}
	return &schedulerv1.UnpauseRunResponse{Changed: true}, o.done(ctx, a.found, func(ctx context.Context) error {
		return o.deps.Record.Unpaused(ctx, a, o.deps.Now())
	})
}

func (f found) paused() bool {
	return f.status() == enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED
}

// switched reads Temporal's answer to a pause or its end: somebody else may have been
// quicker, and the run may have ended meanwhile.
func switched(err error) (changed bool, _ error) {
	switch {
	case err == nil:
		return true, nil
	case namespaces.IsNotFound(err):
		return false, over(found{})
	}
	switch namespaces.Code(err) {
	case codes.FailedPrecondition:
		return false, nil
	case codes.Unimplemented:
		return false, fault.Unimplemented.Wrap(err, "this Temporal server does not pause runs; its dynamic configuration needs frontend.WorkflowPauseEnabled")
	}
	return false, away(err)
}
