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

// Run is what is remembered of a run beside what Temporal knows: where it belongs
// and who started it.
type Run struct {
	RunID, WorkflowID, TargetID, OrgID, VersionID string
	// Type is Temporal's workflow type.
	Type string
	// SessionID, UserID and ProgressToken lead questions and progress back.
	SessionID, UserID, ProgressToken string

	ParentWorkflowID, ParentRunID string
	StartedAt, ClosedAt           time.Time
	Outcome                       string
}

const selectRun = `SELECT run_id, workflow_id, target_id, org_id, version_id, type, session_id, user_id, progress_token,
	parent_workflow_id, parent_run_id, started_at, closed_at, outcome FROM runs`

func scanRun(row scanner) (Run, error) {
	var r Run
	var started, closed int64
	err := row.Scan(&r.RunID, &r.WorkflowID, &r.TargetID, &r.OrgID, &r.VersionID, &r.Type, &r.SessionID, &r.UserID, &r.ProgressToken,
		&r.ParentWorkflowID, &r.ParentRunID, &started, &closed, &r.Outcome)
	r.StartedAt, r.ClosedAt = fromMillis(started), fromMillis(closed)
	return r, err
}

// InsertRun records a run in tx; false when it is known already. A child that says
// nothing of session and user has those of its parent.
func (s *Store) InsertRun(ctx context.Context, tx *sqldb.Tx, r Run) (bool, error) {
	if r.SessionID == "" && r.UserID == "" && r.ParentRunID != "" {
		parent, err := findRun(ctx, tx, r.ParentRunID)
		if err != nil && !fault.NotFound.Is(err) {
			return false, err
		}
		r.SessionID, r.UserID, r.ProgressToken = parent.SessionID, parent.UserID, parent.ProgressToken
	}
	inserted, err := changed(tx.Exec(ctx, `INSERT INTO runs (run_id, workflow_id, target_id, org_id, version_id, type, session_id, user_id,
		progress_token, parent_workflow_id, parent_run_id, started_at, checked_at, closed_at, outcome)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, '') ON CONFLICT (run_id) DO NOTHING`,
		r.RunID, r.WorkflowID, r.TargetID, r.OrgID, r.VersionID, r.Type, r.SessionID, r.UserID,
		r.ProgressToken, r.ParentWorkflowID, r.ParentRunID, toMillis(r.StartedAt), toMillis(r.StartedAt)))
	if err != nil {
		return false, fmt.Errorf("insert run %s: %w", r.RunID, err)
	}
	return inserted, nil
}

// DescribeRun fills in who started a run, for one that the edge saw before its starter
// could record it.
func (s *Store) DescribeRun(ctx context.Context, tx *sqldb.Tx, r Run) error {
	_, err := tx.Exec(ctx, `UPDATE runs SET session_id = ?, user_id = ?, progress_token = ? WHERE run_id = ? AND session_id = '' AND user_id = ''`,
		r.SessionID, r.UserID, r.ProgressToken, r.RunID)
	if err != nil {
		return fmt.Errorf("describe run %s: %w", r.RunID, err)
	}
	return nil
}

// CloseRun records in tx that a run ended; false when that was known or the run is not.
func (s *Store) CloseRun(ctx context.Context, tx *sqldb.Tx, runID, outcome string, at time.Time) (bool, error) {
	return changed(tx.Exec(ctx, `UPDATE runs SET closed_at = ?, outcome = ? WHERE run_id = ? AND closed_at = 0`, toMillis(at), outcome, runID))
}

// Run finds a run by its run id; it fails with fault.NotFound.
func (s *Store) Run(ctx context.Context, runID string) (Run, error) { return findRun(ctx, s.db, runID) }

func findRun(ctx context.Context, q querier, runID string) (Run, error) {
	r, err := scanRun(q.QueryRow(ctx, selectRun+` WHERE run_id = ?`, runID))
	if errors.Is(err, sql.ErrNoRows) {
		return Run{}, fault.NotFound.Wrap(err, "no such run: %s", runID)
	}
	if err != nil {
		return Run{}, fmt.Errorf("find run %s: %w", runID, err)
	}
	return r, nil
}

// RunsToCheck lists open runs that nobody has looked at since before, and marks
// them as looked at now.
func (s *Store) RunsToCheck(ctx context.Context, before, now time.Time, limit int) ([]Run, error) {
	rows, err := s.db.Query(ctx, selectRun+` WHERE closed_at = 0 AND checked_at < ? ORDER BY checked_at LIMIT ?`, toMillis(before), limit)
	runs, err := collect(rows, err, "runs", scanRun)
	if err != nil || len(runs) == 0 {
		return nil, err
	}
	err = s.TxAhead(ctx, func(tx *sqldb.Tx) error {
		for _, r := range runs {
			if _, err := tx.Exec(ctx, `UPDATE runs SET checked_at = ? WHERE run_id = ?`, toMillis(now), r.RunID); err != nil {
				return fmt.Errorf("mark run as looked at: %w", err)
			}
		}
		return nil
	})
	return runs, err
}

// PruneRuns forgets runs that ended before then, with their questions.
func (s *Store) PruneRuns(ctx context.Context, then time.Time) error {
	return s.Tx(ctx, func(tx *sqldb.Tx) error {
		const old = `SELECT run_id FROM runs WHERE closed_at > 0 AND closed_at < ?`
		if _, err := tx.Exec(ctx, `DELETE FROM questions WHERE run_id IN (`+old+`)`, toMillis(then)); err != nil {
			return fmt.Errorf("prune questions: %w", err)
		}
		if _, err := tx.Exec(ctx, `DELETE FROM runs WHERE closed_at > 0 AND closed_at < ?`, toMillis(then)); err != nil {
			return fmt.Errorf("prune runs: %w", err)
		}
		return nil
	})
}
