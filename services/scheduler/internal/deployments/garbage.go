package deployments

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// collectLimit is how long the builder may take to delete.
const collectLimit = 10 * time.Minute

// Garbage says what becomes of what no version needs.
type Garbage struct {
	// Every is the time between two collections.
	Every time.Duration
	// Keep is how many versions of a target stay, besides those that run.
	Keep int
}

// collectGarbage has the builder delete what no version needs, until ctx ends.
func (s *Service) collectGarbage(ctx context.Context) {
	ticker := time.NewTicker(s.deps.Garbage.Every)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := s.collectOnce(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "what no version needs is not deleted this time", "error", err)
		}
	}
}

func (s *Service) collectOnce(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, collectLimit)
	defer cancel()
	if err := s.prune(ctx); err != nil {
		return err
	}
	now := s.deps.Now() // a version that begins from here on is not on the list
	bundles, artifacts, err := s.deps.Store.Needed(ctx, s.deps.Garbage.Keep)
	if err != nil {
		return err
	}
	gone, err := s.deps.Builds.CollectGarbage(ctx, &builderv1.CollectGarbageRequest{
		BundleIds: bundles, ArtifactIds: artifacts, NotAfter: timestamppb.New(now),
	})
	if err != nil {
		return err
	}
	if gone.GetBundles()+gone.GetEnvironments() > 0 || gone.GetBytes() > 0 {
		s.deps.Log.InfoContext(ctx, "what no version needs was deleted",
			"bundles", gone.GetBundles(), "environments", gone.GetEnvironments(), "bytes", gone.GetBytes())
	}
	return nil
}
