package edgetest

import (
	"context"
	"sync"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Runs is the scheduler's memory of runs and their questions.
type Runs struct {
	schedulerv1.UnimplementedRunsServiceServer
	// Refuse, when it is set before the first call, fails calls by their request.
	Refuse func(proto.Message) error

	mu        sync.Mutex
	runs      map[string]*schedulerv1.Run
	requests  []proto.Message
	callers   []principal.Principal
	questions []*question
	changed   chan struct{}
}

// NewRuns returns an empty memory.
func NewRuns() *Runs { return &Runs{runs: map[string]*schedulerv1.Run{}, changed: make(chan struct{})} }

// Put records a run.
func (r *Runs) Put(run *schedulerv1.Run) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.runs[run.GetRunId()] = run
}

// Requests are the calls so far that were of a type, with who made them.
func Requests[M proto.Message](r *Runs) (requests []M, callers []principal.Principal) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, req := range r.requests {
		if m, ok := req.(M); ok {
			requests, callers = append(requests, m), append(callers, r.callers[i])
		}
	}
	return requests, callers
}

func (r *Runs) note(ctx context.Context, req proto.Message) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests, r.callers = append(r.requests, req), append(r.callers, principal.From(ctx))
	if r.Refuse != nil {
		return r.Refuse(req)
	}
	return nil
}

// StartRun records a run under the name with "-run".
func (r *Runs) StartRun(ctx context.Context, req *schedulerv1.StartRunRequest) (*schedulerv1.StartRunResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	run := &schedulerv1.Run{
		WorkflowId: req.GetName() + "-1", RunId: req.GetName() + "-run", TargetId: req.GetTargetId(), Name: req.GetName(),
		Status: schedulerv1.RunStatus_RUN_STATUS_RUNNING, StartedBy: principal.From(ctx).UserID, SessionId: req.GetSessionId(),
		ProgressTokenJson: req.GetProgressTokenJson(),
	}
	r.Put(run)
	return &schedulerv1.StartRunResponse{WorkflowId: run.GetWorkflowId(), RunId: run.GetRunId()}, nil
}

func (r *Runs) find(targetID, runID, workflowID string) *schedulerv1.Run {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, run := range r.runs {
		if run.GetTargetId() == targetID && (run.GetRunId() == runID || runID == "" && run.GetWorkflowId() == workflowID) {
			return run
		}
	}
	return nil
}

// GetRun finds a run of the target.
func (r *Runs) GetRun(ctx context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	run := r.find(req.GetTargetId(), req.GetRunId(), req.GetWorkflowId())
	if run == nil {
		return nil, fault.NotFound.Errorf("no such run")
	}
	return &schedulerv1.GetRunResponse{Run: run}, nil
}

// ListRuns lists the target's runs; there is always another page.
func (r *Runs) ListRuns(ctx context.Context, req *schedulerv1.ListRunsRequest) (*schedulerv1.ListRunsResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	answer := &schedulerv1.ListRunsResponse{NextPageToken: "more"}
	for _, run := range r.runs {
		if run.GetTargetId() == req.GetTargetId() {
			answer.Runs = append(answer.Runs, run)
		}
	}
	return answer, nil
}

// SignalRun finds open runs only.
func (r *Runs) SignalRun(ctx context.Context, req *schedulerv1.SignalRunRequest) (*schedulerv1.SignalRunResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	return &schedulerv1.SignalRunResponse{Found: r.find(req.GetTargetId(), req.GetRunId(), req.GetWorkflowId()) != nil}, nil
}

// CancelRun finds open runs only.
func (r *Runs) CancelRun(ctx context.Context, req *schedulerv1.CancelRunRequest) (*schedulerv1.CancelRunResponse, error) {
	if err := r.note(ctx, req); err != nil {
		return nil, err
	}
	return &schedulerv1.CancelRunResponse{Found: r.find(req.GetTargetId(), req.GetRunId(), req.GetWorkflowId()) != nil}, nil
}
