package schedules

import (
	"context"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// mostBackfilled is how many times Temporal lists at once, and so the bound of a backfill.
const mostBackfilled = 1000

// TriggerSchedule starts a run now.
func (s *Service) TriggerSchedule(ctx context.Context, req *schedulerv1.TriggerScheduleRequest) (*schedulerv1.TriggerScheduleResponse, error) {
	policy, err := override(req.GetOverlap())
	if err != nil {
		return nil, err
	}
	_, h, err := s.ready(ctx, req.GetTargetId(), req.GetName())
	if err != nil {
		return nil, err
	}
	if err := h.Trigger(ctx, client.ScheduleTriggerOptions{Overlap: policy}); err != nil {
		return nil, over(err)
	}
	return &schedulerv1.TriggerScheduleResponse{}, nil
}

// BackfillSchedule starts the runs that were due in a range of time.
func (s *Service) BackfillSchedule(ctx context.Context, req *schedulerv1.BackfillScheduleRequest) (*schedulerv1.BackfillScheduleResponse, error) {
	policy, err := override(req.GetOverlap())
	if err != nil {
		return nil, err
	}
	from, to := req.GetStartTime(), req.GetEndTime()
	if from.CheckValid() != nil || to.CheckValid() != nil || to.AsTime().Before(from.AsTime()) {
		return nil, fault.Invalid.Errorf("a backfill needs a start and an end that is not before it")
	}
	c, h, err := s.ready(ctx, req.GetTargetId(), req.GetName())
	if err != nil {
		return nil, err
	}
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	before := timestamppb.New(from.AsTime().Add(-time.Nanosecond)) // the list leaves its own start out, a backfill does not
	due, err := c.WorkflowService().ListScheduleMatchingTimes(ctx, &workflowservice.ListScheduleMatchingTimesRequest{
		Namespace: t.OrgID, ScheduleId: flow.ScheduleID(t.ID, req.GetName()), StartTime: before, EndTime: to,
	})
	if err != nil {
		return nil, over(err)
	}
	n := len(due.GetStartTime())
	switch {
	case n >= mostBackfilled:
		return nil, fault.TooLarge.Errorf("%d runs or more were due in this range; backfill shorter ones, one after another", mostBackfilled)
	case n == 0:
		return &schedulerv1.BackfillScheduleResponse{}, nil
	}
	err = h.Backfill(ctx, client.ScheduleBackfillOptions{Backfill: []client.ScheduleBackfill{{Start: from.AsTime(), End: to.AsTime(), Overlap: policy}}})
	if err != nil {
		return nil, over(err)
	}
	return &schedulerv1.BackfillScheduleResponse{Due: int32(n)}, nil //nolint:gosec // below mostBackfilled
}

// ready finds a schedule that Temporal has as it should be.
func (s *Service) ready(ctx context.Context, targetID, name string) (client.Client, client.ScheduleHandle, error) {
	row, err := s.find(ctx, targetID, name)
	if err != nil {
		return nil, nil, err
	}
	if row.State != store.ScheduleReady {
		if err := s.apply(ctx, targetID, name); err != nil {
			return nil, nil, err
		}
	}
	return s.handle(ctx, row)
}

// over says that Temporal has no such schedule any more.
func over(err error) error {
	if namespaces.IsNotFound(err) {
		return fault.Conflict.Wrap(err, "this schedule is over; update it to let it begin anew")
	}
	return away(err)
}
