package sleep

import (
	"context"
	"errors"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Wake starts the server of a target's live version when it sleeps. A start that does not
// succeed is an answer, not an error.
func (s *Service) Wake(ctx context.Context, req *schedulerv1.WakeRequest) (*schedulerv1.WakeResponse, error) {
	t, err := s.deps.Store.Target(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	v, err := s.live(ctx, t)
	if err != nil {
		return nil, err
	}
	// Read first: what is agreed from here on is not over by this call.
	answer := &schedulerv1.WakeResponse{Agreement: s.gateways.last()}
	err = s.wake(ctx, v, agentenv.RoleServer)
	switch {
	case err == nil:
		return answer, nil
	case fault.Unavailable.Is(err) || ctx.Err() != nil:
		return nil, err
	}
	answer.Error = fault.Message(err)
	return answer, nil
}

// WakeApp starts all that sleeps of a target.
func (s *Service) WakeApp(ctx context.Context, req *schedulerv1.WakeAppRequest) (*schedulerv1.WakeAppResponse, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	v, err := s.live(ctx, t)
	if err != nil {
		return nil, err
	}
	for _, r := range v.roles {
		if err := s.wake(ctx, v, r); err != nil {
			return nil, err
		}
	}
	return &schedulerv1.WakeAppResponse{}, nil
}

// wake has one role awake when it returns without an error. All who call it meanwhile
// share one start, which goes on when they do not wait for it.
func (s *Service) wake(ctx context.Context, v version, r agentenv.Role) error {
	k := bell.Key{VersionID: v.ID, Role: r}
	s.deps.Bell.Busy(k) // one that is about to fall asleep does not
	done := s.waking.DoChan(v.ID+" "+string(r), func() (any, error) {
		err := errOver
		ended := make(chan struct{})
		if s.work(func() { defer close(ended); err = s.rouse(v, r) }) {
			<-ended
		}
		return nil, err
	})
	select {
	case <-ctx.Done():
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			return fault.Deadline.Errorf("the agent is being started; try again in a moment")
		}
		return ctx.Err()
	case result := <-done:
		return result.Err
	}
}

var errOver = fault.Unavailable.Errorf("the scheduler is stopping; try again in a moment")

func (s *Service) rouse(v version, r agentenv.Role) error {
	ctx, cancel := context.WithTimeout(s.ctx, s.deps.Limits.Start)
	defer cancel()
	select {
	case s.starts <- struct{}{}:
		defer func() { <-s.starts }()
	case <-ctx.Done():
		return fault.Unavailable.Wrap(ctx.Err(), "many agents are being started; try again in a moment")
	}
	began := s.deps.Now()
	err := s.deps.Agents.Rouse(ctx, v.Version, r)
	if err != nil && s.ctx.Err() != nil {
		return errOver
	}
	slept := false
	if k := (bell.Key{VersionID: v.ID, Role: r}); err == nil || fault.Conflict.Is(err) || fault.Deadline.Is(err) {
		slept = s.awake(k)
	}
	switch {
	case err != nil:
		s.deps.Log.WarnContext(ctx, "an agent that is needed does not wake", "target", v.TargetID, "version", v.ID, "role", r, "error", err)
	case slept:
		s.deps.Log.InfoContext(ctx, "an agent woke", "target", v.TargetID, "version", v.ID, "role", r, "took", s.deps.Now().Sub(began))
	}
	return err
}

// awake notes that a role does not sleep any more, and says whether it did.
func (s *Service) awake(k bell.Key) (slept bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.roles[k]; r != nil {
		slept = r.asleep
		r.asleep, r.since, r.due = false, s.deps.Now(), time.Time{}
	}
	return slept
}

// answer wakes those for whom the bell was rung, and looks at the queues of others.
func (s *Service) answer() {
	needed, stirred := s.deps.Bell.Take()
	for _, k := range needed {
		s.mu.Lock()
		r := s.roles[k]
		sleeps := r != nil && r.asleep
		s.mu.Unlock()
		if sleeps {
			s.work(func() { _ = s.wake(s.ctx, r.version, k.Role) }) // it has told why not
		}
	}
	for _, target := range stirred {
		s.stir(target)
	}
}

// sleeping are the roles of a target that sleep.
func (s *Service) sleeping(targetID string) map[bell.Key]version {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[bell.Key]version{}
	for k, r := range s.roles {
		if r.asleep && r.version.TargetID == targetID {
			found[k] = r.version
		}
	}
	return found
}

// stirs are the pauses between looks at queues into which something is about to come.
var stirs = []time.Duration{0, 50 * time.Millisecond, 150 * time.Millisecond, 500 * time.Millisecond}

// stir looks at the queues of a target a few times, soon; later it is looked at anyway,
// since it has open runs.
func (s *Service) stir(targetID string) {
	if len(s.sleeping(targetID)) == 0 {
		return
	}
	s.mu.Lock()
	busy := s.stirring[targetID]
	s.stirring[targetID] = true
	s.mu.Unlock()
	if busy {
		return
	}
	s.work(func() {
		defer func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.stirring, targetID)
		}()
		for _, pause := range stirs {
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(pause):
			}
			for k, v := range s.sleeping(targetID) {
				s.wakeForTasks(s.ctx, v, k.Role)
			}
		}
	})
}

// wakeForTasks wakes a role in whose queues tasks wait.
func (s *Service) wakeForTasks(ctx context.Context, v version, r agentenv.Role) {
	waits, err := s.tasksWait(ctx, v, r)
	if err != nil && ctx.Err() == nil {
		s.deps.Log.WarnContext(ctx, "the queues of a sleeping agent are looked at again", "target", v.TargetID, "role", r, "error", err)
	}
	if waits {
		_ = s.wake(ctx, v, r) // it has told why not, and is tried again
	}
}

// drained wakes a sleeping role of a version that does not serve any more, if open runs
// are pinned to it: their ends are waited for.
func (s *Service) drained(ctx context.Context, v version, r agentenv.Role) error {
	now, err := s.deps.Store.Version(ctx, v.ID)
	if fault.NotFound.Is(err) || err == nil && now.State != store.Draining {
		return nil
	}
	if err != nil {
		return err
	}
	open, err := s.openRuns(ctx, v, r, 1)
	if err != nil || len(open) == 0 {
		return err
	}
	return s.wake(ctx, v, r)
}
