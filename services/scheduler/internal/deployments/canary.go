package deployments

import (
	"context"
	"errors"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Raise has a version's processes up and healthy, of whatever state it was.
func (s *Service) Raise(ctx context.Context, v flow.Version) (flow.Health, error) {
	return s.steps.Return(ctx, v)
}

// Promote makes a version live as PromoteVersion does. What a person must put right is a
// Failure; an error, such as another deploy that is under way, may pass.
func (s *Service) Promote(ctx context.Context, v flow.Version) (*flow.Failure, error) {
	defer beat(ctx)()
	res, err := s.PromoteVersion(ctx, &schedulerv1.PromoteVersionRequest{TargetId: v.TargetID, OrgId: v.OrgID, VersionId: v.VersionID})
	switch {
	case errors.Is(err, errUnderWay):
		return nil, errors.New(fault.Message(err))
	case err != nil:
		return s.steps.verdict(ctx, v, "promote", err)
	case res.GetOutcome() != schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE:
		return &flow.Failure{Reason: res.GetError()}, nil
	}
	return nil, nil
}

// Retire begins the end of a version that nobody wants.
func (s *Service) Retire(ctx context.Context, v flow.Version) error {
	unwanted, err := s.deps.Store.Unwanted(ctx, v.VersionID)
	if err != nil || !unwanted {
		return err
	}
	return s.startRetire(ctx, store.Version{ID: v.VersionID, TargetID: v.TargetID, OrgID: v.OrgID})
}

// PublishCanary puts the version that a target tries, or that it tries none, into the
// table of endpoints.
func (s *Service) PublishCanary(ctx context.Context, targetID string) error {
	defer s.steps.publishing.Take(targetID)()
	canary, err := s.steps.canary(ctx, targetID)
	if err == nil {
		s.deps.Table.SetCanary(targetID, canary)
	}
	return err
}

// canary is the version that a target tries; nil: none.
func (s *steps) canary(ctx context.Context, targetID string) (*schedulerv1.Canary, error) {
	r, err := s.store.OpenRollout(ctx, targetID)
	if fault.NotFound.Is(err) || err == nil && r.Step == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	v, err := s.store.Version(ctx, r.VersionID)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.Canary{RolloutId: r.ID, Endpoint: s.endpoint(v, s.look(v.TargetID, v.ID), nil), Weight: r.Weight(), Matches: r.Plan.GetMatches()}, nil
}

// untried fails with fault.Conflict while a rollout tries the version.
func (s *Service) untried(ctx context.Context, v store.Version) error {
	r, err := s.deps.Store.OpenRollout(ctx, v.TargetID)
	if fault.NotFound.Is(err) || err == nil && r.VersionID != v.ID {
		return nil
	}
	if err == nil {
		err = fault.Conflict.Errorf("version %d is being tried; abort its rollout first", v.Number)
	}
	return err
}
