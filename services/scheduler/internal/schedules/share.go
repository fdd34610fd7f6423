package schedules

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// share is whose place in the queues the runs of a schedule take: that of the user who
// made it, as if they had started each by hand. What the project declares takes the
// app's own, as runs do that its code starts. Any priority is allowed, for whoever
// asked for it was held against the rules then.
func (s *Service) share(ctx context.Context, t store.Target, row store.Schedule) (priorities.Share, error) {
	if row.Declared != nil || row.CreatedBy == "" {
		return appShare(t), nil
	}
	maker := principal.Principal{Kind: principal.User, OrgID: t.OrgID, UserID: row.CreatedBy}
	share, err := s.deps.Priorities.Of(ctx, maker, t)
	share.Highest = priorities.First
	return share, err
}

func appShare(t store.Target) priorities.Share {
	return priorities.Share{Key: t.ID, Highest: priorities.First}
}

// allowed fails with fault.Invalid or fault.Denied when the caller may not ask for the
// priority of a schedule.
func (s *Service) allowed(ctx context.Context, t store.Target, spec *schedulerv1.ScheduleSpec) error {
	share, err := s.deps.Priorities.Of(ctx, principal.From(ctx), t)
	if err != nil {
		return err
	}
	_, err = share.Priority(spec.GetPriority(), 0)
	return err
}
