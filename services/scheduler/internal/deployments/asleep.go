package deployments

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// recordWithin bounds what is written down after a wake whose caller may have gone.
const recordWithin = 10 * time.Second

// IdleOf is how long nobody must have needed a version's agents until they sleep, 0 for
// never, and whether its project says so; usual is what the cloud does.
func IdleOf(v store.Version, usual time.Duration) (idle time.Duration, declared bool) {
	file, err := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson())
	switch {
	case err != nil:
		return usual, false // the builder has checked it; a newer one knows more
	case file.Scale.Min > 0:
		return 0, true
	case file.Scale.Idle == "":
		return usual, false
	case file.Scale.Idle == projectfile.Never:
		return 0, true
	}
	idle, err = timetable.Span(file.Scale.Idle)
	if err != nil {
		return usual, false
	}
	return idle, true
}

// Roles are those that a version has work for.
func Roles(v store.Version) []agentenv.Role {
	if len(v.Capture.Workflows) == 0 {
		return []agentenv.Role{agentenv.RoleServer}
	}
	return []agentenv.Role{agentenv.RoleServer, agentenv.RoleWorker}
}

// State tells how one role of a version is; false when it has no process.
func (s *Service) State(targetID, versionID string, role agentenv.Role) (Process, bool) {
	look, known := s.deps.Runtime.Look(targetID, versionID)
	return process(look, role), known
}

// Rest ends the processes of one role of a live version until Rouse; false when it is
// needed after all. Still is asked once no new call can come any more.
func (s *Service) Rest(ctx context.Context, v store.Version, role agentenv.Role, still func() bool) (bool, error) {
	release, free := s.holding.Try(v.ID)
	if !free {
		return false, nil
	}
	defer release()
	return s.steps.rest(ctx, v, role, still)
}

func (s *steps) rest(ctx context.Context, v store.Version, role agentenv.Role, still func() bool) (bool, error) {
	defer s.starting.Take(v.ID)()
	t, err := s.store.Target(ctx, v.TargetID)
	if err != nil || t.Live != v.ID || t.Removing || t.Pending != "" {
		return false, err
	}
	server := role == agentenv.RoleServer
	if server && !s.table.SetAsleep(v.TargetID, v.ID, true) {
		return false, nil
	}
	ok := still()
	if ok {
		// Recorded first: after a crash in between there is no process anyway.
		err = s.slept(ctx, v, role)
	}
	if !ok || err != nil {
		if server {
			s.callable(v)
		}
		return false, err
	}
	return true, s.endRole(ctx, v, role)
}

func (s *steps) slept(ctx context.Context, v store.Version, role agentenv.Role) error {
	return s.store.Tx(ctx, func(tx *sqldb.Tx) error {
		fresh, err := s.store.PutSleeper(ctx, tx, store.Sleeper{VersionID: v.ID, TargetID: v.TargetID, OrgID: v.OrgID, Role: role, Since: s.now()})
		if err != nil || !fresh {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.AgentSlept{TargetId: v.TargetID, VersionId: v.ID, Role: string(role)})
	})
}

// endRole ends one role, and with the last one all there is of the version.
func (s *steps) endRole(ctx context.Context, v store.Version, role agentenv.Role) error {
	// It drains by itself first: it is known by its tokens until it has ended.
	if err := s.runtime.Stop(ctx, v.TargetID, v.ID, role); err != nil {
		return err
	}
	look, known := s.runtime.Look(v.TargetID, v.ID)
	other := process(look, otherThan(role))
	if known && (other.State == schedulerv1.AgentState_AGENT_STATE_STOPPED || other.NotNeeded) {
		return s.stop(ctx, v)
	}
	return nil
}

func otherThan(role agentenv.Role) agentenv.Role {
	if role == agentenv.RoleServer {
		return agentenv.RoleWorker
	}
	return agentenv.RoleServer
}

// callable puts the server as the runtime has it into the table of endpoints.
func (s *steps) callable(v store.Version) {
	look := s.look(v.TargetID, v.ID)
	s.table.SetAsleep(v.TargetID, v.ID, false)
	s.table.SetServer(v.TargetID, v.ID, look.ServerURL, look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY, look.callable()...)
}

