package deployments

import (
	"context"
	"errors"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// RestWarm ends the processes of a version that stays up for a rollback; that, or a run
// that needs it, starts them again.
func (s *Service) RestWarm(ctx context.Context, versionID string) error {
	release, free := s.holding.Try(versionID)
	if !free {
		return nil
	}
	defer release()
	return s.steps.restWarm(ctx, versionID)
}

func (s *steps) restWarm(ctx context.Context, versionID string) error {
	defer s.starting.Take(versionID)()
	v, err := s.store.Version(ctx, versionID)
	if err != nil || v.State != store.Draining {
		return err
	}
	if t, err := s.store.Target(ctx, v.TargetID); err != nil || t.Pending == v.ID || t.Removing {
		return err
	}
	for _, role := range Roles(v) {
		if err := errors.Join(s.slept(ctx, v, role), s.endRole(ctx, v, role)); err != nil {
			return err
		}
	}
	return nil
}
