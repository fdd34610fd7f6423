package sleep

import (
	"context"
	"math"
	"slices"
	"strings"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// leaveWithin bounds the end of one process; a server whose calls have not ended by then
	// is called again.
	leaveWithin = time.Minute
)

// scaleAll looks at all roles that are awake and may have several processes.
func (s *Service) scaleAll() {
	s.mu.Lock()
	var all []due
	for k, r := range s.roles {
		if r.version.scale.Most > 1 && !r.asleep && !r.scaling {
			r.scaling = true
			all = append(all, due{key: k, role: r, version: r.version, standing: r.standing})
		}
	}
	s.mu.Unlock()
	for _, d := range all {
		if !s.work(func() { s.scale(d) }) {
			return
		}
	}
}

// scale has one role have as many processes as it needs.
func (s *Service) scale(d due) {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		d.role.scaling = false
	}()
	all := slices.DeleteFunc(s.deps.Agents.Instances(d.version.TargetID, d.version.ID, d.key.Role), deployments.Instance.Ends)
	if !slices.ContainsFunc(all, deployments.Instance.Up) {
		return // it starts, or does not: one is enough for that
	}
	if d.standing == drains && len(all) == 1 {
		return // it stays for as long as runs need it
	}
	needed := s.needed(s.ctx, d, all)
	want := d.role.pace.decide(s.deps.Now(), len(all), needed, s.down(d))
	if d.standing == drains {
		want = min(want, len(all))
	}
	var err error
	switch {
	case want > len(all):
		s.deps.Log.InfoContext(s.ctx, "an agent gets more processes", "target", d.version.TargetID, "role", d.key.Role, "processes", want)
		err = s.deps.Agents.Grow(s.ctx, d.version.Version, d.key.Role, want)
	case want < len(all):
		err = s.shrink(s.ctx, d, all)
	}
	if err != nil && s.ctx.Err() == nil {
		s.deps.Log.WarnContext(s.ctx, "an agent has not the processes that it should have", "target", d.version.TargetID, "role", d.key.Role, "error", err)
	}
}

// down is how long a process must have been too many until it ends. Of a version that
// drains each is as soon as it has nothing to do.
func (s *Service) down(d due) time.Duration {
	if d.standing == drains {
		return 0
	}
	return s.deps.Limits.Down
}

// needed is how many processes there is work for. More calls than there is room for need
// more, and so do tasks that nobody takes.
func (s *Service) needed(ctx context.Context, d due, all []deployments.Instance) int {
	v, r, needed := d.version, d.key.Role, d.version.scale.Least
	if d.standing == drains {
		needed = 1
	}
	if r == agentenv.RoleServer && v.scale.Concurrency > 0 {
		calls := 0.0
		for _, one := range all {
			calls += s.gateways.load(one.URL, s.deps.Now()).average
		}
		needed = max(needed, int(math.Ceil(calls/float64(v.scale.Concurrency))))
	}
	if needed <= len(all) && len(all) < v.scale.Most {
		waits, err := s.ownTasksWait(ctx, v, r)
		if err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "the queues of an agent are looked at again", "target", v.TargetID, "role", r, "error", err)
		}
		if waits {
			needed = len(all) + 1
		}
	}
	return min(needed, v.scale.Most)
}

// shrink ends one process that has nothing to do; when all have, it is left for later.
func (s *Service) shrink(ctx context.Context, d due, all []deployments.Instance) error {
	v, r := d.version, d.key.Role
	for _, one := range endable(all) {
		if r == agentenv.RoleServer && s.gateways.load(one.URL, s.deps.Now()).open > 0 {
			continue
		}
		busy, err := s.worksAt(ctx, v, r, one.ID)
		if err != nil {
			return err
		}
		if busy {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, leaveWithin)
		ended, err := s.deps.Agents.Shrink(limited, v.Version, r, one, func(ctx context.Context) bool {
			return s.gateways.askOne(ctx, v.TargetID, v.ID, one.URL, s.deps.Now()).agreed
		})
		cancel()
		if ended {
			s.deps.Log.InfoContext(ctx, "an agent has a process less", "target", v.TargetID, "role", r, "instance", one.ID)
		}
		return err
	}
	return nil
}

// endable are those of several processes that may end: what is not up goes first, and the
// last one that is up stays.
func endable(all []deployments.Instance) []deployments.Instance {
	var up, others []deployments.Instance
	for _, one := range slices.Backward(all) {
		if one.Up() {
			up = append(up, one)
		} else {
			others = append(others, one)
		}
	}
	if len(up) < 2 { //nolint:mnd // it and another
		return others
	}
	return append(others, up...)
}

// worksAt says whether a step of a run is under way in one process. Of more runs than are
// looked at it may be any.
func (s *Service) worksAt(ctx context.Context, v version, r agentenv.Role, instanceID string) (bool, error) {
	open, err := s.openRuns(ctx, v, r, mostOpen+1)
	if err != nil || len(open) > mostOpen {
		return true, err
	}
	c, err := s.deps.Namespaces.Client(ctx, v.OrgID)
	if err != nil {
		return true, err
	}
	for _, run := range open {
		if works, err := s.stepAt(ctx, c, run, instanceID); works || err != nil {
			return works, err
		}
	}
	return false, nil
}

// stepAt says whether a process has a step of a run in hand.
func (s *Service) stepAt(ctx context.Context, c client.Client, run store.Run, instanceID string) (bool, error) {
	d, err := describe(ctx, c, run)
	for _, a := range d.GetPendingActivities() {
		const started = enumspb.PENDING_ACTIVITY_STATE_STARTED
		if a.GetState() == started && strings.HasSuffix(a.GetLastWorkerIdentity(), "/"+instanceID) {
			return true, nil
		}
	}
	return false, err
}
