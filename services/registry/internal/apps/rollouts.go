package apps

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// StartRollout begins to try a version.
func (s *Service) StartRollout(ctx context.Context, req *registryv1.StartRolloutRequest) (*registryv1.StartRolloutResponse, error) {
	app, caller, err := s.managed(ctx, req.GetAppId())
	if err != nil {
		return nil, err
	}
	v, err := s.kept(ctx, app, req.GetVersion())
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, detailsWait)
	defer cancel()
	res, err := s.deps.Rollouts.StartRollout(limited, &schedulerv1.StartRolloutRequest{
		TargetId: app.ID, OrgId: app.OrgID, VersionId: v.ID, Plan: req.GetPlan(), StartedBy: caller.UserID,
	})
	if err != nil {
		return nil, err
	}
	return &registryv1.StartRolloutResponse{Rollout: res.GetRollout()}, s.recordTried(ctx, v.ID)
}

// recordTried records that a version is up again to be tried.
func (s *Service) recordTried(ctx context.Context, versionID string) error {
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.deps.Store.MarkTried(ctx, tx, versionID) })
}

// learnTried records what a rollout has made of a version.
func (s *Service) learnTried(ctx context.Context, versionID string) error {
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.deps.Store.MarkUntried(ctx, tx, versionID) })
}

// ListRollouts lists an app's rollouts.
func (s *Service) ListRollouts(ctx context.Context, req *registryv1.ListRolloutsRequest) (*registryv1.ListRolloutsResponse, error) {
	app, err := s.find(ctx, req.GetAppId(), "")
	if err != nil {
		return nil, err
	}
	res, err := s.deps.Rollouts.ListRollouts(ctx, &schedulerv1.ListRolloutsRequest{
		TargetId: app.ID, OrgId: app.OrgID, PageSize: req.GetPageSize(), PageToken: req.GetPageToken(),
	})
	return &registryv1.ListRolloutsResponse{Rollouts: res.GetRollouts(), NextPageToken: res.GetNextPageToken()}, err
}

// GetRollout tells how a rollout is.
func (s *Service) GetRollout(ctx context.Context, req *registryv1.GetRolloutRequest) (*registryv1.GetRolloutResponse, error) {
	app, err := s.find(ctx, req.GetAppId(), "")
	if err != nil {
		return nil, err
	}
	res, err := s.deps.Rollouts.GetRollout(ctx, &schedulerv1.GetRolloutRequest{TargetId: app.ID, OrgId: app.OrgID, RolloutId: req.GetRolloutId()})
	return &registryv1.GetRolloutResponse{Rollout: res.GetRollout()}, err
}

// PauseRollout keeps a rollout in its step.
func (s *Service) PauseRollout(ctx context.Context, req *registryv1.PauseRolloutRequest) (*registryv1.PauseRolloutResponse, error) {
	r, err := s.steer(ctx, req, schedulerv1.RolloutAction_ROLLOUT_ACTION_PAUSE, "")
	return &registryv1.PauseRolloutResponse{Rollout: r}, err
}

// ResumeRollout lets it go on.
func (s *Service) ResumeRollout(ctx context.Context, req *registryv1.ResumeRolloutRequest) (*registryv1.ResumeRolloutResponse, error) {
	r, err := s.steer(ctx, req, schedulerv1.RolloutAction_ROLLOUT_ACTION_RESUME, "")
	return &registryv1.ResumeRolloutResponse{Rollout: r}, err
}

// PromoteRollout makes the version live now.
func (s *Service) PromoteRollout(ctx context.Context, req *registryv1.PromoteRolloutRequest) (*registryv1.PromoteRolloutResponse, error) {
	r, err := s.steer(ctx, req, schedulerv1.RolloutAction_ROLLOUT_ACTION_PROMOTE, "")
	return &registryv1.PromoteRolloutResponse{Rollout: r}, err
}

// AbortRollout ends the trial.
func (s *Service) AbortRollout(ctx context.Context, req *registryv1.AbortRolloutRequest) (*registryv1.AbortRolloutResponse, error) {
	r, err := s.steer(ctx, req, schedulerv1.RolloutAction_ROLLOUT_ACTION_ABORT, req.GetReason())
	if err == nil {
		err = s.learnTried(ctx, r.GetVersionId())
	}
	return &registryv1.AbortRolloutResponse{Rollout: r}, err
}

// rolloutName is a request that names an app's rollout.
type rolloutName interface {
	GetAppId() string
	GetRolloutId() string
}

func (s *Service) steer(ctx context.Context, name rolloutName, action schedulerv1.RolloutAction, reason string) (*schedulerv1.Rollout, error) {
	app, caller, err := s.managed(ctx, name.GetAppId())
	if err != nil {
		return nil, err
	}
	if name.GetRolloutId() == "" {
		return nil, fault.Invalid.Errorf("say which rollout, or latest")
	}
	limited, cancel := context.WithTimeout(ctx, deployWait)
	defer cancel()
	res, err := s.deps.Rollouts.SteerRollout(limited, &schedulerv1.SteerRolloutRequest{
		TargetId: app.ID, OrgId: app.OrgID, RolloutId: name.GetRolloutId(), Action: action, By: caller.UserID, Reason: reason,
	})
	return res.GetRollout(), err
}
