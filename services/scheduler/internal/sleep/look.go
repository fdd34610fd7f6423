package sleep

import (
	"context"
	"slices"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// busyAgain is how often one that works, or is not as it should be, is looked at, and
	// troubleAgain one of which nobody knows.
	busyAgain    = 30 * time.Second
	troubleAgain = 5 * time.Second
	// sleepersPerRound bounds the sleepers whose queues are looked at in one round.
	sleepersPerRound = 50
	// firstLooks is how often the queues of any sleeper are looked at, and firstPause how
	// soon one after the other.
	firstLooks = 4
	firstPause = 2 * time.Second
	// crashWindow is how long one may have slept for its queues to be looked at as this
	// process begins: many that sleep for long must not all be loaded.
	crashWindow = time.Minute
	// restWithin bounds the end of an agent.
	restWithin = time.Minute
)

// round takes over what should run and what sleeps, and looks at all that are due.
func (s *Service) round(ctx context.Context) error {
	targets, err := s.deps.Store.Targets(ctx)
	if err != nil {
		return err
	}
	if err := s.deps.Store.ForgetSleepers(ctx); err != nil {
		return err
	}
	sleepers, err := s.deps.Store.Sleepers(ctx)
	if err != nil {
		return err
	}
	beside, err := s.deps.Store.UpBeside(ctx, s.deps.Now())
	if err != nil {
		return err
	}
	if err := s.takeOver(ctx, targets, beside, sleepers); err != nil {
		return err
	}
	stirrable, err := s.deps.Store.Stirrable(ctx)
	if err != nil {
		return err
	}
	may := map[string]bool{}
	for _, targetID := range stirrable {
		may[targetID] = true
	}
	s.lookAtDue(targets, may)
	s.scaleAll()
	return s.warm(ctx)
}

// takeOver brings the roles in memory in line with the store.
func (s *Service) takeOver(ctx context.Context, targets []store.Target, beside []store.Beside, sleepers []store.Sleeper) error {
	wanted, up := map[bell.Key]version{}, map[string]standing{}
	for _, t := range targets {
		if t.Live != "" && !t.Removing {
			up[t.Live] = serves
		}
	}
	for _, b := range beside {
		if up[b.VersionID] = tried; b.Drains {
			up[b.VersionID] = drains
		}
	}
	for id := range up {
		v, err := s.find(ctx, id)
		if fault.NotFound.Is(err) {
			continue
		}
		if err != nil {
			return err
		}
		for _, r := range v.roles {
			wanted[bell.Key{VersionID: v.ID, Role: r}] = v
		}
	}
	asleep := map[bell.Key]time.Time{}
	for _, one := range sleepers {
		v, err := s.find(ctx, one.VersionID)
		if err != nil {
			return err
		}
		k := bell.Key{VersionID: one.VersionID, Role: one.Role}
		wanted[k], asleep[k] = v, one.Since
	}
	s.keep(wanted, up, asleep)
	return nil
}

// keep makes wanted the roles that there are.
func (s *Service) keep(wanted map[bell.Key]version, up map[string]standing, asleep map[bell.Key]time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	versions := map[string]bool{}
	for k, v := range wanted {
		versions[v.ID] = true
		if r := s.roles[k]; r != nil {
			r.standing = up[v.ID]
			continue
		}
		since, sleeps := asleep[k]
		one := &role{version: v, standing: up[v.ID], asleep: sleeps, since: s.deps.Now()}
		if sleeps && s.deps.Now().Sub(since) > crashWindow {
			one.looks = firstLooks
		}
		s.roles[k] = one
	}
	for k, r := range s.roles {
		if _, ok := wanted[k]; !ok && !r.looking {
			delete(s.roles, k)
		}
	}
	for id := range s.versions {
		if !versions[id] {
			delete(s.versions, id)
		}
	}
	targets := map[string]bool{}
	for _, v := range wanted {
		targets[v.TargetID] = true
	}
	s.deps.Bell.Forget(func(k bell.Key) bool { return s.roles[k] != nil }, func(targetID string) bool { return targets[targetID] })
}

// due is one role to be looked at.
type due struct {
	key     bell.Key
	role    *role
	at      time.Time
	asleep  bool
	looks   int
	version version
	// standing is what its version is up for.
	standing standing
	// stirrable says that a sleeper may be needed without anybody saying so.
	stirrable bool
}

// lookAtDue looks at the roles that are due, each in a goroutine of its own. A sleeper is
// looked at a few times, for what came as it fell asleep or just before a crash, and from then on only while it may be needed without anybody saying so: a look
// has Temporal load its queues.
func (s *Service) lookAtDue(targets []store.Target, stirrable map[string]bool) {
	live := map[string]bool{}
	for _, t := range targets {
		live[t.Live] = !t.Removing
	}
	now := s.deps.Now()
	sleepers := 0
	for _, d := range s.dueAt(now) {
		if d.asleep {
			d.stirrable = stirrable[d.version.TargetID]
			if !d.stirrable && d.looks >= firstLooks {
				continue
			}
			if sleepers++; sleepers > sleepersPerRound {
				continue
			}
		}
		s.mu.Lock()
		d.role.looking, d.role.looks = true, d.looks+1
		s.mu.Unlock()
		if !s.work(func() { s.look(d, live[d.version.ID]) }) {
			return
		}
	}
}

