package schedules

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// errDeclared is for those who would change by hand what the next deploy puts back.
var errDeclared = fault.Conflict.Errorf("agentcloud.yaml of this app declares this schedule; change it there and deploy. It can be paused, triggered and backfilled here")

// CreateSchedule makes a schedule.
func (s *Service) CreateSchedule(ctx context.Context, req *schedulerv1.CreateScheduleRequest) (*schedulerv1.CreateScheduleResponse, error) {
	if err := checkName(req.GetName()); err != nil {
		return nil, err
	}
	if err := checkNote(req.GetNote()); err != nil {
		return nil, err
	}
	t, err := s.fits(ctx, req.GetTargetId(), req.GetName(), req.GetSpec())
	if err != nil {
		return nil, err
	}
	if err := s.allowed(ctx, t, req.GetSpec()); err != nil {
		return nil, err
	}
	now, paused, note := s.deps.Now(), req.GetPaused(), req.GetNote()
	row := store.Schedule{
		TargetID: t.ID, Name: req.GetName(), OrgID: t.OrgID, Spec: req.GetSpec(), State: store.ScheduleApplying,
		Intent:    store.Intent{Create: true, Pause: &paused, Note: &note},
		CreatedBy: principal.From(ctx).UserID, CreatedAt: now, UpdatedAt: now,
	}
	if err := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.insert(ctx, tx, row) }); err != nil {
		return nil, err
	}
	made, err := s.bring(ctx, t, row.Name, func(tx *sqldb.Tx, failed store.Schedule) error {
		_, err := s.deps.Store.DropSchedule(ctx, tx, failed)
		return err
	})
	if err != nil {
		return nil, err
	}
	return &schedulerv1.CreateScheduleResponse{Schedule: made}, nil
}

// fits finds the target and says whether its live version can run what is asked for.
func (s *Service) fits(ctx context.Context, targetID, name string, spec *schedulerv1.ScheduleSpec) (store.Target, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, targetID)
	if err != nil {
		return t, err
	}
	if spec == nil {
		return t, fault.Invalid.Errorf("say what is run, and when: the specification is missing")
	}
	v, err := s.live(ctx, t)
	if err != nil {
		return t, err
	}
	_, err = s.want(t, v, name, spec, appShare(t)) // whose it is makes no difference to that
	return t, err
}

func (s *Service) insert(ctx context.Context, tx *sqldb.Tx, row store.Schedule) error {
	had, err := s.deps.Store.ScheduleIn(ctx, tx, row.TargetID, row.Name)
	switch {
	case err != nil && !fault.NotFound.Is(err):
		return err
	case err == nil && had.State != store.ScheduleDeleting:
		return fault.Exists.Errorf("this app has a schedule %q already; update it, or take another name", row.Name)
	}
	n, err := s.deps.Store.CountSchedules(ctx, tx, row.TargetID)
	if err != nil {
		return err
	}
	if n >= mostSchedules {
		return fault.TooLarge.Errorf("an app has at most %d schedules; delete one first", mostSchedules)
	}
	return s.deps.Store.PutSchedule(ctx, tx, row)
}

// bring applies a change and tells the schedule. While Temporal is away the change
// waits, which the answer says; what Temporal refuses is undone.
func (s *Service) bring(ctx context.Context, t store.Target, name string, undo func(*sqldb.Tx, store.Schedule) error) (*schedulerv1.Schedule, error) {
	limited, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	err := s.apply(limited, t.ID, name)
	if fault.Invalid.Is(err) || fault.NotFound.Is(err) {
		undone := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
			row, err := s.deps.Store.ScheduleIn(ctx, tx, t.ID, name)
			if err != nil || row.State == store.ScheduleReady {
				return err
			}
			return undo(tx, row)
		})
		if undone != nil {
			s.warn(ctx, t.ID, name, undone)
		}
		return nil, err
	}
	s.warn(ctx, t.ID, name, err)
	row, err := s.deps.Store.Schedule(ctx, t.ID, name)
	if err != nil {
		return nil, err
	}
	return s.tell(ctx, row)
}

