package schedules

import (
	"context"
	"slices"

	schedulepb "go.temporal.io/api/schedule/v1"
	"go.temporal.io/api/workflowservice/v1"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	usualPage = 50
	// atOnce bounds the questions to Temporal for one list at the same time.
	atOnce = 8
)

// GetSchedule tells how a schedule is.
func (s *Service) GetSchedule(ctx context.Context, req *schedulerv1.GetScheduleRequest) (*schedulerv1.GetScheduleResponse, error) {
	row, err := s.find(ctx, req.GetTargetId(), req.GetName())
	if err != nil {
		return nil, err
	}
	told, err := s.tell(ctx, row)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetScheduleResponse{Schedule: told}, nil
}

// ListSchedules lists the schedules of an app by name.
func (s *Service) ListSchedules(ctx context.Context, req *schedulerv1.ListSchedulesRequest) (*schedulerv1.ListSchedulesResponse, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	after, err := page.Decode(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := page.Size(int(req.GetPageSize()), usualPage, mostSchedules)
	rows, err := s.deps.Store.SchedulesOf(ctx, nil, t.ID, after, size+1, false)
	if err != nil {
		return nil, err
	}
	answer := &schedulerv1.ListSchedulesResponse{}
	if len(rows) > size {
		rows = rows[:size]
		answer.NextPageToken = page.Encode(rows[size-1].Name)
	}
	answer.Schedules = make([]*schedulerv1.Schedule, len(rows))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, row := range rows {
		group.Go(func() (err error) {
			answer.Schedules[i], err = s.tell(ctx, row)
			return err
		})
	}
	return answer, group.Wait()
}

// tell is a schedule with what Temporal knows of it. While Temporal is away or does not
// have it yet, it is what was asked for.
func (s *Service) tell(ctx context.Context, row store.Schedule) (*schedulerv1.Schedule, error) {
	told := &schedulerv1.Schedule{
		TargetId: row.TargetID, Name: row.Name, Spec: row.Spec, Declared: row.Declared != nil, Pending: row.State == store.ScheduleApplying,
		CreatedBy: row.CreatedBy, CreateTime: timestamppb.New(row.CreatedAt), UpdateTime: timestamppb.New(row.UpdatedAt),
	}
	c, _, err := s.handle(ctx, row)
	if err == nil {
		var d *workflowservice.DescribeScheduleResponse
		d, err = c.WorkflowService().DescribeSchedule(ctx, &workflowservice.DescribeScheduleRequest{
			Namespace: row.OrgID, ScheduleId: flow.ScheduleID(row.TargetID, row.Name),
		})
		if err == nil {
			addState(told, d.GetSchedule().GetState(), d.GetInfo())
		}
	}
	if told.GetPending() {
		addIntent(told, row.Intent)
		if err = away(err); fault.Unavailable.Is(err) {
			return told, nil
		}
	}
	if namespaces.IsNotFound(err) {
		return told, nil // it is over for so long that Temporal has forgotten it, or not there yet
	}
	return told, away(err)
}

// addIntent tells of a change that is on its way as if it were there.
func addIntent(told *schedulerv1.Schedule, intent store.Intent) {
	if intent.Pause != nil {
		told.Paused = *intent.Pause
	}
	if intent.Note != nil {
		told.Note = *intent.Note
	}
}

func addState(told *schedulerv1.Schedule, state *schedulepb.ScheduleState, info *schedulepb.ScheduleInfo) {
	told.Paused, told.Note = state.GetPaused(), state.GetNotes()
	if state.GetLimitedActions() {
		told.Remaining = state.GetRemainingActions()
	}
	told.NextTimes = info.GetFutureActionTimes()
	told.Started, told.Missed, told.Skipped, told.Waiting = info.GetActionCount(), info.GetMissedCatchupWindow(), info.GetOverlapSkipped(), info.GetBufferSize()
	for _, action := range slices.Backward(info.GetRecentActions()) {
		told.RecentRuns = append(told.RecentRuns, &schedulerv1.ScheduledRun{
			ScheduledTime: action.GetScheduleTime(), StartTime: action.GetActualTime(),
			WorkflowId: action.GetStartWorkflowResult().GetWorkflowId(), RunId: action.GetStartWorkflowResult().GetRunId(),
			Status: runs.Status(action.GetStartWorkflowStatus()),
		})
	}
}