// Rouse starts one role of a version that sleeps and waits until it is ready. It fails
// with fault.Conflict and the reason when it will not be; the role counts as awake then,
// since its processes are started again and again.
func (s *Service) Rouse(ctx context.Context, v store.Version, role agentenv.Role) error {
	began := s.deps.Now()
	if err := s.steps.startRole(ctx, v.ID, role); err != nil {
		return err
	}
	failed := s.awaitRole(ctx, v, role)
	if errors.Is(context.Cause(ctx), context.Canceled) {
		return failed // this process ends, and the agents with it
	}
	recorded, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordWithin)
	defer cancel()
	if err := s.steps.woke(recorded, v, role, s.deps.Now().Sub(began), failed); err != nil && failed == nil {
		return err
	}
	return failed
}

// startRole starts a role, and of the others those that do not sleep.
func (s *steps) startRole(ctx context.Context, versionID string, role agentenv.Role) error {
	defer s.starting.Take(versionID)()
	return s.start(ctx, versionID, role)
}

// woke writes down that a role is awake.
func (s *steps) woke(ctx context.Context, v store.Version, role agentenv.Role, took time.Duration, failed error) error {
	defer s.starting.Take(v.ID)()
	slept := false
	err := s.store.Tx(ctx, func(tx *sqldb.Tx) (err error) {
		if slept, err = s.store.DeleteSleeper(ctx, tx, v.ID, role); err != nil || !slept {
			return err
		}
		if failed == nil {
			err = bus.Put(ctx, tx, &schedulerv1.AgentWoke{TargetId: v.TargetID, VersionId: v.ID, Role: string(role), Took: durationpb.New(took)})
		}
		return err
	})
	if err != nil || !slept || role != agentenv.RoleServer {
		return err
	}
	s.callable(v)
	e := s.table.Get(v.TargetID)
	if e.GetVersionId() != v.ID {
		return nil
	}
	return s.tell(ctx, v.TargetID, e.GetReady())
}

// asleep is what sleeps of a version.
func (l *launcher) asleep(ctx context.Context, versionID string) ([]agentenv.Role, error) {
	sleepers, err := l.store.SleepersOf(ctx, versionID)
	var roles []agentenv.Role
	for _, s := range sleepers {
		roles = append(roles, s.Role)
	}
	return roles, err
}

// toStart are the roles of a version that should have a process, one that is needed among
// them. What a version without workflow classes has no use for is known once it serves.
func (l *launcher) toStart(ctx context.Context, v store.Version, needed agentenv.Role) ([]agentenv.Role, error) {
	roles := []agentenv.Role{agentenv.RoleServer, agentenv.RoleWorker}
	if v.State == store.Live || v.State == store.Draining {
		roles = Roles(v)
	}
	asleep, err := l.asleep(ctx, v.ID)
	roles = slices.DeleteFunc(roles, func(r agentenv.Role) bool { return slices.Contains(asleep, r) })
	if needed != "" && !slices.Contains(roles, needed) {
		roles = append(roles, needed)
	}
	return roles, err
}

// withSleepers adds what sleeps to the list of a target's processes. One whose process has
// not ended yet, or has just begun, is as that is.
func withSleepers(agents []*schedulerv1.Agent, sleepers []store.Sleeper) []*schedulerv1.Agent {
	for _, s := range sleepers {
		at := slices.IndexFunc(agents, func(a *schedulerv1.Agent) bool {
			return a.GetVersionId() == s.VersionID && a.GetRole() == string(s.Role)
		})
		if at < 0 {
			at, agents = 0, slices.Insert(agents, 0, &schedulerv1.Agent{VersionId: s.VersionID, Role: string(s.Role)})
		}
		a := agents[at]
		if a.GetState() != schedulerv1.AgentState_AGENT_STATE_UNSPECIFIED && a.GetState() != schedulerv1.AgentState_AGENT_STATE_STOPPED {
			continue
		}
		a.State, a.AsleepSince, a.Pid = schedulerv1.AgentState_AGENT_STATE_ASLEEP, timestamppb.New(s.Since), 0
	}
	return agents
}

// sleepPolicy is that of the version that serves.
func (s *Service) sleepPolicy(ctx context.Context, t store.Target) (*schedulerv1.SleepPolicy, []store.Sleeper, error) {
	if t.Live == "" {
		return nil, nil, nil
	}
	v, err := s.deps.Store.Version(ctx, t.Live)
	if err != nil || v.Capture.MCPURL != "" {
		return nil, nil, err
	}
	idle, declared := IdleOf(v, s.deps.Options.SleepAfter)
	sleepers, err := s.deps.Store.SleepersOf(ctx, t.Live)
	return &schedulerv1.SleepPolicy{Idle: durationpb.New(idle), Declared: declared}, sleepers, err
}