// UpdateSchedule puts another specification in the place of the one there is.
func (s *Service) UpdateSchedule(ctx context.Context, req *schedulerv1.UpdateScheduleRequest) (*schedulerv1.UpdateScheduleResponse, error) {
	had, err := s.find(ctx, req.GetTargetId(), req.GetName())
	if err != nil {
		return nil, err
	}
	t, err := s.fits(ctx, req.GetTargetId(), req.GetName(), req.GetSpec())
	if err != nil {
		return nil, err
	}
	if req.GetSpec().GetPriority() != had.Spec.GetPriority() {
		if err := s.allowed(ctx, t, req.GetSpec()); err != nil {
			return nil, err
		}
	}
	var before store.Schedule
	err = s.edit(ctx, t.ID, req.GetName(), func(row *store.Schedule) error {
		if row.Declared != nil {
			return errDeclared
		}
		before = *row
		row.Intent.Limit = row.Intent.Limit || row.Spec.GetLimit() != req.GetSpec().GetLimit()
		row.Spec = req.GetSpec()
		return nil
	})
	if err != nil {
		return nil, err
	}
	changed, err := s.bring(ctx, t, req.GetName(), func(tx *sqldb.Tx, failed store.Schedule) error {
		failed.Spec, failed.Intent.Limit = before.Spec, before.Intent.Limit
		return s.deps.Store.PutSchedule(ctx, tx, failed)
	})
	if err != nil {
		return nil, err
	}
	return &schedulerv1.UpdateScheduleResponse{Schedule: changed}, nil
}

// edit changes a row, which is to be applied then.
func (s *Service) edit(ctx context.Context, targetID, name string, change func(*store.Schedule) error) error {
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		row, err := s.deps.Store.ScheduleIn(ctx, tx, targetID, name)
		if err != nil {
			return err
		}
		if row.State == store.ScheduleDeleting {
			return fault.NotFound.Errorf("this app has no schedule %q", name)
		}
		row.State, row.UpdatedAt, row.Intent.Change = store.ScheduleApplying, s.deps.Now(), true
		if err := change(&row); err != nil {
			return err
		}
		return s.deps.Store.PutSchedule(ctx, tx, row)
	})
}

// PauseSchedule keeps a schedule from firing.
func (s *Service) PauseSchedule(ctx context.Context, req *schedulerv1.PauseScheduleRequest) (*schedulerv1.PauseScheduleResponse, error) {
	return &schedulerv1.PauseScheduleResponse{}, s.pause(ctx, req.GetTargetId(), req.GetName(), req.GetNote(), true)
}

// UnpauseSchedule lets it fire again, from now on.
func (s *Service) UnpauseSchedule(ctx context.Context, req *schedulerv1.UnpauseScheduleRequest) (*schedulerv1.UnpauseScheduleResponse, error) {
	return &schedulerv1.UnpauseScheduleResponse{}, s.pause(ctx, req.GetTargetId(), req.GetName(), req.GetNote(), false)
}

func (s *Service) pause(ctx context.Context, targetID, name, note string, paused bool) error {
	if err := checkNote(note); err != nil {
		return err
	}
	row, err := s.find(ctx, targetID, name)
	if err != nil {
		return err
	}
	if !paused {
		// What was stopped because it does not fit would fail at once.
		if _, err := s.fits(ctx, targetID, name, row.Spec); err != nil {
			return err
		}
	}
	err = s.edit(ctx, targetID, name, func(row *store.Schedule) error {
		row.Intent.Pause, row.Intent.Note = &paused, &note
		return nil
	})
	if err != nil {
		return err
	}
	limited, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	return s.apply(limited, targetID, name)
}

// DeleteSchedule ends a schedule.
func (s *Service) DeleteSchedule(ctx context.Context, req *schedulerv1.DeleteScheduleRequest) (*schedulerv1.DeleteScheduleResponse, error) {
	if _, err := s.find(ctx, req.GetTargetId(), req.GetName()); err != nil {
		return nil, err
	}
	err := s.edit(ctx, req.GetTargetId(), req.GetName(), func(row *store.Schedule) error {
		if row.Declared != nil {
			return errDeclared
		}
		row.State = store.ScheduleDeleting
		return nil
	})
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, applyWithin)
	defer cancel()
	s.warn(ctx, req.GetTargetId(), req.GetName(), s.apply(limited, req.GetTargetId(), req.GetName()))
	return &schedulerv1.DeleteScheduleResponse{}, nil
}

// find finds a schedule as the caller may see it. It fails with fault.NotFound.
func (s *Service) find(ctx context.Context, targetID, name string) (store.Schedule, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, targetID)
	if err != nil {
		return store.Schedule{}, err
	}
	row, err := s.deps.Store.Schedule(ctx, t.ID, name)
	if err == nil && row.State == store.ScheduleDeleting {
		return row, fault.NotFound.Errorf("this app has no schedule %q", name)
	}
	return row, err
}
