package store

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Sleeper is one role of a version that should run and has no process, for nobody needs
// one.
type Sleeper struct {
	VersionID, TargetID, OrgID string

	Role  agentenv.Role
	Since time.Time
}

const selectSleeper = `SELECT version_id, target_id, org_id, role, since FROM sleepers`

func scanSleeper(row scanner) (Sleeper, error) {
	var s Sleeper
	var since int64
	err := row.Scan(&s.VersionID, &s.TargetID, &s.OrgID, &s.Role, &since)
	s.Since = fromMillis(since)
	return s, err
}

// PutSleeper records in tx that a role sleeps; false when it did.
func (s *Store) PutSleeper(ctx context.Context, tx *sqldb.Tx, one Sleeper) (bool, error) {
	return changed(tx.Exec(ctx, `INSERT INTO sleepers (version_id, role, target_id, org_id, since) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (version_id, role) DO NOTHING`, one.VersionID, one.Role, one.TargetID, one.OrgID, toMillis(one.Since)))
}

// DeleteSleeper records in tx that a role is awake; false when it was.
func (s *Store) DeleteSleeper(ctx context.Context, tx *sqldb.Tx, versionID string, role agentenv.Role) (bool, error) {
	return changed(tx.Exec(ctx, `DELETE FROM sleepers WHERE version_id = ? AND role = ?`, versionID, role))
}

// Sleepers lists all that sleeps.
func (s *Store) Sleepers(ctx context.Context) ([]Sleeper, error) {
	rows, err := s.db.Query(ctx, selectSleeper+` ORDER BY version_id, role`)
	return collect(rows, err, "sleepers", scanSleeper)
}

// SleepersOf lists what sleeps of a version.
func (s *Store) SleepersOf(ctx context.Context, versionID string) ([]Sleeper, error) {
	rows, err := s.db.Query(ctx, selectSleeper+` WHERE version_id = ? ORDER BY role`, versionID)
	return collect(rows, err, "sleepers", scanSleeper)
}

// Asleep says whether a role of any version of a target sleeps.
func (s *Store) Asleep(ctx context.Context, targetID string, role agentenv.Role) (bool, error) {
	var n int
	if err := s.db.QueryRow(ctx, `SELECT COUNT(*) FROM sleepers WHERE target_id = ? AND role = ?`, targetID, role).Scan(&n); err != nil {
		return false, fmt.Errorf("look for sleepers of %s: %w", targetID, err)
	}
	return n > 0, nil
}

// ForgetSleepers forgets those of versions that should not run any more.
func (s *Store) ForgetSleepers(ctx context.Context) error {
	_, err := s.db.Exec(ctx, `DELETE FROM sleepers WHERE version_id NOT IN (SELECT version_id FROM versions WHERE state = ? OR state = ?)`, Live, Draining)
	if err != nil {
		return fmt.Errorf("forget sleepers: %w", err)
	}
	return nil
}

// OpenRunsOf lists open runs of tools, or of workflow classes, that need a version, the
// oldest first. Runs of which it is not known are among them.
func (s *Store) OpenRunsOf(ctx context.Context, targetID, versionID string, tools bool, limit int) ([]Run, error) {
	is := `<>`
	if tools {
		is = `=`
	}
	tool := agentenv.ToolWorkflow("")
	rows, err := s.db.Query(ctx, selectRun+` WHERE target_id = ? AND closed_at = 0 AND (version_id = ? OR version_id = '')
		AND substr(type, 1, `+strconv.Itoa(len(tool))+`) `+is+` ? ORDER BY started_at LIMIT ?`, targetID, versionID, tool, limit)
	return collect(rows, err, "open runs", scanRun)
}

// Stirrable lists the targets with sleepers that may be needed without anybody saying so:
// their open runs may go on by themselves, or a schedule begins one.
func (s *Store) Stirrable(ctx context.Context) ([]string, error) {
	rows, err := s.db.Query(ctx, `SELECT DISTINCT target_id FROM sleepers WHERE
		EXISTS (SELECT 1 FROM runs WHERE runs.target_id = sleepers.target_id AND closed_at = 0) OR
		EXISTS (SELECT 1 FROM schedules WHERE schedules.target_id = sleepers.target_id AND state <> ?) ORDER BY target_id`, ScheduleDeleting)
	return collect(rows, err, "sleepers to look after", func(row scanner) (string, error) {
		var targetID string
		err := row.Scan(&targetID)
		return targetID, err
	})
}

// WarmBeside lists versions that stay up for a rollback although the server sleeps of the
// one that serves.
func (s *Store) WarmBeside(ctx context.Context, now time.Time, limit int) ([]Version, error) {
	rows, err := s.db.Query(ctx, `SELECT warm.version_id, warm.target_id, warm.org_id FROM sleepers
		JOIN targets ON targets.live_version = sleepers.version_id
		JOIN versions warm ON warm.target_id = targets.target_id AND warm.state = ? AND warm.warm_until > ?
		WHERE sleepers.role = ? AND NOT EXISTS (SELECT 1 FROM sleepers too WHERE too.version_id = warm.version_id AND too.role = sleepers.role)
		ORDER BY warm.version_id LIMIT ?`, Draining, toMillis(now), agentenv.RoleServer, limit)
	return collect(rows, err, "warm versions", func(row scanner) (Version, error) {
		var v Version
		err := row.Scan(&v.ID, &v.TargetID, &v.OrgID)
		return v, err
	})
}
