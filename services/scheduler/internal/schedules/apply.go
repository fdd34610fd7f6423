package schedules

import (
	"context"
	"errors"
	"strings"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// stopped begins the note of a schedule that the live version cannot run. It goes on
	// when a version can.
	stopped = "stopped by a deploy: "
	// turns bounds how often a change that came in between is followed.
	turns = 5
)

// Apply brings what is wanted of a target's schedules to Temporal.
func (s *Service) Apply(ctx context.Context, targetID string) error {
	rows, err := s.deps.Store.SchedulesOf(ctx, nil, targetID, "", 2*mostSchedules, true)
	if err != nil {
		return err
	}
	var errs []error
	for _, row := range rows {
		err := s.apply(ctx, targetID, row.Name)
		if fault.Unavailable.Is(err) {
			return err
		}
		s.warn(ctx, targetID, row.Name, err)
		if fault.KindOf(err) == fault.Internal {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// apply brings what is wanted of one schedule to Temporal.
func (s *Service) apply(ctx context.Context, targetID, name string) error {
	defer s.applying.Take(targetID + "/" + name)()
	var before store.Schedule
	for range turns {
		row, err := s.deps.Store.Schedule(ctx, targetID, name)
		switch {
		case fault.NotFound.Is(err):
			return s.forgotten(ctx, before)
		case err != nil:
			return err
		case row.State == store.ScheduleReady:
			return nil
		}
		if done, err := s.step(ctx, row); done || err != nil {
			return err
		}
		before = row
	}
	return fault.Conflict.Errorf("the schedule %q changes all the time; try again", name)
}

// forgotten takes back what was given to Temporal while the app was removed.
func (s *Service) forgotten(ctx context.Context, row store.Schedule) error {
	if row.Name == "" {
		return nil
	}
	_, h, err := s.handle(ctx, row)
	if err != nil {
		return err
	}
	if err := h.Delete(ctx); !namespaces.IsNotFound(err) {
		return away(err)
	}
	return nil
}

// step does it for one revision; false when there is a newer one.
func (s *Service) step(ctx context.Context, row store.Schedule) (done bool, err error) {
	if row.State == store.ScheduleDeleting {
		return s.erase(ctx, row)
	}
	t, err := s.deps.Store.Target(ctx, row.TargetID)
	if err != nil {
		return false, err
	}
	if t.Removing {
		return false, fault.Conflict.Errorf("the app is being deleted")
	}
	v, err := s.live(ctx, t)
	if err != nil {
		return false, err
	}
	share, err := s.share(ctx, t, row)
	if err != nil {
		return false, err
	}
	w, err := s.want(t, v, row.Name, row.Spec, share)
	if fault.NotFound.Is(err) || fault.Invalid.Is(err) {
		return s.stop(ctx, row, err)
	}
	if err != nil {
		return false, err
	}
	if w.digest == row.Applied && row.Intent == (store.Intent{}) {
		return s.settled(ctx, row, w.digest, nil)
	}
	state, err := s.project(ctx, row, w)
	if err != nil {
		return false, err
	}
	return s.settled(ctx, row, w.digest, state)
}

// settled records that Temporal has a revision, with the event that tells it.
func (s *Service) settled(ctx context.Context, row store.Schedule, applied string, state *client.ScheduleState) (done bool, err error) {
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if done, err = s.deps.Store.ScheduleApplied(ctx, tx, row, applied); err != nil || !done {
			return err
		}
		if news := newsOf(row, state); news != nil {
			return bus.Put(ctx, tx, news)
		}
		return nil
	})
	return done, err
}

func newsOf(row store.Schedule, state *client.ScheduleState) proto.Message {
	switch {
	case state == nil:
		return nil
	case row.Intent.Create:
		return &schedulerv1.ScheduleCreated{
			TargetId: row.TargetID, OrgId: row.OrgID, Name: row.Name, Workflow: row.Spec.GetWorkflow(), Declared: row.Declared != nil,
		}
	case row.Intent.Change:
		return &schedulerv1.ScheduleChanged{TargetId: row.TargetID, OrgId: row.OrgID, Name: row.Name, Paused: state.Paused, Note: state.Note}
	}
	return nil
}

// project makes Temporal's schedule, or changes the one there is.
func (s *Service) project(ctx context.Context, row store.Schedule, w want) (*client.ScheduleState, error) {
	c, h, err := s.handle(ctx, row)
	if err != nil {
		return nil, err
	}
	if !row.Intent.Create {
		state, err := s.change(ctx, h, row, w)
		if !namespaces.IsNotFound(err) {
			return state, away(err)
		}
		// Temporal forgets schedules that are over after a while.
	}
	state, err := s.create(ctx, c, row, w)
	if errors.Is(err, temporal.ErrScheduleAlreadyRunning) {
		state, err = s.change(ctx, h, row, w) // an earlier try came that far
	}
	return state, away(err)
}

func (s *Service) create(ctx context.Context, c client.Client, row store.Schedule, w want) (*client.ScheduleState, error) {
	state := client.ScheduleState{LimitedActions: w.limit > 0, RemainingActions: int(w.limit)}
	intend(&state, row.Intent)
	_, err := c.ScheduleClient().Create(ctx, client.ScheduleOptions{
		ID: flow.ScheduleID(row.TargetID, row.Name), Spec: *w.times, Action: w.action,
		Overlap: w.policy.Overlap, CatchupWindow: w.policy.CatchupWindow, PauseOnFailure: w.policy.PauseOnFailure,
		Note: state.Note, Paused: state.Paused, RemainingActions: state.RemainingActions,
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(flow.TargetAttribute).ValueSet(row.TargetID)),
	})
	return &state, err
}

