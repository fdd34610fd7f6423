// Package rollouts tries versions with a share of the traffic before they become live,
// and judges them by what gateways say of their calls.
//
// It divides no calls, which is the gateways' business, and starts, promotes and ends
// nothing itself: that is done by package deployments. What it decides is in the store; a
// workflow brings it about.
package rollouts

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	usualPage = 100
	maxPage   = 1000
	// latest names the newest rollout of a target.
	latest = "latest"
	// steerWithin is how long a person waits for a promotion; it goes on then.
	steerWithin = 4 * time.Minute
	steerEvery  = 100 * time.Millisecond
)

// Deployments brings versions up, makes them live and ends them.
type Deployments interface {
	// Raise has a version's processes up and healthy.
	Raise(ctx context.Context, v flow.Version) (flow.Health, error)
	// Promote makes a version live; what may pass is an error.
	Promote(ctx context.Context, v flow.Version) (*flow.Failure, error)
	// Retire begins the end of a version that nobody wants.
	Retire(ctx context.Context, v flow.Version) error
	// PublishCanary tells gateways which version a target tries, or that it tries none.
	PublishCanary(ctx context.Context, targetID string) error
	// State tells how one role of a version is; false when it has no process.
	State(targetID, versionID string, role agentenv.Role) (deployments.Process, bool)
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store       *store.Store
	Deployments Deployments
	// Namespaces gives Temporal clients.
	Namespaces interface {
		Client(ctx context.Context, namespace string) (client.Client, error)
		System(ctx context.Context) (client.Client, error)
	}
	Patience flow.Patience
	// Settle is how long after the end of a rollout gateways may still tell of it.
	Settle time.Duration
	Log    *slog.Logger
	Now    func() time.Time
	NewID  func() string
}

// Service implements schedulerv1.RolloutsServiceServer and RolloutOutcomesServiceServer.
type Service struct {
	schedulerv1.UnimplementedRolloutsServiceServer
	schedulerv1.UnimplementedRolloutOutcomesServiceServer
	deps Deps

	mu sync.Mutex
	// watched are the rollouts that are looked at, by id; what is sent makes the look at once.
	watched map[string]chan struct{}
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps, watched: map[string]chan struct{}{}} }

// StartRollout begins to try a version.
func (s *Service) StartRollout(ctx context.Context, req *schedulerv1.StartRolloutRequest) (*schedulerv1.StartRolloutResponse, error) {
	v, err := s.deps.Store.Version(ctx, req.GetVersionId())
	if err == nil && (v.TargetID != req.GetTargetId() || v.OrgID != req.GetOrgId()) {
		err = fault.NotFound.Errorf("this app has no such version")
	}
	if err != nil {
		return nil, err
	}
	plan := req.GetPlan()
	if len(plan.GetSteps()) == 0 {
		if plan, err = planned(v, plan); err != nil {
			return nil, err
		}
	}
	r, err := s.begin(ctx, v, plan, req.GetStartedBy())
	if err != nil {
		return nil, err
	}
	message, err := s.message(ctx, r)
	return &schedulerv1.StartRolloutResponse{Rollout: message}, err
}

// ListRollouts lists the rollouts of a target.
func (s *Service) ListRollouts(ctx context.Context, req *schedulerv1.ListRolloutsRequest) (*schedulerv1.ListRolloutsResponse, error) {
	size := page.Size(int(req.GetPageSize()), usualPage, maxPage)
	all, err := s.deps.Store.RolloutsOf(ctx, req.GetTargetId(), req.GetPageToken(), size+1)
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListRolloutsResponse{}
	if len(all) > size {
		all = all[:size]
		res.NextPageToken = all[size-1].ID
	}
	for _, r := range all {
		if r.OrgID != req.GetOrgId() {
			continue
		}
		message, err := s.message(ctx, r)
		if err != nil {
			return nil, err
		}
		res.Rollouts = append(res.Rollouts, message)
	}
	return res, nil
}

// GetRollout tells how a rollout is.
func (s *Service) GetRollout(ctx context.Context, req *schedulerv1.GetRolloutRequest) (*schedulerv1.GetRolloutResponse, error) {
	r, err := s.find(ctx, req.GetTargetId(), req.GetOrgId(), req.GetRolloutId())
	if err != nil {
		return nil, err
	}
	message, err := s.message(ctx, r)
	return &schedulerv1.GetRolloutResponse{Rollout: message}, err
}

