package sleep

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// warm lets versions sleep that stay up for a rollback while the server sleeps of the one
// that serves: then no call of theirs is under way either, for gateways count by target.
func (s *Service) warm(ctx context.Context) error {
	all, err := s.deps.Store.WarmBeside(ctx, s.deps.Now(), sleepersPerRound)
	for _, v := range all {
		s.mu.Lock()
		busy := s.resting[v.ID]
		s.resting[v.ID] = true
		s.mu.Unlock()
		if !busy && !s.work(func() { s.restWarm(v) }) {
			return nil
		}
	}
	return err
}

func (s *Service) restWarm(v store.Version) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		delete(s.resting, v.ID)
	}()
	ctx, cancel := context.WithTimeout(s.ctx, restWithin)
	defer cancel()
	for _, r := range []agentenv.Role{agentenv.RoleServer, agentenv.RoleWorker} {
		if open, err := s.openRuns(ctx, version{Version: v}, r, 1); err != nil || len(open) > 0 {
			return // it is looked at again
		}
	}
	if err := s.deps.Agents.RestWarm(ctx, v.ID); err != nil && s.ctx.Err() == nil {
		s.deps.Log.WarnContext(ctx, "a version that stays up for a rollback does not fall asleep", "version", v.ID, "error", err)
	}
}
