package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Limit is a row of limits.
type Limit struct {
	ID, OrgID            string
	AppID, Caller, Tool  string
	CallsPerSecond       float64
	Burst, Concurrent    int32
	CreatedAt, UpdatedAt time.Time
}

const selectLimit = `SELECT limit_id, org_id, app_id, caller, tool, calls_per_second, burst, concurrent, created_at, updated_at FROM limits`

func scanLimit(row scanner) (Limit, error) {
	var l Limit
	var created, updated int64
	err := row.Scan(&l.ID, &l.OrgID, &l.AppID, &l.Caller, &l.Tool, &l.CallsPerSecond, &l.Burst, &l.Concurrent, &created, &updated)
	l.CreatedAt, l.UpdatedAt = fromMillis(created), fromMillis(updated)
	return l, err
}

// PutLimit adds a limit, or gives the one of the same app, caller and tool its numbers;
// then that one keeps its id. It returns the limit as it is now.
func (s *Store) PutLimit(ctx context.Context, tx *sqldb.Tx, l Limit) (Limit, error) {
	var created int64
	err := tx.QueryRow(ctx, `INSERT INTO limits (limit_id, org_id, app_id, caller, tool, calls_per_second, burst, concurrent, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (org_id, app_id, caller, tool) DO UPDATE SET calls_per_second = excluded.calls_per_second,
			burst = excluded.burst, concurrent = excluded.concurrent, updated_at = excluded.updated_at
		RETURNING limit_id, created_at`,
		l.ID, l.OrgID, l.AppID, l.Caller, l.Tool, l.CallsPerSecond, l.Burst, l.Concurrent, millis(l.CreatedAt), millis(l.UpdatedAt)).Scan(&l.ID, &created)
	if err != nil {
		return l, fmt.Errorf("put limit: %w", err)
	}
	l.CreatedAt, l.UpdatedAt = fromMillis(created), fromMillis(millis(l.UpdatedAt))
	return l, nil
}

// CountLimits is how many limits an organisation has.
func (s *Store) CountLimits(ctx context.Context, tx *sqldb.Tx, orgID string) (int, error) {
	var n int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM limits WHERE org_id = ?`, orgID).Scan(&n); err != nil {
		return 0, fmt.Errorf("count limits: %w", err)
	}
	return n, nil
}

// FindLimit finds a limit of the organisation.
func (s *Store) FindLimit(ctx context.Context, orgID, limitID string) (Limit, error) {
	l, err := scanLimit(s.db.QueryRow(ctx, selectLimit+` WHERE org_id = ? AND limit_id = ?`, orgID, limitID))
	return one(l, err, "no such limit")
}

// ListLimits lists an organisation's limits, oldest first; appID, when it is not
// empty, leaves those of one app.
func (s *Store) ListLimits(ctx context.Context, orgID, appID string) ([]Limit, error) {
	rows, err := s.db.Query(ctx, selectLimit+` WHERE org_id = ? AND (? = '' OR app_id = ?) ORDER BY created_at, limit_id`, orgID, appID, appID)
	return collect(rows, err, scanLimit)
}

// AllLimits lists the limits of all organisations.
func (s *Store) AllLimits(ctx context.Context) ([]Limit, error) {
	rows, err := s.db.Query(ctx, selectLimit)
	return collect(rows, err, scanLimit)
}

// DeleteLimit removes a limit.
func (s *Store) DeleteLimit(ctx context.Context, tx *sqldb.Tx, limitID string) error {
	if _, err := tx.Exec(ctx, `DELETE FROM limits WHERE limit_id = ?`, limitID); err != nil {
		return fmt.Errorf("delete limit: %w", err)
	}
	return nil
}
