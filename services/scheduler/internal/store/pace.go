package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"
)

// Kind is a workflow of a target, by Temporal's type.
type Kind struct{ TargetID, OrgID, Type string }

// NextKinds lists the kinds of runs that are known, in a fixed order, after a place in
// it. It reads one row of each kind, however many runs there are.
func (s *Store) NextKinds(ctx context.Context, after Kind, limit int) ([]Kind, error) {
	var kinds []Kind
	for len(kinds) < limit {
		err := s.db.QueryRow(ctx, `SELECT target_id, org_id, type FROM runs WHERE (target_id, type) > (?, ?) ORDER BY target_id, type LIMIT 1`,
			after.TargetID, after.Type).Scan(&after.TargetID, &after.OrgID, &after.Type)
		if errors.Is(err, sql.ErrNoRows) {
			return kinds, nil
		}
		if err != nil {
			return nil, fmt.Errorf("list kinds of runs: %w", err)
		}
		kinds = append(kinds, after)
	}
	return kinds, nil
}

// LastClosed lists the runs of a kind that ended last, the newest first.
func (s *Store) LastClosed(ctx context.Context, k Kind, limit int) ([]Run, error) {
	rows, err := s.db.Query(ctx, selectRun+` WHERE target_id = ? AND type = ? AND closed_at > 0 ORDER BY closed_at DESC LIMIT ?`,
		k.TargetID, k.Type, limit)
	return collect(rows, err, "closed runs", scanRun)
}

// OldestOpen lists the open runs of a kind that began before then and do not wait for a
// person, the oldest first.
func (s *Store) OldestOpen(ctx context.Context, k Kind, then time.Time, limit int) ([]Run, error) {
	rows, err := s.db.Query(ctx, selectRun+` WHERE target_id = ? AND type = ? AND closed_at = 0 AND started_at < ?
		AND NOT EXISTS (SELECT 1 FROM questions WHERE questions.run_id = runs.run_id AND `+inState[StateOpen]+`)
		ORDER BY started_at LIMIT ?`, k.TargetID, k.Type, toMillis(then), limit)
	return collect(rows, err, "open runs", scanRun)
}

// Wait is a time in which a run waited for a person.
type Wait struct {
	RunID string
	// Until is zero while it waits.
	From, Until time.Time
}

// Waits lists when runs waited for people, each run's in order.
func (s *Store) Waits(ctx context.Context, runIDs []string) ([]Wait, error) {
	if len(runIDs) == 0 {
		return nil, nil
	}
	args := make([]any, len(runIDs))
	for i, id := range runIDs {
		args[i] = id
	}
	rows, err := s.db.Query(ctx, `SELECT run_id, asked_at, CASE WHEN `+inState[StateOpen]+` THEN 0 ELSE changed_at END FROM questions
		WHERE run_id IN (?`+strings.Repeat(", ?", len(runIDs)-1)+`) ORDER BY run_id, asked_at`, args...)
	return collect(rows, err, "waits for people", func(row scanner) (Wait, error) {
		var w Wait
		var from, until int64
		err := row.Scan(&w.RunID, &from, &until)
		w.From, w.Until = fromMillis(from), fromMillis(until)
		return w, err
	})
}
