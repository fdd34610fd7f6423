package rollouts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/activity"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// lookEvery is the time between two looks at a version, beside those after each report.
	lookEvery = time.Second
	// lookFor is how long one activity looks at a step; the next one goes on.
	lookFor = time.Hour
	// longestReason bounds what is recorded of an end.
	longestReason = 4 << 10
)

var errStore = errors.New("the rollout was not found in the store, or not recorded there")

// open finds a rollout whose version is being tried; nil: it is not any more.
func (s *Service) open(ctx context.Context, rolloutID string) (*store.Rollout, error) {
	r, err := s.deps.Store.Rollout(ctx, rolloutID)
	switch {
	case fault.NotFound.Is(err) || err == nil && !r.Open():
		return nil, nil
	case err != nil:
		s.deps.Log.WarnContext(ctx, "a rollout was not found", "rollout", rolloutID, "error", err)
		return nil, errStore
	}
	return &r, nil
}

// RaiseCanary has the version's processes up and healthy.
func (s *Service) RaiseCanary(ctx context.Context, in flow.RolloutInput) (*flow.Failure, error) {
	r, err := s.open(ctx, in.RolloutID)
	if r == nil || err != nil {
		return nil, err
	}
	health, err := s.deps.Deployments.Raise(ctx, in.Version)
	return health.Failure, err
}

// BeginStep gives the version its share of calls and of new runs.
func (s *Service) BeginStep(ctx context.Context, in flow.RolloutInput) error {
	r, err := s.open(ctx, in.RolloutID)
	if r == nil || err != nil {
		return err
	}
	now := s.deps.Now()
	due := now.Add(r.Plan.GetSteps()[in.Step-1].GetWait().AsDuration())
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		fresh, err := s.deps.Store.BeginRolloutStep(ctx, tx, r.ID, in.Step, now, due)
		if err != nil || !fresh {
			return err
		}
		return s.tellStep(ctx, tx, *r, in.Step)
	})
	if err != nil {
		s.deps.Log.WarnContext(ctx, "the step of a rollout was not recorded", "rollout", r.ID, "error", err)
		return errStore
	}
	if err := s.deps.Deployments.PublishCanary(ctx, r.TargetID); err != nil {
		return errStore
	}
	return s.ramp(ctx, in.Version, r.Plan.GetSteps()[in.Step-1].GetWeight())
}

// AwaitStep looks how the version does until its step is over.
func (s *Service) AwaitStep(ctx context.Context, in flow.RolloutInput) (flow.Verdict, error) {
	news, stop := s.watch(in.RolloutID)
	defer stop()
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for end := time.Now().Add(lookFor); time.Now().Before(end); {
		verdict, err := s.lookAt(ctx, in)
		if err != nil || verdict != flow.StepGoesOn {
			return verdict, err
		}
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-news:
		case <-ticker.C:
		}
	}
	return flow.StepGoesOn, nil
}

// lookAt looks at a step once. A version that does not do well has no share any more when
// it returns.
func (s *Service) lookAt(ctx context.Context, in flow.RolloutInput) (flow.Verdict, error) {
	r, err := s.open(ctx, in.RolloutID)
	if err != nil {
		return "", err
	}
	// Published again, for a table of endpoints that this process has filled since.
	if err := s.deps.Deployments.PublishCanary(ctx, in.Version.TargetID); err != nil {
		return "", errStore
	}
	if r == nil {
		return flow.RolloutOver, nil
	}
	verdict, why, err := s.decide(ctx, *r)
	if err == nil && why != "" {
		s.deps.Log.InfoContext(ctx, "a rollout ends, for its version does not do well", "target", r.TargetID, "version", r.VersionID, "reason", why)
		err = s.end(ctx, *r, "", why)
	}
	if err != nil {
		s.deps.Log.WarnContext(ctx, "a rollout is looked at again", "rollout", r.ID, "error", err)
		return "", errStore
	}
	return verdict, nil
}

