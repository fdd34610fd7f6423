package apps

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

const (
	outdatedEvery = 2 * time.Second
	outdatedBatch = 4
)

// Run learns from the scheduler's events, and brings configurations to their app's
// live version, until ctx ends.
func (s *Service) Run(ctx context.Context, b *bus.Bus) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { s.followApps(ctx); return nil })
	group.Go(func() error {
		return b.Consume(ctx, "registry-apps", s.learn,
			&schedulerv1.VersionLive{}, &schedulerv1.VersionReady{}, &schedulerv1.VersionFailed{}, &schedulerv1.VersionDeleted{}, &schedulerv1.EndpointChanged{},
			&schedulerv1.RolloutStarted{}, &schedulerv1.RolloutAborted{})
	})
	return group.Wait()
}

// learn writes a fact down. Each can come again, and late: a version that was live
// and is replaced stays replaced.
func (s *Service) learn(ctx context.Context, event proto.Message) error {
	defer s.deps.Changed.Notify()
	switch e := event.(type) {
	case *schedulerv1.VersionLive:
		return s.learnLive(ctx, e)
	case *schedulerv1.VersionFailed:
		if e.GetTargetId() == e.GetAppId() {
			return s.recordFailed(ctx, e.GetVersionId(), e.GetError())
		}
		return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
			return s.deps.Store.SetConfigurationVersion(ctx, tx, e.GetTargetId(), e.GetVersionId(), false)
		})
	case *schedulerv1.VersionReady:
		return s.learnReady(ctx, e.GetVersionId())
	case *schedulerv1.VersionDeleted:
		return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
			return s.deps.Store.MarkDeleted(ctx, tx, e.GetVersionId())
		})
	case *schedulerv1.RolloutStarted:
		return s.recordTried(ctx, e.GetVersionId())
	case *schedulerv1.RolloutAborted:
		return s.learnTried(ctx, e.GetVersionId())
	case *schedulerv1.EndpointChanged:
		return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
			return s.deps.Store.SetReady(ctx, tx, e.GetTargetId(), e.GetReady())
		})
	}
	return nil
}

func (s *Service) learnLive(ctx context.Context, e *schedulerv1.VersionLive) error {
	if e.GetTargetId() != e.GetAppId() {
		return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
			return s.deps.Store.SetConfigurationVersion(ctx, tx, e.GetTargetId(), e.GetVersionId(), true)
		})
	}
	version, err := s.deps.Store.FindVersion(ctx, e.GetVersionId())
	if fault.NotFound.Is(err) {
		return nil // the app has been deleted since
	}
	if err != nil {
		return err
	}
	return s.recordLive(ctx, version, store.Switch{Number: e.GetSwitchNumber(), By: e.GetBy(), UserParams: e.GetUserParams()})
}

func (s *Service) learnReady(ctx context.Context, versionID string) error {
	version, err := s.deps.Store.FindVersion(ctx, versionID)
	if fault.NotFound.Is(err) {
		return nil // the app has been deleted since
	}
	if err != nil {
		return err
	}
	return s.recordReady(ctx, version)
}

// followApps redeploys configurations whose app has a newer live version. It begins
// with what the table says, so nothing is forgotten over a restart.
func (s *Service) followApps(ctx context.Context) {
	ticker := time.NewTicker(outdatedEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		s.follow(ctx)
	}
}

func (s *Service) follow(ctx context.Context) {
	outdated, err := s.deps.Store.Outdated(ctx, outdatedBatch)
	if err != nil {
		s.deps.Log.WarnContext(ctx, "configurations wait for their app's version", "error", err)
		return
	}
	for _, c := range outdated {
		if err := s.configure(ctx, c); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "a configuration does not follow its app", "configuration", c.ID, "error", err)
		}
	}
}
