package deployments

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Scale is how many processes of a role a version has.
type Scale struct {
	// Least and Most are those of a role that is awake.
	Least, Most int
	// Sleeps says that there may be none.
	Sleeps bool
	// Concurrency is how many calls at once one server is for; 0: their number does not
	// follow calls.
	Concurrency int
}

// ScaleOf is what a version's project says, within the cloud's bound.
func ScaleOf(v store.Version, bound int) Scale {
	file, err := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson())
	if err != nil || v.Capture.MCPURL != "" {
		return Scale{Least: 1, Most: 1, Sleeps: true}
	}
	least, most := file.Scale.Bounds()
	s := Scale{Least: min(least, max(bound, 1)), Most: min(most, max(bound, 1)), Sleeps: file.Scale.Min == 0}
	if s.Most > s.Least {
		s.Concurrency = file.Scale.Concurrency
	}
	return s
}

// count is with how many processes of each role a version starts. One that is to take over
// has as many as the one that serves; what drains has one.
func (l *launcher) count(ctx context.Context, v store.Version) (int, error) {
	scale := ScaleOf(v, l.options.MostProcesses)
	t, err := l.store.Target(ctx, v.TargetID)
	switch {
	case err == nil && v.State == store.Draining && t.Pending != v.ID:
		return 1, nil
	case err != nil || t.Live == "" || t.Pending != v.ID:
		return scale.Least, err
	}
	serving, _ := l.runtime.Look(v.TargetID, t.Live)
	return min(max(scale.Least, len(serving.callable())), scale.Most), nil
}

// scalePolicy is that of the version that serves.
func (s *Service) scalePolicy(ctx context.Context, t store.Target) (*schedulerv1.ScalePolicy, error) {
	if t.Live == "" {
		return nil, nil
	}
	v, err := s.deps.Store.Version(ctx, t.Live)
	if err != nil || v.Capture.MCPURL != "" {
		return nil, err
	}
	scale := ScaleOf(v, s.deps.Options.MostProcesses)
	policy := &schedulerv1.ScalePolicy{Min: int32(scale.Least), Max: int32(scale.Most), Concurrency: int32(scale.Concurrency)} //nolint:gosec // bounded by the schema
	if scale.Sleeps {
		policy.Min = 0
	}
	return policy, nil
}

// Instances are the processes of one role of a version.
func (s *Service) Instances(targetID, versionID string, role agentenv.Role) []Instance {
	look, _ := s.deps.Runtime.Look(targetID, versionID)
	return look.Of(role)
}

// Grow starts processes of one role of a version that is awake, until there are count.
func (s *Service) Grow(ctx context.Context, v store.Version, role agentenv.Role, count int) error {
	return s.steps.grow(ctx, v, role, count)
}

func (s *steps) grow(ctx context.Context, v store.Version, role agentenv.Role, count int) error {
	defer s.starting.Take(v.ID)()
	if up, err := s.awake(ctx, v, role); !up || err != nil {
		return err
	}
	return s.runtime.Start(ctx, v.TargetID, v.ID, role, count)
}

// keepUp has a version that runs have as many processes as it would start with, and waits
// for those that are new.
func (s *steps) keepUp(ctx context.Context, in flow.Version, v store.Version) (*flow.Failure, error) {
	count, err := s.count(ctx, v)
	look, _ := s.runtime.Look(v.TargetID, v.ID)
	for _, role := range Roles(v) {
		if there := slices.DeleteFunc(slices.Clone(look.Of(role)), Instance.Ends); err == nil && len(there) < count {
			err = s.grow(ctx, v, role, count)
		}
	}
	if err != nil {
		return s.verdict(ctx, in, "launch", err)
	}
	_, failure := s.await(ctx, in)
	return failure, nil
}

// awake says whether a role of a version has processes and should have them.
func (s *steps) awake(ctx context.Context, v store.Version, role agentenv.Role) (bool, error) {
	if _, err := s.wanted(ctx, v.ID); err != nil {
		return false, err
	}
	asleep, err := s.store.SleepersOf(ctx, v.ID)
	for _, one := range asleep {
		if one.Role == role {
			return false, err
		}
	}
	look, known := s.runtime.Look(v.TargetID, v.ID)
	return known && process(look, role).State != schedulerv1.AgentState_AGENT_STATE_STOPPED, err
}

// Shrink ends one of several processes of a role, and says whether it did. A server is
// called by nobody new as soon as Shrink begins; agreed says whether those calls have ended
// that were under way, and is asked until ctx ends.
func (s *Service) Shrink(ctx context.Context, v store.Version, role agentenv.Role, one Instance, agreed func(context.Context) bool) (bool, error) {
	if role == agentenv.RoleServer {
		s.steps.leaving.put(one.URL, true)
		defer func() {
			s.steps.leaving.put(one.URL, false)
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
			defer cancel()
			if err := s.steps.changed(ctx, v.TargetID, v.ID); err != nil {
				s.deps.Log.WarnContext(ctx, "a change of an endpoint was not told", "target", v.TargetID, "error", err)
			}
		}()
		if err := s.steps.changed(ctx, v.TargetID, v.ID); err != nil || !insist(ctx, agreed) {
			return false, err
		}
	}
	return s.steps.stopOne(ctx, v, role, one.ID)
}

// insist asks until the answer is yes.
func insist(ctx context.Context, agreed func(context.Context) bool) bool {
	for !agreed(ctx) {
		select {
		case <-ctx.Done():
			return false
		case <-time.After(insistEvery):
		}
	}
	return true
}

const insistEvery = 500 * time.Millisecond

func (s *steps) stopOne(ctx context.Context, v store.Version, role agentenv.Role, instanceID string) (bool, error) {
	defer s.starting.Take(v.ID)()
	if up, err := s.awake(ctx, v, role); !up || err != nil {
		return false, err
	}
	err := s.runtime.StopOne(ctx, v.TargetID, v.ID, role, instanceID)
	if fault.Conflict.Is(err) || errors.Is(err, context.DeadlineExceeded) {
		return false, nil // it is the last one by now, or ends without us
	}
	return err == nil, err
}

// look is how a version is to its callers.
func (s *steps) look(targetID, versionID string) Look {
	look, _ := s.runtime.Look(targetID, versionID)
	return look.without(s.leaving.has)
}

// leaving are the URLs of servers that are called by nobody new, for they are about to end.
type leaving struct {
	mu  sync.Mutex
	all map[string]bool
}

func (l *leaving) put(url string, leaves bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[string]bool{}
	}
	if l.all[url] = leaves; !leaves {
		delete(l.all, url)
	}
}

func (l *leaving) has(url string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all[url]
}
