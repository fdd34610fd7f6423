package deployments

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/poller"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// startsAtOnce bounds how many agents come up together; each takes a processor for
	// some seconds.
	startsAtOnce = 4
	firstPause   = time.Second
	longestPause = 30 * time.Second
	oneStart     = 2 * time.Minute
)

// Run brings back what should run, works on the flows, and passes on what the runtime
// says, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	versions, err := s.restore(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return s.work(ctx) })
	group.Go(func() error { return s.listen(ctx) })
	group.Go(func() error { s.relaunch(ctx, versions); return nil })
	group.Go(func() error { s.resume(ctx); return nil })
	group.Go(func() error { s.collectGarbage(ctx); return nil })
	return group.Wait()
}

// restore fills the table of endpoints from the store; nobody is ready yet.
func (s *Service) restore(ctx context.Context) ([]store.Version, error) {
	versions, err := s.deps.Store.VersionsIn(ctx, store.Live, store.Ready, store.Draining)
	if err != nil {
		return nil, err
	}
	targets, err := s.deps.Store.Targets(ctx)
	if err != nil {
		return nil, err
	}
	live := map[string]bool{}
	for _, t := range targets {
		live[t.Live] = !t.Removing
	}
	for _, v := range versions {
		if !live[v.ID] {
			continue
		}
		asleep, err := s.steps.asleep(ctx, v.ID)
		if err != nil {
			return nil, err
		}
		e := s.steps.endpoint(v, Look{}, asleep)
		if e.Canary, err = s.steps.canary(ctx, v.TargetID); err != nil {
			return nil, err
		}
		s.deps.Table.Put(e)
	}
	return versions, nil
}

// relaunch starts the versions that should run, the live ones first. One that does not
// start is tried again for as long as it should run.
func (s *Service) relaunch(ctx context.Context, versions []store.Version) {
	group := &errgroup.Group{}
	group.SetLimit(startsAtOnce)
	for _, state := range []store.State{store.Live, store.Ready, store.Draining} {
		for _, v := range versions {
			if v.State == state {
				group.Go(func() error { s.bringBack(ctx, v); return nil })
			}
		}
	}
	_ = group.Wait() // nothing in it fails
}

func (s *Service) bringBack(ctx context.Context, v store.Version) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		try, cancel := context.WithTimeout(ctx, oneStart)
		err := s.steps.ensure(try, v.ID)
		cancel()
		if err == nil || fault.Conflict.Is(err) {
			return // it runs, or should not any more
		}
		s.deps.Log.WarnContext(ctx, "a version that should run does not start", "target", v.TargetID, "version", v.ID, "error", err)
		sleep(ctx, pause)
	}
}

// resume takes up removals, promotions and retirements whose starter died before Temporal
// knew.
func (s *Service) resume(ctx context.Context) {
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		err := s.resumeAll(ctx)
		if err == nil {
			return
		}
		s.deps.Log.WarnContext(ctx, "what was under way is not taken up yet", "error", err)
		sleep(ctx, pause)
	}
}

func (s *Service) resumeAll(ctx context.Context) error {
	targets, err := s.deps.Store.Targets(ctx)
	if err != nil {
		return err
	}
	for _, t := range targets {
		if err := s.resumeOne(ctx, t); err != nil {
			return err
		}
	}
	draining, err := s.deps.Store.VersionsIn(ctx, store.Draining)
	if err != nil {
		return err
	}
	for _, v := range draining {
		if err := s.startRetire(ctx, v); err != nil {
			return err
		}
	}
	return nil
}

func (s *Service) resumeOne(ctx context.Context, t store.Target) error {
	if t.Removing {
		_, err := s.startRemove(ctx, t)
		return err
	}
	if t.Pending == "" {
		return nil
	}
	v, err := s.deps.Store.Version(ctx, t.Pending)
	if err != nil || v.State != store.Draining && v.State != store.Ready {
		return err // a deploy is joined by those who asked for it
	}
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return err
	}
	_, err = s.start(ctx, c, v, flow.PromoteWorkflow)
	return err
}

func (s *Service) startRetire(ctx context.Context, v store.Version) error {
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return err
	}
	_, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: flow.RetireID(v.TargetID, v.ID), TaskQueue: flow.SystemQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, flow.RetireWorkflow, flow.Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID}, flow.RetireProgress{Warm: true})
	return err
}

// listen passes on what the runtime says.
func (s *Service) listen(ctx context.Context) error {
	return s.deps.Runtime.Watch(ctx, func(targetID, versionID string) {
		if err := s.steps.changed(ctx, targetID, versionID); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "a change of an endpoint was not told", "target", targetID, "error", err)
		}
	})
}

// work polls for flows and their steps, whenever Temporal is there.
func (s *Service) work(ctx context.Context) error {
	poller.Job{
		Name: "deploys", Client: s.deps.Namespaces.System, Queue: flow.SystemQueue, Log: s.deps.Log,
		Options: func(ctx context.Context) (worker.Options, error) {
			// Removals of many apps at once must not starve a deploy.
			return worker.Options{BackgroundActivityContext: ctx, MaxConcurrentActivityExecutionSize: 200}, nil
		},
		Register: func(w worker.Registry) { register(w, s.steps) },
	}.Run(ctx)
	return nil
}

func register(r worker.Registry, s *steps) {
	r.RegisterWorkflowWithOptions(flow.Deploy, workflow.RegisterOptions{Name: flow.DeployWorkflow})
	r.RegisterWorkflowWithOptions(flow.Promote, workflow.RegisterOptions{Name: flow.PromoteWorkflow})
	r.RegisterWorkflowWithOptions(flow.Retire, workflow.RegisterOptions{Name: flow.RetireWorkflow})
	r.RegisterWorkflowWithOptions(flow.Remove, workflow.RegisterOptions{Name: flow.RemoveWorkflow})
	for _, a := range []struct {
		name string
		step any
	}{
		{"Build", s.Build},
		{"CheckHandles", s.CheckHandles},
		{"Launch", s.Launch},
		{"AwaitHealthy", s.AwaitHealthy},
		{"AwaitReplays", s.AwaitReplays},
		{"CheckSchedules", s.CheckSchedules},
		{"Decide", s.Decide},
		{"Park", s.Park},
		{"Return", s.Return},
		{"Stay", s.Stay},
		{"MakeCurrent", s.MakeCurrent},
		{"Switch", s.Switch},
		{"ApplySchedules", s.ApplySchedules},
		{"Abandon", s.Abandon},
		{"CountOpen", s.CountOpen},
		{"WarmFor", s.WarmFor},
		{"StopRole", s.StopRole},
		{"FinishRetire", s.FinishRetire},
		{"EndDeploys", s.EndDeploys},
		{"EndSchedules", s.EndSchedules},
		{"EndRuns", s.EndRuns},
		{"StopAgents", s.StopAgents},
		{"Forget", s.Forget},
	} {
		r.RegisterActivityWithOptions(a.step, activity.RegisterOptions{Name: a.name})
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
