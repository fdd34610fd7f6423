package deployments

import (
	"context"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// retireWithin bounds the start of a retirement when the call that needed the version
// has ended already.
const retireWithin = 30 * time.Second

// Hold calls use while one role of a version runs. A version that is over is started
// again for it; it ends anew when no run needs it, also when use fails or this process
// dies. It fails with fault.Conflict for a version that never served.
func (s *Service) Hold(ctx context.Context, v store.Version, role agentenv.Role, use func(context.Context) error) error {
	defer s.holding.Take(v.ID)()
	if v.State == store.Failed || v.State == store.Pending || v.Capture.MCPURL != "" {
		return fault.Conflict.Errorf("version %d has no processes of its own that could go on with a run", v.Number)
	}
	if v.State == store.Live || v.State == store.Ready {
		if err := s.bringUp(ctx, v, role); err != nil {
			return err
		}
		return use(ctx)
	}
	if err := s.steps.stopRetire(ctx, v, "a run needs this version again"); err != nil {
		return err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), retireWithin)
		defer cancel()
		if err := s.startRetire(ctx, v); err != nil {
			s.deps.Log.WarnContext(ctx, "a version that a run needed is retired at the next start only", "target", v.TargetID, "version", v.ID, "error", err)
		}
	}()
	if err := s.deps.Store.Revive(ctx, v.ID); err != nil {
		return err
	}
	if err := s.bringUp(ctx, v, role); err != nil {
		return err
	}
	return use(ctx)
}

// stopRetire ends the workflow that would stop the version in the middle of things.
func (s *steps) stopRetire(ctx context.Context, v store.Version, why string) error {
	c, err := s.clients.System(ctx)
	if err != nil {
		return err
	}
	err = c.TerminateWorkflow(ctx, flow.RetireID(v.TargetID, v.ID), "", why)
	if notFound(err) {
		return nil
	}
	return err
}

// bringUp starts a role of a version unless it runs, and waits for it.
func (s *Service) bringUp(ctx context.Context, v store.Version, role agentenv.Role) error {
	err := s.Rouse(ctx, v, role)
	if err == nil || fault.Conflict.Is(err) || fault.Deadline.Is(err) {
		return err
	}
	failure, err := s.steps.verdict(ctx, flow.Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: v.ID}, "start again", err)
	if failure != nil {
		return fault.Conflict.Errorf("version %d cannot be started: %s", v.Number, failure)
	}
	return err
}

func (s *Service) awaitRole(ctx context.Context, v store.Version, role agentenv.Role) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	news := s.news(ctx, v)
	ticker := time.NewTicker(lookEvery) // for what changed before there were news
	defer ticker.Stop()
	for {
		look, known := s.deps.Runtime.Look(v.TargetID, v.ID)
		p := process(look, role)
		switch {
		case !known:
			return fault.Conflict.Errorf("version %d was stopped while it started", v.Number)
		case p.NotNeeded:
			return fault.Conflict.Errorf("version %d has no workflow classes", v.Number)
		case p.Failed:
			return fault.Conflict.Errorf("version %d does not start: %s", v.Number, p.Reason)
		case p.State == schedulerv1.AgentState_AGENT_STATE_READY:
			return nil
		}
		select {
		case <-ctx.Done():
			return fault.Deadline.Wrap(ctx.Err(), "version %d does not start in time; try again in a moment", v.Number)
		case <-news:
		case <-ticker.C:
		}
	}
}

// news is told of changes of a version's processes until ctx ends.
func (s *Service) news(ctx context.Context, v store.Version) <-chan struct{} {
	news := make(chan struct{}, 1)
	go func() {
		_ = s.deps.Runtime.Watch(ctx, func(targetID, versionID string) { // it ends with ctx alone
			if targetID != v.TargetID || versionID != v.ID {
				return
			}
			select {
			case news <- struct{}{}:
			default: // a look is due anyway
			}
		})
	}()
	return news
}

func process(l Look, role agentenv.Role) Process {
	if role == agentenv.RoleServer {
		return l.Server
	}
	return l.Worker
}