func (s *Service) change(ctx context.Context, h client.ScheduleHandle, row store.Schedule, w want) (*client.ScheduleState, error) {
	var state client.ScheduleState
	err := h.Update(ctx, client.ScheduleUpdateOptions{DoUpdate: func(in client.ScheduleUpdateInput) (*client.ScheduleUpdate, error) {
		if had := in.Description.Schedule.State; had != nil {
			state = *had
		}
		if strings.HasPrefix(state.Note, stopped) {
			state.Paused, state.Note = false, ""
		}
		if row.Intent.Limit || row.Intent.Create {
			state.LimitedActions, state.RemainingActions = w.limit > 0, int(w.limit)
		}
		intend(&state, row.Intent)
		return &client.ScheduleUpdate{Schedule: &client.Schedule{Action: w.action, Spec: w.times, Policy: w.policy, State: &state}}, nil
	}})
	return &state, err
}

// intend does what people want of a schedule's state.
func intend(state *client.ScheduleState, intent store.Intent) {
	if intent.Pause != nil {
		state.Paused = *intent.Pause
	}
	if intent.Note != nil {
		state.Note = *intent.Note
	}
}

// stop pauses a schedule that the live version cannot run. One that somebody has paused
// stays paused for their reason.
func (s *Service) stop(ctx context.Context, row store.Schedule, why error) (done bool, err error) {
	if row.Intent.Create {
		return false, why // there is nothing to stop yet
	}
	_, h, err := s.handle(ctx, row)
	if err != nil {
		return false, err
	}
	d, err := h.Describe(ctx)
	if namespaces.IsNotFound(err) {
		return s.settled(ctx, row, "", nil)
	}
	if err != nil {
		return false, away(err)
	}
	state := &client.ScheduleState{}
	if d.Schedule.State != nil {
		*state = *d.Schedule.State
	}
	intend(state, row.Intent)
	note := bounded(stopped + fault.Message(why))
	switch {
	case !state.Paused:
		state.Paused, state.Note = true, note
		err = h.Pause(ctx, client.SchedulePauseOptions{Note: note})
	case row.Intent != (store.Intent{}):
		err = h.Pause(ctx, client.SchedulePauseOptions{Note: state.Note})
	}
	if err != nil {
		return false, away(err)
	}
	row.Intent.Change = true
	return s.settled(ctx, row, "", state)
}

// bounded keeps the beginning of a long note.
func bounded(note string) string {
	if len(note) <= maxNote {
		return note
	}
	return strings.ToValidUTF8(note[:maxNote], "")
}

// erase takes a schedule out of Temporal, and forgets it.
func (s *Service) erase(ctx context.Context, row store.Schedule) (done bool, err error) {
	_, h, err := s.handle(ctx, row)
	if err != nil {
		return false, err
	}
	if err := h.Delete(ctx); err != nil && !namespaces.IsNotFound(err) {
		return false, away(err)
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if done, err = s.deps.Store.DropSchedule(ctx, tx, row); err != nil || !done {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.ScheduleDeleted{TargetId: row.TargetID, OrgId: row.OrgID, Name: row.Name})
	})
	return done, err
}
