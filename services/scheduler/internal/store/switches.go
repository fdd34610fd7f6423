package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// cooled is the time of warmth of versions that should be up no longer.
const cooled = 1

// Switch makes the pending version the live one and the live one draining, in tx; older
// ones that wait to be promoted drain, too, and a rollout of the target ends. A second time
// it changes nothing and says so. It fails with fault.Conflict when the target is gone or wants another version now.
func (s *Store) Switch(ctx context.Context, tx *sqldb.Tx, targetID, versionID string, now time.Time) (again bool, err error) {
	again, err = awaited(ctx, tx, targetID, versionID)
	if again || err != nil {
		return again, err
	}
	tx.AfterCommit(s.targets.Forget)
	for _, step := range []struct {
		query string
		args  []any
	}{
		{
			`UPDATE targets SET live_version = ?, pending_version = '', updated_at = ?, switches = switches + 1 WHERE target_id = ?`,
			[]any{versionID, now.UnixMilli(), targetID},
		},
		{
			`UPDATE versions SET state = ?, ended_at = ?, warm_until = 0 WHERE target_id = ? AND state = ? AND version_id <> ?`,
			[]any{Draining, now.UnixMilli(), targetID, Live, versionID},
		},
		{
			`UPDATE versions SET state = ?, held = '', warm_until = 0, ended_at = 0, switched = (SELECT switches FROM targets WHERE target_id = ?) WHERE version_id = ?`,
			[]any{Live, targetID, versionID},
		},
	} {
		if _, err := tx.Exec(ctx, step.query, step.args...); err != nil {
			return false, fmt.Errorf("switch %s to %s: %w", targetID, versionID, err)
		}
	}
	v, err := findVersion(ctx, tx, versionID)
	if err == nil {
		err = concludeRollout(ctx, tx, v, now)
	}
	if err != nil {
		return false, err
	}
	return false, cool(ctx, tx, targetID, versionID, now)
}

// awaited fails with fault.Conflict unless the target waits for the version; true when
// it serves already.
func awaited(ctx context.Context, tx *sqldb.Tx, targetID, versionID string) (live bool, err error) {
	t, err := findTarget(ctx, tx, targetID)
	switch {
	case fault.NotFound.Is(err):
		return false, fault.Conflict.Wrap(err, "the app was deleted")
	case err != nil:
		return false, err
	case t.Live == versionID:
		return true, nil
	case t.Removing || t.Pending != versionID:
		return false, fault.Conflict.Errorf("the app does not wait for this version any more")
	}
	return false, nil
}

// cool ends the warmth of the versions before, and the waiting of those that are older
// than the one that has just come.
func cool(ctx context.Context, tx *sqldb.Tx, targetID, versionID string, now time.Time) error {
	_, err := tx.Exec(ctx, `UPDATE versions SET warm_until = ? WHERE target_id = ? AND state = ? AND warm_until > 0`, cooled, targetID, Draining)
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE versions SET state = ?, held = '', warm_until = ?, ended_at = ? WHERE target_id = ? AND state = ?
			AND number < (SELECT newer.number FROM versions newer WHERE newer.version_id = ?)`,
			Draining, cooled, now.UnixMilli(), targetID, Ready, versionID)
	}
	if err != nil {
		return fmt.Errorf("cool versions of %s: %w", targetID, err)
	}
	return nil
}

// KeepWarm lets the version that served last before the live one stay up, in tx.
func (s *Store) KeepWarm(ctx context.Context, tx *sqldb.Tx, targetID string, until time.Time) error {
	last, err := newestDraining(ctx, tx, targetID)
	if err != nil || last == "" {
		return err
	}
	if _, err := tx.Exec(ctx, `UPDATE versions SET warm_until = ? WHERE version_id = ?`, toMillis(until), last); err != nil {
		return fmt.Errorf("keep version %s warm: %w", last, err)
	}
	return nil
}

// SwitchNumber tells in tx which switch of its target made a version live, the last time.
func (s *Store) SwitchNumber(ctx context.Context, tx *sqldb.Tx, versionID string) (int64, error) {
	var number int64
	if err := tx.QueryRow(ctx, `SELECT switched FROM versions WHERE version_id = ?`, versionID).Scan(&number); err != nil {
		return 0, fmt.Errorf("find the switch to version %s: %w", versionID, err)
	}
	return number, nil
}

// NewestDraining is the version that served last before the live one and has not
// been retired; empty when there is none.
func (s *Store) NewestDraining(ctx context.Context, targetID string) (string, error) {
	return newestDraining(ctx, s.db, targetID)
}

func newestDraining(ctx context.Context, q querier, targetID string) (string, error) {
	return oneID(q.QueryRow(ctx, `SELECT version_id FROM versions WHERE target_id = ? AND state = ? AND switched > 0 ORDER BY switched DESC LIMIT 1`,
		targetID, Draining))
}

// Cooled lists the versions of a target whose warmth has been ended, and that nobody has
// heard of yet.
func (s *Store) Cooled(ctx context.Context, targetID string) ([]string, error) {
	rows, err := s.db.Query(ctx, `SELECT version_id FROM versions WHERE target_id = ? AND state = ? AND warm_until = ? ORDER BY number`, targetID, Draining, cooled)
	return collect(rows, err, "cooled versions", func(row scanner) (string, error) {
		var id string
		err := row.Scan(&id)
		return id, err
	})
}

// Warm says how long a draining version stays up. When that is over it is written down.
func (s *Store) Warm(ctx context.Context, versionID string, now time.Time) (time.Duration, error) {
	v, err := s.Version(ctx, versionID)
	if fault.NotFound.Is(err) || err == nil && (v.State != Draining || v.WarmUntil.IsZero()) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	if left := v.WarmUntil.Sub(now); left > 0 {
		return left, nil
	}
	_, err = s.db.Exec(ctx, `UPDATE versions SET warm_until = 0 WHERE version_id = ? AND warm_until = ?`, versionID, toMillis(v.WarmUntil))
	if err != nil {
		return 0, fmt.Errorf("end warmth of version %s: %w", versionID, err)
	}
	return 0, nil
}

// Park lets the pending version wait to be promoted, in tx, and why; a rollout of another
// one ends. A second time it changes nothing and says so.
func (s *Store) Park(ctx context.Context, tx *sqldb.Tx, targetID, versionID, why string, now time.Time) (again bool, err error) {
	v, err := findVersion(ctx, tx, versionID)
	if err == nil && v.State == Ready {
		return true, nil
	}
	if again, err := awaited(ctx, tx, targetID, versionID); again || err != nil {
		return again, err
	}
	_, err = tx.Exec(ctx, `UPDATE versions SET state = ?, held = ? WHERE version_id = ?`, Ready, why, versionID)
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE targets SET pending_version = '', updated_at = ? WHERE target_id = ?`, now.UnixMilli(), targetID)
	}
	if err != nil {
		return false, fmt.Errorf("park version %s: %w", versionID, err)
	}
	_, err = tx.Exec(ctx, `UPDATE versions SET state = ?, held = '', warm_until = ?, ended_at = ? WHERE target_id = ? AND state = ? AND number < ?`,
		Draining, cooled, now.UnixMilli(), targetID, Ready, v.Number)
	if err != nil {
		return false, fmt.Errorf("end the waiting of versions of %s: %w", targetID, err)
	}
	return false, concludeRollout(ctx, tx, v, now)
}