// dueAt lists what is to be looked at, the longest due first.
func (s *Service) dueAt(now time.Time) []due {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []due
	for k, r := range s.roles {
		if !r.looking && !r.due.After(now) {
			all = append(all, due{key: k, role: r, at: r.due, asleep: r.asleep, looks: r.looks, version: r.version})
		}
	}
	slices.SortFunc(all, func(a, b due) int { return a.at.Compare(b.at) })
	return all
}

// look looks at one role and says when to do so again.
func (s *Service) look(d due, live bool) {
	select {
	case s.looks <- struct{}{}:
		defer func() { <-s.looks }()
	case <-s.ctx.Done():
		return
	}
	var again time.Duration
	switch {
	case d.asleep && !live:
		again = troubleAgain
		if err := s.drained(s.ctx, d.version, d.key.Role); err != nil {
			s.deps.Log.WarnContext(s.ctx, "whether open runs need a sleeping version is looked at again", "version", d.version.ID, "error", err)
		}
	case d.asleep:
		s.wakeForTasks(s.ctx, d.version, d.key.Role)
		if !d.stirrable {
			again = firstPause
		}
	case !live:
		again = troubleAgain // it drains, and is none of ours
	default:
		again = s.settle(s.ctx, d)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d.role.looking, d.role.due = false, s.deps.Now().Add(again)
}

// settle lets a role fall asleep that nobody needs, else says when to look again.
func (s *Service) settle(ctx context.Context, d due) (again time.Duration) {
	v, r := d.version, d.key.Role
	if v.idle <= 0 {
		return busyAgain
	}
	s.mu.Lock()
	since := d.role.since
	s.mu.Unlock()
	rung := heard{s.deps.Bell.Last(d.key), s.deps.Bell.Count(v.TargetID)}
	if wait := v.idle - s.deps.Now().Sub(latest(since, rung.last)); wait > 0 {
		return wait
	}
	if p, known := s.deps.Agents.State(v.TargetID, v.ID, r); !known || p.State != schedulerv1.AgentState_AGENT_STATE_READY {
		return min(v.idle, troubleAgain) // it starts, ends again and again, or has nothing to do
	}
	busy, err := s.busy(ctx, v, r)
	switch {
	case err != nil:
		if ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "an agent stays awake, for it is not known whether it is needed", "target", v.TargetID, "role", r, "error", err)
		}
		return troubleAgain
	case busy:
		s.mu.Lock()
		d.role.since = s.deps.Now()
		s.mu.Unlock()
		return min(v.idle, busyAgain)
	}
	return s.rest(ctx, d, rung)
}

func latest(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// heard is what the bell said when a look began.
type heard struct {
	last  time.Time
	count int64
}

// rest asks the gateways, who alone know of calls, and ends the role.
func (s *Service) rest(ctx context.Context, d due, rung heard) (again time.Duration) {
	v, r := d.version, d.key.Role
	said := verdict{agreed: true}
	if r == agentenv.RoleServer {
		said = s.gateways.ask(ctx, v.TargetID, v.ID, v.idle, s.deps.Now())
	}
	if !said.agreed {
		return min(max(said.again, s.deps.Limits.Every), v.idle)
	}
	s.setAsleep(d.role, true) // who rings from here on wakes it
	done := func() {}
	still := func() (ok bool) {
		if !s.deps.Bell.Last(d.key).Equal(rung.last) || r == agentenv.RoleServer && s.gateways.changed() != said.changes {
			return false
		}
		var over func()
		if over, ok = s.deps.Bell.Rest(v.TargetID, rung.count); ok {
			done = over
		}
		return ok
	}
	defer func() { done() }()
	limited, cancel := context.WithTimeout(ctx, restWithin)
	defer cancel()
	slept, err := s.deps.Agents.Rest(limited, v.Version, r, still)
	if err != nil && ctx.Err() == nil {
		s.deps.Log.WarnContext(ctx, "an agent does not fall asleep as it should", "target", v.TargetID, "version", v.ID, "role", r, "error", err)
	}
	if !slept {
		s.setAsleep(d.role, false)
		return troubleAgain
	}
	s.deps.Log.InfoContext(ctx, "an agent fell asleep", "target", v.TargetID, "version", v.ID, "role", r)
	return 0
}

func (s *Service) setAsleep(r *role, asleep bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r.asleep, r.looks = asleep, 0
}
