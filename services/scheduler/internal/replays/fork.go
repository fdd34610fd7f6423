package replays

import (
	"context"
	"errors"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/fieldmaskpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// fork is one about to be made.
type fork struct {
	req     *schedulerv1.ForkRunRequest
	run     store.Run
	version store.Version
	events  []*historypb.HistoryEvent
	point   point
	tool    bool
}

// ForkRun starts a run that takes over the results of another up to a step. It is
// Temporal's reset: the original stays as it is when it is over, and is ended when not.
func (s *Service) ForkRun(ctx context.Context, req *schedulerv1.ForkRunRequest) (*schedulerv1.ForkRunResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	f, err := s.prepare(ctx, req)
	if err != nil {
		return nil, late(ctx, err, "the fork")
	}
	role := agentenv.RoleWorker
	if f.tool {
		role = agentenv.RoleServer
		s.deps.Tools.Ensure(f.run.OrgID)
	}
	var answer *schedulerv1.ForkRunResponse
	err = s.deps.Versions.Hold(ctx, f.version, role, func(ctx context.Context) error {
		answer, err = s.reset(ctx, f)
		return err
	})
	return answer, late(ctx, err, "the fork")
}

// prepare decides what to fork, and whether that can go well.
func (s *Service) prepare(ctx context.Context, req *schedulerv1.ForkRunRequest) (fork, error) {
	f := fork{req: req}
	var err error
	if f.run, err = s.find(ctx, req.GetTargetId(), req.GetRunId()); err != nil {
		return f, err
	}
	if f.version, err = s.version(ctx, f.run, req.GetVersion()); err != nil {
		return f, err
	}
	other := f.version.ID != f.run.VersionID
	if _, f.tool = agentenv.ToolOfWorkflow(f.run.Type); f.tool && other {
		return f, fault.Invalid.Errorf("a tool is one step, which another version would do anew; call it again instead")
	}
	if f.events, err = s.history(ctx, f.run); err != nil {
		return f, err
	}
	if f.point, err = pointOf(f.events, req.GetFrom()); err != nil {
		return f, err
	}
	if other && !req.GetSkipReplay() {
		return f, s.agree(ctx, f.run, f.version, f.events[:f.point.kept])
	}
	return f, nil
}

// reset makes the fork and writes it down.
func (s *Service) reset(ctx context.Context, f fork) (*schedulerv1.ForkRunResponse, error) {
	c, err := s.deps.Namespaces.Client(ctx, f.run.OrgID)
	if err != nil {
		return nil, away(err)
	}
	open, err := openRun(ctx, c, f.run.WorkflowID)
	if err != nil {
		return nil, err
	}
	if open != "" && !f.req.GetEndOriginal() {
		return nil, fault.Conflict.Errorf("the run %s of the same workflow id is open, and a fork would end it; wait for its end, cancel it, or say that it may be ended (--end-original)", open)
	}
	made, err := c.ResetWorkflowExecution(ctx, f.request(principal.From(ctx).UserID, s.deps.NewUUID()))
	if err != nil {
		return nil, refusedReset(err)
	}
	if open != "" {
		ended := store.Run{RunID: open, WorkflowID: f.run.WorkflowID, TargetID: f.run.TargetID, OrgID: f.run.OrgID}
		if err := s.deps.Record.Closed(ctx, ended, runs.Terminated, s.deps.Now()); err != nil {
			return nil, err
		}
	}
	if err := s.record(ctx, f, made.GetRunId()); err != nil {
		return nil, err
	}
	return &schedulerv1.ForkRunResponse{
		WorkflowId: f.run.WorkflowID, RunId: made.GetRunId(), VersionId: f.version.ID, VersionNumber: f.version.Number,
		EventId: f.point.kept, ReusedSteps: f.point.reused, EndedRunId: open,
	}, nil
}

// openRun is the open run of a workflow id; empty when there is none.
func openRun(ctx context.Context, c client.Client, workflowID string) (string, error) {
	d, err := c.DescribeWorkflowExecution(ctx, workflowID, "")
	if namespaces.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", away(err)
	}
	switch d.GetWorkflowExecutionInfo().GetStatus() {
	case enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING, enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED:
		return d.GetWorkflowExecutionInfo().GetExecution().GetRunId(), nil
	}
	return "", nil
}

