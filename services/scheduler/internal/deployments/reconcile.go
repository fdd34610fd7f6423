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
	versions, err := s.deps.Store.VersionsIn(ctx, store.Live, store.Draining)
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
		if live[v.ID] {
			s.deps.Table.Put(endpoint(v, Look{}))
		}
	}
	return versions, nil
}

// relaunch starts the versions that should run, the live ones first. One that does not
// start is tried again for as long as it should run.
func (s *Service) relaunch(ctx context.Context, versions []store.Version) {
	group := &errgroup.Group{}
	group.SetLimit(startsAtOnce)
	for _, state := range []store.State{store.Live, store.Draining} {
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

// resume takes up removals and retirements whose starter died before Temporal knew.
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
		if !t.Removing {
			continue
		}
		if _, err := s.startRemove(ctx, t); err != nil {
			return err
		}
	}
	draining, err := s.deps.Store.VersionsIn(ctx, store.Draining, store.Draining)
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

func (s *Service) startRetire(ctx context.Context, v store.Version) error {
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return err
	}
	_, err = c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{
		ID: flow.RetireID(v.TargetID, v.ID), TaskQueue: flow.SystemQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
	}, flow.RetireWorkflow, flow.Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID}, flow.RetireProgress{})
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
	for pause := firstPause; ctx.Err() == nil; pause = min(2*pause, longestPause) {
		begin := time.Now()
		if err := s.workOnce(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "worker for deploys starts again", "error", err)
		}
		if time.Since(begin) > longestPause {
			pause = firstPause
		}
		sleep(ctx, pause)
	}
	return nil
}

func (s *Service) workOnce(ctx context.Context) error {
	c, err := s.deps.Namespaces.System(ctx)
	if err != nil {
		return err
	}
	fatal := make(chan error, 1)
	w := worker.New(c, flow.SystemQueue, worker.Options{
		BackgroundActivityContext: ctx,
		// Removals of many apps at once must not starve a deploy.
		MaxConcurrentActivityExecutionSize: 200,
		OnFatalError:                       func(err error) { fatal <- err },
	})
	register(w, s.steps)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	select {
	case <-ctx.Done():
		return nil
	case err := <-fatal:
		return err
	}
}

func register(r worker.Registry, s *steps) {
	r.RegisterWorkflowWithOptions(flow.Deploy, workflow.RegisterOptions{Name: flow.DeployWorkflow})
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
		{"MakeCurrent", s.MakeCurrent},
		{"Switch", s.Switch},
		{"Abandon", s.Abandon},
		{"CountOpen", s.CountOpen},
		{"StopRole", s.StopRole},
		{"FinishRetire", s.FinishRetire},
		{"EndDeploys", s.EndDeploys},
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