// Previous is the version that a rollback goes to: the one that was live before the one
// that is. It fails with fault.NotFound.
func (s *Store) Previous(ctx context.Context, targetID string) (string, error) {
	previous, err := oneID(s.db.QueryRow(ctx, `SELECT version_id FROM versions WHERE target_id = ? AND switched > 0 AND state IN (?, ?)
		ORDER BY switched DESC LIMIT 1`, targetID, Draining, Gone))
	if err == nil && previous == "" {
		return "", fault.NotFound.Errorf("no other version of this app was live before, or it is not kept any more")
	}
	return previous, err
}

func oneID(row *sql.Row) (string, error) {
	var id string
	if err := row.Scan(&id); err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("find a version: %w", err)
	}
	return id, nil
}

// BeginPromote makes a version that is over, up or waiting the one its target waits for;
// live when it serves already. replaces names the pending version that is known to be
// over; when another one is pending, it fails with fault.Conflict and returns that one.
func (s *Store) BeginPromote(ctx context.Context, targetID, versionID, replaces string, now time.Time) (live bool, pending string, err error) {
	err = s.Tx(ctx, func(tx *sqldb.Tx) error {
		live, pending, err = beginPromote(ctx, tx, targetID, versionID, replaces, now)
		return err
	})
	return live, pending, err
}

func beginPromote(ctx context.Context, tx *sqldb.Tx, targetID, versionID, replaces string, now time.Time) (live bool, pending string, err error) {
	t, err := findTarget(ctx, tx, targetID)
	if err != nil {
		return false, "", err
	}
	v, err := findVersion(ctx, tx, versionID)
	switch {
	case err != nil:
		return false, "", err
	case v.TargetID != targetID:
		return false, "", fault.NotFound.Errorf("this app has no such version")
	case t.Removing:
		return false, "", fault.Conflict.Errorf("this app is being deleted")
	case t.Live == versionID:
		return true, "", nil
	case v.State == Failed:
		return false, "", fault.Conflict.Errorf("version %d never came up, so it cannot be promoted; deploy again", v.Number)
	case t.Pending != "" && t.Pending != versionID && t.Pending != replaces:
		return false, t.Pending, fault.Conflict.Errorf("another version of this app is being deployed")
	case v.State == Pending:
		return false, "", fault.Conflict.Errorf("version %d is still being deployed; promote it when that has ended", v.Number)
	}
	_, err = tx.Exec(ctx, `UPDATE targets SET pending_version = ?, updated_at = ? WHERE target_id = ?`, versionID, now.UnixMilli(), targetID)
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE versions SET state = ?, warm_until = 0 WHERE version_id = ? AND state = ?`, Draining, versionID, Gone)
	}
	if err != nil {
		return false, "", fmt.Errorf("promote version %s: %w", versionID, err)
	}
	return false, versionID, nil
}

// EndPromote records that a version is not waited for any more; whether it drains now.
func (s *Store) EndPromote(ctx context.Context, targetID, versionID string, now time.Time) (drains bool, err error) {
	_, err = s.db.Exec(ctx, `UPDATE targets SET pending_version = '', updated_at = ? WHERE target_id = ? AND pending_version = ?`,
		now.UnixMilli(), targetID, versionID)
	if err != nil {
		return false, fmt.Errorf("end promotion of %s: %w", versionID, err)
	}
	return s.Unwanted(ctx, versionID)
}
