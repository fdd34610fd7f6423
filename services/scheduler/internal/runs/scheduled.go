package runs

import (
	"context"
	"errors"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/retries"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Action is how a schedule starts runs.
type Action struct {
	Type     string
	Payloads []any
	// Options are those of the start; the id is the schedule's.
	Options client.StartWorkflowOptions
}

// Scheduled is what a schedule starts.
type Scheduled struct {
	Schedule string
	// Name of a workflow or tool.
	Name, ArgumentsJSON string
	// Share is whose place in the queues its runs take, and how early a one.
	Share    priorities.Share
	Priority int32 // 0: as the version says
}

// Action says how a schedule of a target starts runs of its live version. It fails with
// fault.NotFound when the version has no such workflow or tool, with fault.Invalid when
// the arguments or the priority do not fit, and with fault.Denied when the priority is
// not allowed.
func (s *Service) Action(t store.Target, v store.Version, what Scheduled) (Action, error) {
	known, err := signatureOf(v, what.Name)
	if err != nil {
		return Action{}, err
	}
	run := start{
		target: t, version: known.version, name: what.Name, tool: known.tool,
		id: flow.ScheduleID(t.ID, what.Schedule), userID: flow.StartedBySchedule(what.Schedule),
	}
	if run.args, err = known.params.check(what.ArgumentsJSON); err != nil {
		return Action{}, err
	}
	if run.priority, err = what.Share.Priority(what.Priority, known.priority); err != nil {
		return Action{}, err
	}
	options := run.options(s.deps.Policy)
	options.Memo[flow.MemoSchedule] = what.Schedule
	if run.tool {
		s.deps.Tools.Ensure(t.OrgID)
		// The schedule lives longer than the version: its runs ask when they begin.
		delete(options.Memo, flow.MemoToolsQueue)
		delete(options.Memo, flow.MemoActivity)
		options.TypedSearchAttributes = temporal.NewSearchAttributes(
			temporal.NewSearchAttributeKeyKeyword(flow.TargetAttribute).ValueSet(t.ID),
			temporal.NewSearchAttributeKeyKeyword(flow.CallerAttribute).ValueSet(run.userID),
		)
	}
	action := Action{Type: run.workflowType(), Options: options}
	for _, text := range run.texts() {
		// As they are, however large: what is kept outside of histories goes with a run, and
		// these are for all that will be.
		action.Payloads = append(action.Payloads, converter.NewRawValue(inJSON(text)))
	}
	return action, nil
}

// BeginScheduled begins the runs of tools that schedules start: nobody here has seen
// them yet.
type BeginScheduled struct {
	Store  *store.Store
	Record *Recorder
	Policy flow.ActivityPolicy
	Now    func() time.Time
}

// Begin writes a run down and says where its body runs: on the live version.
func (b BeginScheduled) Begin(ctx context.Context, targetID string) (flow.ToolPlace, error) {
	info := activity.GetInfo(ctx)
	t, err := b.Store.Target(ctx, targetID)
	if err == nil && (t.Live == "" || t.Removing || t.OrgID != info.Namespace) || fault.NotFound.Is(err) {
		return flow.ToolPlace{}, temporal.NewNonRetryableApplicationError("the app has no live version any more", "NoSuchTool", err)
	}
	if err != nil {
		return flow.ToolPlace{}, errors.New("the app was not found in the store")
	}
	v, err := b.Store.Version(ctx, t.Live)
	if err != nil {
		return flow.ToolPlace{}, errors.New("the live version was not found in the store")
	}
	name := nameOf(info.WorkflowType.Name)
	if _, tool, err := schemaOf(v.Capture, name); err != nil || !tool {
		return flow.ToolPlace{}, temporal.NewNonRetryableApplicationError("the app has no tool "+name+" any more", "NoSuchTool", nil)
	}
	err = b.Record.Started(ctx, store.Run{
		RunID: info.WorkflowExecution.RunID, WorkflowID: info.WorkflowExecution.ID, TargetID: t.ID, OrgID: t.OrgID,
		VersionID: v.ID, Type: info.WorkflowType.Name, StartedAt: b.Now(),
	})
	if err != nil {
		return flow.ToolPlace{}, errors.New("the start of the run was not recorded")
	}
	return flow.ToolPlace{Queue: agentenv.ToolsQueue(t.ID, v.ID), VersionID: v.ID, Policy: retries.Policy(b.Policy, v.Retries, name)}, nil
}

// Status is how a run is, by Temporal's word for it.
func Status(s enumspb.WorkflowExecutionStatus) schedulerv1.RunStatus { return statuses[s] }
