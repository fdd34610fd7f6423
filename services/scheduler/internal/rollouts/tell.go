package rollouts

import (
	"context"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func (s *Service) tellStart(ctx context.Context, tx *sqldb.Tx, r store.Rollout) error {
	return bus.Put(ctx, tx, &schedulerv1.RolloutStarted{
		RolloutId: r.ID, TargetId: r.TargetID, VersionId: r.VersionID, By: r.StartedBy, Time: timestamppb.New(s.deps.Now()),
	})
}

func (s *Service) tellStep(ctx context.Context, tx *sqldb.Tx, r store.Rollout, step int) error {
	return bus.Put(ctx, tx, &schedulerv1.RolloutStepBegun{
		RolloutId: r.ID, TargetId: r.TargetID, VersionId: r.VersionID, Step: int32(step), //nolint:gosec // at most mostSteps
		Weight: r.Plan.GetSteps()[step-1].GetWeight(), Time: timestamppb.New(s.deps.Now()),
	})
}

// tellEnd puts the end of a rollout on the bus, once.
func (s *Service) tellEnd(ctx context.Context, r store.Rollout) error {
	result, err := s.result(ctx, r)
	if err != nil {
		return err
	}
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		fresh, err := s.deps.Store.TellRollout(ctx, tx, r.ID)
		if err != nil || !fresh {
			return err
		}
		return bus.Put(ctx, tx, ended(r, result))
	})
}

func ended(r store.Rollout, result *schedulerv1.RolloutResult) proto.Message {
	if r.State == store.RolloutPromoted {
		return &schedulerv1.RolloutPromoted{
			RolloutId: r.ID, TargetId: r.TargetID, VersionId: r.VersionID, By: r.EndedBy, Result: result, Time: timestamppb.New(r.EndedAt),
		}
	}
	return &schedulerv1.RolloutAborted{
		RolloutId: r.ID, TargetId: r.TargetID, VersionId: r.VersionID, Superseded: r.State == store.RolloutSuperseded,
		By: r.EndedBy, Reason: r.Reason, Result: result, Time: timestamppb.New(r.EndedAt),
	}
}

// settle records the result of a rollout and puts it on the bus, once.
func (s *Service) settle(ctx context.Context, r store.Rollout) error {
	result, err := s.result(ctx, r)
	if err != nil {
		return err
	}
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		fresh, err := s.deps.Store.SettleRollout(ctx, tx, r.ID, result)
		if err != nil || !fresh {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.RolloutSettled{
			RolloutId: r.ID, TargetId: r.TargetID, VersionId: r.VersionID, State: states[r.State], Result: result, Time: timestamppb.New(s.deps.Now()),
		})
	})
}
