package deployments

import (
	"cmp"
	"context"
	"errors"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// promoteQueue is how long a promotion waits for a deploy: one that has switched ends
// soon, and of any other a person is told.
const promoteQueue = 10 * time.Second

// PromoteVersion makes a version live that was deployed before: it starts the durable
// promotion or joins it, and answers at its end.
func (s *Service) PromoteVersion(ctx context.Context, req *schedulerv1.PromoteVersionRequest) (*schedulerv1.PromoteVersionResponse, error) {
	v, err := s.promotable(ctx, req)
	if err != nil {
		return nil, err
	}
	return patient(ctx, s, promoteQueue, func(ctx context.Context) (*schedulerv1.PromoteVersionResponse, error) { return s.promote(ctx, v) })
}

// promotable finds the version that is asked for.
func (s *Service) promotable(ctx context.Context, req *schedulerv1.PromoteVersionRequest) (store.Version, error) {
	versionID := req.GetVersionId()
	if versionID == "" {
		previous, err := s.deps.Store.Previous(ctx, req.GetTargetId())
		if err != nil {
			return store.Version{}, err
		}
		versionID = previous
	}
	return s.versionOf(ctx, req.GetTargetId(), req.GetOrgId(), versionID)
}

// versionOf finds a version of a target; it fails with fault.NotFound, also for another's.
func (s *Service) versionOf(ctx context.Context, targetID, orgID, versionID string) (store.Version, error) {
	v, err := s.deps.Store.Version(ctx, versionID)
	if err == nil && (v.TargetID != targetID || v.OrgID != orgID) {
		err = fault.NotFound.Errorf("this app has no such version")
	}
	return v, err
}

func (s *Service) promote(ctx context.Context, v store.Version) (*schedulerv1.PromoteVersionResponse, error) {
	run, err := s.beginPromote(ctx, v)
	if err != nil {
		return nil, err
	}
	var result flow.DeployResult
	if run != nil {
		if err := run.Get(ctx, &result); err != nil {
			return nil, s.broken(ctx, err)
		}
	}
	answer := &schedulerv1.PromoteVersionResponse{VersionId: v.ID, Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE}
	if result.Failure != nil {
		answer.Outcome, answer.Error = schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, bounded(result.Failure.String())
		return answer, nil
	}
	now, err := s.deps.Store.Version(ctx, v.ID)
	answer.UserParams, answer.SwitchNumber = now.UserParams, now.Switched
	return answer, err
}

// beginPromote makes the version the pending one and starts its promotion, or joins it;
// nil when it serves already.
func (s *Service) beginPromote(ctx context.Context, v store.Version) (client.WorkflowRun, error) {
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return nil, err
	}
	live, pending, err := s.deps.Store.BeginPromote(ctx, v.TargetID, v.ID, "", s.deps.Now())
	if err != nil && pending != "" {
		if err := s.underWay(ctx, c, v.TargetID, pending); err != nil {
			return nil, err
		}
		live, pending, err = s.deps.Store.BeginPromote(ctx, v.TargetID, v.ID, pending, s.deps.Now())
		if err != nil && pending != "" { // another one that waited was first
			return nil, s.busy(ctx, pending)
		}
	}
	if err != nil || live {
		return nil, err
	}
	run, err := s.start(ctx, c, v, flow.PromoteWorkflow)
	if err != nil {
		s.unpromote(ctx, v)
	}
	return run, err
}

// unpromote takes back what nobody works on; a process that dies instead takes it up
// when it is back.
func (s *Service) unpromote(ctx context.Context, v store.Version) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retireWithin)
	defer cancel()
	drains, err := s.deps.Store.EndPromote(ctx, v.TargetID, v.ID, s.deps.Now())
	if err == nil && drains {
		err = s.startRetire(ctx, v)
	}
	if err != nil {
		s.deps.Log.WarnContext(ctx, "a promotion that could not begin is taken back at the next start only", "target", v.TargetID, "version", v.ID, "error", err)
	}
}

