package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// ScheduleState is whether Temporal has what is wanted.
type ScheduleState string

// The states of a schedule.
const (
	ScheduleReady    ScheduleState = "ready"
	ScheduleApplying ScheduleState = "applying"
	ScheduleDeleting ScheduleState = "deleting"
)

// Schedule is a schedule as it is wanted. Temporal knows how it is.
type Schedule struct {
	TargetID, Name, OrgID string

	Spec *schedulerv1.ScheduleSpec
	// Declared is nil for one that was made by hand.
	Declared *Declared
	State    ScheduleState
	Intent   Intent
	// Applied is a digest of what Temporal was given last.
	Applied string
	// Revision counts changes, so that one that comes in between is not taken for done.
	Revision int64

	CreatedBy            string
	CreatedAt, UpdatedAt time.Time
}

// Declared is what agentcloud.yaml says of a schedule beside its specification.
type Declared struct {
	Paused bool   `json:"paused,omitempty"`
	Note   string `json:"note,omitempty"`
}

// Intent is what is to be done in Temporal besides giving it the specification.
type Intent struct {
	// Create says that the schedule is new, Change that people should hear of it.
	Create bool `json:"create,omitempty"`
	Change bool `json:"change,omitempty"`
	// Pause is whether it should be paused; nil: as it is.
	Pause *bool `json:"pause,omitempty"`
	// Note replaces the note; nil: as it is.
	Note *string `json:"note,omitempty"`
	// Limit says that the number of actions that remain begins anew.
	Limit bool `json:"limit,omitempty"`
}

const selectSchedule = `SELECT target_id, name, org_id, spec, declared, state, intent, applied, revision, created_by, created_at, updated_at FROM schedules`

func scanSchedule(row scanner) (Schedule, error) {
	s := Schedule{Spec: &schedulerv1.ScheduleSpec{}}
	var spec, declared, intent string
	var created, updated int64
	err := row.Scan(&s.TargetID, &s.Name, &s.OrgID, &spec, &declared, &s.State, &intent, &s.Applied, &s.Revision, &s.CreatedBy, &created, &updated)
	if err != nil {
		return s, err
	}
	s.CreatedAt, s.UpdatedAt = fromMillis(created), fromMillis(updated)
	return s, errors.Join(protojson.Unmarshal([]byte(spec), s.Spec), fromJSON(declared, &s.Declared), fromJSON(intent, &s.Intent))
}

// Schedule finds a schedule; it fails with fault.NotFound.
func (s *Store) Schedule(ctx context.Context, targetID, name string) (Schedule, error) {
	return s.ScheduleIn(ctx, nil, targetID, name)
}

// ScheduleIn is Schedule in a transaction.
func (s *Store) ScheduleIn(ctx context.Context, tx *sqldb.Tx, targetID, name string) (Schedule, error) {
	found, err := scanSchedule(s.in(tx).QueryRow(ctx, selectSchedule+` WHERE target_id = ? AND name = ?`, targetID, name))
	if errors.Is(err, sql.ErrNoRows) {
		return Schedule{}, fault.NotFound.Wrap(err, "this app has no schedule %q", name)
	}
	if err != nil {
		return Schedule{}, fmt.Errorf("find schedule %s of %s: %w", name, targetID, err)
	}
	return found, nil
}

// in is the transaction, or the database outside of one.
func (s *Store) in(tx *sqldb.Tx) querier {
	if tx == nil {
		return s.db
	}
	return tx
}

// SchedulesOf lists the schedules of a target by name, from after on; those that are
// being deleted only if all is set.
func (s *Store) SchedulesOf(ctx context.Context, tx *sqldb.Tx, targetID, after string, limit int, all bool) ([]Schedule, error) {
	hidden := ScheduleDeleting
	if all {
		hidden = ""
	}
	rows, err := s.in(tx).Query(ctx, selectSchedule+` WHERE target_id = ? AND name > ? AND state <> ? ORDER BY name LIMIT ?`, targetID, after, hidden, limit)
	return collect(rows, err, "schedules", scanSchedule)
}

// CountSchedules counts the schedules of a target.
func (s *Store) CountSchedules(ctx context.Context, tx *sqldb.Tx, targetID string) (n int, err error) {
	if err = s.in(tx).QueryRow(ctx, `SELECT COUNT(*) FROM schedules WHERE target_id = ?`, targetID).Scan(&n); err != nil {
		return 0, fmt.Errorf("count schedules of %s: %w", targetID, err)
	}
	return n, nil
}

// SchedulesToApply lists schedules of which Temporal does not have what is wanted, the
// ones that wait longest first.
func (s *Store) SchedulesToApply(ctx context.Context, limit int) ([]Schedule, error) {
	rows, err := s.db.Query(ctx, selectSchedule+` WHERE state = ? OR state = ? ORDER BY updated_at LIMIT ?`, ScheduleApplying, ScheduleDeleting, limit)
	return collect(rows, err, "schedules", scanSchedule)
}

// PutSchedule writes a schedule down, a new one or a change, as one to be applied. The
// revision grows.
func (s *Store) PutSchedule(ctx context.Context, tx *sqldb.Tx, one Schedule) error {
	spec, err := protojson.Marshal(one.Spec)
	if err != nil {
		return fmt.Errorf("encode schedule: %w", err)
	}
	declared := ""
	if one.Declared != nil {
		declared = toJSON(one.Declared)
	}
	_, err = tx.Exec(ctx, `INSERT INTO schedules (target_id, name, org_id, spec, declared, state, intent, applied, revision, created_by, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1, ?, ?, ?) ON CONFLICT (target_id, name) DO UPDATE SET spec = excluded.spec, declared = excluded.declared,
		state = excluded.state, intent = excluded.intent, applied = excluded.applied, revision = schedules.revision + 1,
		created_by = excluded.created_by, created_at = excluded.created_at, updated_at = excluded.updated_at`,
		one.TargetID, one.Name, one.OrgID, string(spec), declared, one.State, toJSON(one.Intent), one.Applied,
		one.CreatedBy, toMillis(one.CreatedAt), toMillis(one.UpdatedAt))
	if err != nil {
		return fmt.Errorf("write schedule %s of %s: %w", one.Name, one.TargetID, err)
	}
	return nil
}

// ScheduleApplied records that Temporal has a revision; false when there is a newer one.
func (s *Store) ScheduleApplied(ctx context.Context, tx *sqldb.Tx, one Schedule, applied string) (bool, error) {
	return changed(tx.Exec(ctx, `UPDATE schedules SET state = ?, intent = '', applied = ? WHERE target_id = ? AND name = ? AND revision = ?`,
		ScheduleReady, applied, one.TargetID, one.Name, one.Revision))
}

// LookAgain has all schedules of an organisation looked at again in tx: what was decided
// about them may have changed.
func (s *Store) LookAgain(ctx context.Context, tx *sqldb.Tx, orgID string) error {
	_, err := tx.Exec(ctx, `UPDATE schedules SET state = ?, revision = revision + 1 WHERE org_id = ? AND state = ?`, ScheduleApplying, orgID, ScheduleReady)
	if err != nil {
		return fmt.Errorf("look at the schedules of %s again: %w", orgID, err)
	}
	return nil
}

// DropSchedule forgets a revision that is gone from Temporal; false when there is a newer one.
func (s *Store) DropSchedule(ctx context.Context, tx *sqldb.Tx, one Schedule) (bool, error) {
	return changed(tx.Exec(ctx, `DELETE FROM schedules WHERE target_id = ? AND name = ? AND revision = ?`, one.TargetID, one.Name, one.Revision))
}