// withoutSignals leaves out what the original was told after the point: that belongs to
// its life, and a fork hears it only when asked for.
var withoutSignals = []enumspb.ResetReapplyExcludeType{
	enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL, enumspb.RESET_REAPPLY_EXCLUDE_TYPE_UPDATE,
}

func (f fork) request(userID, requestID string) *workflowservice.ResetWorkflowExecutionRequest {
	req := &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:         f.run.OrgID,
		WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: f.run.WorkflowID, RunId: f.run.RunID},
		Reason:            fmt.Sprintf("forked after event %d by %s", f.point.kept, userID), RequestId: requestID,
		WorkflowTaskFinishEventId: f.point.finish, ResetReapplyExcludeTypes: withoutSignals,
	}
	if f.req.GetKeepSignals() {
		req.ResetReapplyExcludeTypes = withoutSignals[1:]
	}
	if !f.tool {
		req.PostResetOperations = []*workflowpb.PostResetOperation{{Variant: pinTo(f.version)}}
	}
	return req
}

// pinTo keeps a run on a version from its first new step on, whichever is live.
func pinTo(v store.Version) *workflowpb.PostResetOperation_UpdateWorkflowOptions_ {
	pinned := &workflowpb.VersioningOverride_PinnedOverride{
		Behavior: workflowpb.VersioningOverride_PINNED_OVERRIDE_BEHAVIOR_PINNED,
		Version:  &deploymentpb.WorkerDeploymentVersion{DeploymentName: v.TargetID, BuildId: v.ID},
	}
	return &workflowpb.PostResetOperation_UpdateWorkflowOptions_{UpdateWorkflowOptions: &workflowpb.PostResetOperation_UpdateWorkflowOptions{
		WorkflowExecutionOptions: &workflowpb.WorkflowExecutionOptions{
			VersioningOverride: &workflowpb.VersioningOverride{Override: &workflowpb.VersioningOverride_Pinned{Pinned: pinned}},
		},
		UpdateMask: &fieldmaskpb.FieldMask{Paths: []string{"versioning_override"}},
	}}
}

// refusedReset puts Temporal's no into words.
func refusedReset(err error) error {
	var invalid *serviceerror.InvalidArgument
	if errors.As(err, &invalid) {
		return fault.Conflict.Wrap(err, "this run cannot be forked there: %s", invalid.Message)
	}
	return away(err)
}

// record writes the fork down as its maker's, so that its questions find them.
func (s *Service) record(ctx context.Context, f fork, runID string) error {
	now, user := s.deps.Now(), principal.From(ctx).UserID
	err := s.deps.Record.Started(ctx, store.Run{
		RunID: runID, WorkflowID: f.run.WorkflowID, TargetID: f.run.TargetID, OrgID: f.run.OrgID, VersionID: f.version.ID, Type: f.run.Type,
		UserID: user, StartedAt: now,
	})
	if err != nil {
		return err
	}
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		// The edge may have taken it for the original's owner's, as a reset's is.
		if err := s.deps.Store.GiveRun(ctx, tx, runID, user, f.version.ID); err != nil {
			return err
		}
		return bus.Put(ctx, tx, forked(f, runID, user, now))
	})
}

func forked(f fork, runID, userID string, at time.Time) *schedulerv1.RunForked {
	return &schedulerv1.RunForked{
		RunId: runID, WorkflowId: f.run.WorkflowID, TargetId: f.run.TargetID, OrgId: f.run.OrgID, OriginalRunId: f.run.RunID,
		EventId: f.point.kept, VersionId: f.version.ID, UserId: userID, Time: timestamppb.New(at),
	}
}