// Return has the version's processes up and healthy: at once when they never went.
func (s *steps) Return(ctx context.Context, in flow.Version) (flow.Health, error) {
	defer s.begin(ctx, in, "return")()
	v, err := s.wanted(ctx, in.VersionID)
	if err == nil {
		err = s.stopRetire(ctx, v, "the version is promoted")
	}
	if err == nil {
		err = s.rouse(ctx, v)
	}
	if err == nil {
		err = s.reopen(ctx, v)
	}
	if err != nil {
		failure, err := s.verdict(ctx, in, "return", err)
		return flow.Health{Failure: failure}, err
	}
	health := flow.Health{Workflows: len(v.Capture.Workflows) > 0}
	health.Failure, err = s.greet(ctx, in, v)
	return health, err
}

// rouse has nothing of a version sleep any more: before it is live, it is looked at.
func (s *steps) rouse(ctx context.Context, v store.Version) error {
	roles, err := s.asleep(ctx, v.ID)
	for _, role := range roles {
		err = errors.Join(err, s.woke(ctx, v, role, 0, nil))
	}
	return err
}

// reopen forgets a version of which a part has been stopped for good, so that all of it
// is started again.
func (s *steps) reopen(ctx context.Context, v store.Version) error {
	look, known := s.runtime.Look(v.TargetID, v.ID)
	const stopped = schedulerv1.AgentState_AGENT_STATE_STOPPED
	if !known || look.Server.State != stopped && (look.Worker.State != stopped || look.Worker.NotNeeded) {
		return nil
	}
	return s.end(ctx, v)
}

// greet waits for the version's processes. When it starts the version, that is looked at as in a deploy;
// what the version offers stays as it was recorded when it was deployed.
func (s *steps) greet(ctx context.Context, in flow.Version, v store.Version) (*flow.Failure, error) {
	wait, cancel := context.WithTimeout(ctx, s.health)
	defer cancel()
	if v.Capture.MCPURL != "" {
		_, err := s.remote.CaptureRemote(wait, v.Capture.MCPURL)
		return silent(err), ctx.Err()
	}
	if look, known := s.runtime.Look(v.TargetID, v.ID); known && ready(look) {
		failure, err := s.keepUp(wait, in, v)
		return failure, cmp.Or(ctx.Err(), err)
	}
	if err := s.ensure(wait, v.ID); err != nil {
		if fault.NotFound.Is(err) {
			err = fault.Conflict.Wrap(err, "the files of version %d are not kept any more (scheduler: deploy.keep_versions); deploy them again", v.Number)
		}
		return s.verdict(ctx, in, "launch", err)
	}
	look, failure := s.await(wait, in)
	if failure != nil || ctx.Err() != nil {
		return failure, ctx.Err()
	}
	_, failure, err := s.examine(wait, in, look)
	return failure, cmp.Or(ctx.Err(), err)
}

func silent(err error) *flow.Failure {
	if err == nil {
		return nil
	}
	return &flow.Failure{Reason: "the version's MCP server does not answer as it should", Detail: reason(err)}
}

// Stay takes a promotion back: what is live stays so.
func (s *steps) Stay(ctx context.Context, in flow.Version, why flow.Failure) (retire bool, err error) {
	defer beat(ctx)()
	s.log.InfoContext(ctx, "a version was not promoted", "target", in.TargetID, "version", in.VersionID, "reason", why.Reason)
	v, err := s.store.Version(ctx, in.VersionID)
	if fault.NotFound.Is(err) || err == nil && v.State == store.Live {
		return false, nil
	}
	if err != nil {
		return false, errors.New("the version was not found in the store")
	}
	if err := s.giveBack(ctx, in); err != nil {
		return false, err
	}
	if retire, err = s.store.EndPromote(ctx, in.TargetID, in.VersionID, s.now()); err != nil {
		return false, errors.New("the end of the promotion was not recorded")
	}
	return retire, nil
}