func (s *Service) find(ctx context.Context, targetID, orgID, rolloutID string) (r store.Rollout, err error) {
	if rolloutID == latest {
		r, err = s.deps.Store.LatestRollout(ctx, targetID)
	} else {
		r, err = s.deps.Store.Rollout(ctx, rolloutID)
	}
	if fault.NotFound.Is(err) || err == nil && (r.TargetID != targetID || r.OrgID != orgID) {
		err = fault.NotFound.Errorf("this app has no such rollout")
	}
	return r, err
}

// SteerRollout does what a person decides about a rollout.
func (s *Service) SteerRollout(ctx context.Context, req *schedulerv1.SteerRolloutRequest) (*schedulerv1.SteerRolloutResponse, error) {
	r, err := s.find(ctx, req.GetTargetId(), req.GetOrgId(), req.GetRolloutId())
	if err != nil {
		return nil, err
	}
	if !r.Open() {
		return nil, fault.Conflict.Errorf("the rollout of version %d has ended: it is %s", r.Number, r.State)
	}
	switch req.GetAction() {
	case schedulerv1.RolloutAction_ROLLOUT_ACTION_PAUSE:
		err = s.deps.Store.PauseRollout(ctx, r, s.deps.Now())
	case schedulerv1.RolloutAction_ROLLOUT_ACTION_RESUME:
		err = s.deps.Store.ResumeRollout(ctx, r, s.deps.Now())
	case schedulerv1.RolloutAction_ROLLOUT_ACTION_PROMOTE:
		err = s.promote(ctx, r, req.GetBy())
	case schedulerv1.RolloutAction_ROLLOUT_ACTION_ABORT:
		err = s.end(ctx, r, req.GetBy(), brief(req.GetReason()))
	case schedulerv1.RolloutAction_ROLLOUT_ACTION_UNSPECIFIED:
		err = fault.Invalid.Errorf("say what to do")
	}
	s.look(r.ID)
	if err == nil {
		r, err = s.deps.Store.Rollout(ctx, r.ID)
	}
	if err != nil {
		return nil, err
	}
	message, err := s.message(ctx, r)
	return &schedulerv1.SteerRolloutResponse{Rollout: message}, err
}

// promote asks for the version to be live, and waits until it is or will not be.
func (s *Service) promote(ctx context.Context, r store.Rollout, by string) error {
	if by == "" {
		return fault.Invalid.Errorf("say who promotes it")
	}
	if err := s.deps.Store.AskToPromote(ctx, r, by); err != nil {
		return err
	}
	s.look(r.ID)
	ctx, cancel := context.WithTimeout(ctx, steerWithin)
	defer cancel()
	ticker := time.NewTicker(steerEvery)
	defer ticker.Stop()
	for r.Open() {
		select {
		case <-ctx.Done():
			return fault.Deadline.Wrap(ctx.Err(), "version %d is not live yet; its promotion goes on", r.Number)
		case <-ticker.C:
		}
		var err error
		if r, err = s.deps.Store.Rollout(ctx, r.ID); err != nil {
			return err
		}
	}
	if r.State != store.RolloutPromoted {
		return fault.Conflict.Errorf("version %d was not made live, and what was live still is: %s", r.Number, r.Reason)
	}
	return nil
}

// end takes the version's share away at once; the workflow does the rest.
func (s *Service) end(ctx context.Context, r store.Rollout, by, reason string) error {
	if _, err := s.deps.Store.EndRollout(ctx, r.ID, store.RolloutAborted, by, reason, s.deps.Now()); err != nil {
		return err
	}
	return s.deps.Deployments.PublishCanary(ctx, r.TargetID)
}

// look has a rollout looked at now.
func (s *Service) look(rolloutID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case s.watched[rolloutID] <- struct{}{}:
	default: // nobody looks at it, or will do so anyway
	}
}

// watch returns what tells that a rollout is to be looked at now, until stop is called.
func (s *Service) watch(rolloutID string) (now <-chan struct{}, stop func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	news := make(chan struct{}, 1)
	s.watched[rolloutID] = news
	return news, func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.watched[rolloutID] == news {
			delete(s.watched, rolloutID)
		}
	}
}
