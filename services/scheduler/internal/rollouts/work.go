package rollouts

import (
	"context"
	"fmt"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/poller"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// looksAtOnce bounds the rollouts that one process looks at; others wait.
	looksAtOnce = 500
	tendEvery   = time.Minute
)

// Run brings rollouts forward until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { s.poll(ctx); return nil })
	group.Go(func() error { s.tend(ctx); return nil })
	return group.Wait()
}

func (s *Service) poll(ctx context.Context) {
	poller.Job{
		Name: "rollouts", Client: s.deps.Namespaces.System, Queue: flow.RolloutsQueue, Log: s.deps.Log,
		Options: func(ctx context.Context) (worker.Options, error) {
			return worker.Options{BackgroundActivityContext: ctx, MaxConcurrentActivityExecutionSize: looksAtOnce}, nil
		},
		Register: s.register,
	}.Run(ctx)
}

func (s *Service) register(r worker.Registry) {
	r.RegisterWorkflowWithOptions(flow.Rollout, workflow.RegisterOptions{Name: flow.RolloutWorkflow})
	for name, step := range map[string]any{
		flow.TryVersion: s.TryVersion, "RaiseCanary": s.RaiseCanary, "BeginStep": s.BeginStep, "AwaitStep": s.AwaitStep,
		"PromoteCanary": s.PromoteCanary, "AbortRollout": s.AbortRollout, "CloseRollout": s.CloseRollout, "SettleRollout": s.SettleRollout,
	} {
		r.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
}

// tend takes up rollouts whose starter died before Temporal knew.
func (s *Service) tend(ctx context.Context) {
	ticker := time.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		if err := s.tendOnce(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "rollouts were not all looked after", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

func (s *Service) tendOnce(ctx context.Context) error {
	all, err := s.deps.Store.UnsettledRollouts(ctx)
	for _, r := range all {
		if err == nil {
			err = s.start(ctx, r)
		}
	}
	return err
}

// TryVersion begins the rollout that a version's project says, for its deploy. What cannot
// be tried waits to be promoted.
func (s *Service) TryVersion(ctx context.Context, in flow.Version) error {
	r, err := s.deps.Store.RolloutOfVersion(ctx, in.VersionID)
	if err == nil {
		return s.start(ctx, r)
	}
	if !fault.NotFound.Is(err) {
		return errStore
	}
	v, err := s.deps.Store.Version(ctx, in.VersionID)
	var plan *schedulerv1.RolloutPlan
	if err == nil {
		plan, err = planned(v, nil)
	}
	if err == nil {
		_, err = s.begin(ctx, v, plan, "")
	}
	switch fault.KindOf(err) {
	case fault.Conflict, fault.NotFound, fault.Invalid:
		s.deps.Log.InfoContext(ctx, "a version is not tried, and waits to be promoted", "target", in.TargetID, "version", in.VersionID, "error", err)
		return nil
	}
	return err
}

// begin writes a rollout down and starts what brings it forward.
func (s *Service) begin(ctx context.Context, v store.Version, plan *schedulerv1.RolloutPlan, by string) (store.Rollout, error) {
	if v.TargetID != v.AppID {
		return store.Rollout{}, fault.Conflict.Errorf("a user's own instance follows its app; try versions of the app")
	}
	plan, err := complete(plan)
	if err != nil {
		return store.Rollout{}, err
	}
	r := store.Rollout{ID: s.deps.NewID(), TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID, Plan: plan, StartedBy: by, StartedAt: s.deps.Now()}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		begun, again, err := s.deps.Store.BeginRollout(ctx, tx, r, "a rollout tries it: "+words(plan))
		if r = begun; err != nil || again {
			return err
		}
		return s.tellStart(ctx, tx, r)
	})
	if sqldb.IsUnique(err) {
		return r, fault.Conflict.Wrap(err, "another version of this app is being tried; abort or promote that rollout first")
	}
	if err != nil {
		return r, err
	}
	if err := s.start(ctx, r); err != nil {
		s.deps.Log.WarnContext(ctx, "a rollout goes on when Temporal answers again", "rollout", r.ID, "error", err)
	}
	return r, nil
}

// words say in short how a version is tried.
func words(plan *schedulerv1.RolloutPlan) string {
	var steps []string
	for _, step := range plan.GetSteps() {
		steps = append(steps, fmt.Sprintf("%s for %s", percent(float64(step.GetWeight())/all), step.GetWait().AsDuration()))
	}
	return strings.Join(steps, ", ")
}

// start starts what brings a rollout forward, unless it runs.
func (s *Service) start(ctx context.Context, r store.Rollout) error {
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return err
	}
	_, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: flow.RolloutID(r.ID), TaskQueue: flow.RolloutsQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	}, flow.RolloutWorkflow, flow.RolloutInput{
		RolloutID: r.ID, Version: flow.Version{TargetID: r.TargetID, OrgID: r.OrgID, VersionID: r.VersionID},
		Steps: len(r.Plan.GetSteps()), Step: r.Step, Settle: s.deps.Settle, Patience: s.deps.Patience,
	})
	return namespaces.Fault(err, "Temporal does not answer")
}

// ramp sends a share of new runs of workflow classes to the version's worker.
func (s *Service) ramp(ctx context.Context, in flow.Version, weight int32) error {
	v, err := s.deps.Store.Version(ctx, in.VersionID)
	if err != nil || len(v.Capture.Workflows) == 0 || weight == 0 {
		return err
	}
	c, err := s.deps.Namespaces.Client(ctx, in.OrgID)
	if err != nil {
		return err
	}
	const tenth = 10 // a thousandth is a tenth of a percent
	_, err = c.WorkerDeploymentClient().GetHandle(in.TargetID).SetRampingVersion(ctx, client.WorkerDeploymentSetRampingVersionOptions{
		BuildID: in.VersionID, Percentage: float32(weight) / tenth, IgnoreMissingTaskQueues: true,
	})
	return err
}

// unramp sends no new runs to the version's worker any more, unless it is the current one.
func (s *Service) unramp(ctx context.Context, in flow.Version) error {
	c, err := s.deps.Namespaces.Client(ctx, in.OrgID)
	if err != nil {
		return err
	}
	h := c.WorkerDeploymentClient().GetHandle(in.TargetID)
	d, err := h.Describe(ctx, client.WorkerDeploymentDescribeOptions{})
	if namespaces.IsNotFound(err) {
		return nil // nothing of the app has a worker
	}
	if err != nil {
		return err
	}
	if ramping := d.Info.RoutingConfig.RampingVersion; ramping == nil || ramping.BuildID != in.VersionID {
		return nil
	}
	_, err = h.SetRampingVersion(ctx, client.WorkerDeploymentSetRampingVersionOptions{IgnoreMissingTaskQueues: true})
	return err
}