// decide says what becomes of a step, or why the rollout has to end.
func (s *Service) decide(ctx context.Context, r store.Rollout) (flow.Verdict, string, error) {
	sums, err := s.deps.Store.RolloutOutcomes(ctx, r.ID)
	if err != nil {
		return "", "", err
	}
	var users store.RolloutUsers
	if r.Plan.GetPolicy().GetMaxFailedUsers() > 0 {
		if users, err = s.deps.Store.RolloutUsers(ctx, r.ID); err != nil {
			return "", "", err
		}
	}
	canary := sums[r.VersionID].Since(r.Base[r.VersionID])
	live := sums[r.LiveVersion].Since(r.Base[r.LiveVersion])
	why := judge(r.Plan.GetPolicy(), canary, live, users)
	if why == "" {
		why = s.crashed(r)
	}
	switch {
	case why != "":
		return flow.RolloutOver, why, nil
	case r.PromoteBy != "":
		return flow.RolloutPromote, "", nil
	}
	verdict, why := passed(r, canary.Calls, s.deps.Now())
	return verdict, why, nil
}

// crashed says why a version cannot be tried whose server ends again and again.
func (s *Service) crashed(r store.Rollout) string {
	p, known := s.deps.Deployments.State(r.TargetID, r.VersionID, agentenv.RoleServer)
	if !known || p.State != schedulerv1.AgentState_AGENT_STATE_CRASH_LOOP {
		return ""
	}
	return "its server ends again and again: " + p.Reason
}

// passed says whether a step is over: its time has passed, and so many calls were seen, or
// they have been waited for long enough.
func passed(r store.Rollout, calls int64, now time.Time) (verdict flow.Verdict, why string) {
	p := r.Plan.GetPolicy()
	switch {
	case r.State == store.RolloutPaused || now.Before(r.Due):
		return flow.StepGoesOn, ""
	case calls >= p.GetMinCalls():
		return flow.StepPassed, ""
	case now.Before(r.Due.Add(p.GetPatience().AsDuration())):
		return flow.StepGoesOn, ""
	case p.GetFewCalls() == fewPromote:
		return flow.StepPassed, ""
	}
	return flow.RolloutOver, fmt.Sprintf("it answered %d calls in its step, too few to judge it by (at least %d)", calls, p.GetMinCalls())
}

// PromoteCanary makes the version live as any promotion does.
func (s *Service) PromoteCanary(ctx context.Context, in flow.RolloutInput) (*flow.Failure, error) {
	r, err := s.open(ctx, in.RolloutID)
	if r == nil || err != nil {
		return nil, err
	}
	return s.deps.Deployments.Promote(ctx, in.Version)
}

// AbortRollout takes the version's share away.
func (s *Service) AbortRollout(ctx context.Context, in flow.RolloutInput, failure flow.Failure) error {
	r, err := s.open(ctx, in.RolloutID)
	if r == nil || err != nil {
		return err
	}
	if err := s.end(ctx, *r, "", brief(failure.String())); err != nil {
		s.deps.Log.WarnContext(ctx, "the end of a rollout was not recorded", "rollout", r.ID, "error", err)
		return errStore
	}
	return nil
}

// brief bounds what is recorded.
func brief(text string) string { return text[:min(len(text), longestReason)] }

// CloseRollout does what follows from the end of a rollout.
func (s *Service) CloseRollout(ctx context.Context, in flow.RolloutInput) error {
	if err := s.deps.Deployments.PublishCanary(ctx, in.Version.TargetID); err != nil {
		return errStore
	}
	if err := s.unramp(ctx, in.Version); err != nil {
		return err
	}
	r, err := s.deps.Store.Rollout(ctx, in.RolloutID)
	if fault.NotFound.Is(err) {
		return nil // the app was deleted
	}
	if err == nil {
		err = s.tellEnd(ctx, r)
	}
	if err != nil {
		s.deps.Log.WarnContext(ctx, "the end of a rollout was not told", "rollout", in.RolloutID, "error", err)
		return errStore
	}
	return s.deps.Deployments.Retire(ctx, in.Version)
}

// SettleRollout writes down what was seen, to the last call.
func (s *Service) SettleRollout(ctx context.Context, in flow.RolloutInput) error {
	r, err := s.deps.Store.Rollout(ctx, in.RolloutID)
	if fault.NotFound.Is(err) {
		return nil
	}
	if err == nil {
		err = s.settle(ctx, r)
	}
	if err != nil {
		s.deps.Log.WarnContext(ctx, "the result of a rollout was not recorded", "rollout", in.RolloutID, "error", err)
		return errStore
	}
	return nil
}

var _ flow.RolloutSteps = (*Service)(nil)
