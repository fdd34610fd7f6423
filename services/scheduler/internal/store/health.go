package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// ConditionKey is what makes a condition one of its kind.
type ConditionKey struct{ TargetID, Type, Reason, Subject string }

// Condition is something that is wrong with an app's workflows.
type Condition struct {
	ConditionKey

	OrgID string
	// AppName is read, not written.
	AppName string
	Message string
	// RunIDs are some of the runs that have it, Runs is how many.
	RunIDs []string
	Runs   int

	Since, SeenAt time.Time
	// Settling says that it was not seen at the last look.
	Settling bool
}

const selectCondition = `SELECT c.target_id, c.type, c.reason, c.subject, c.org_id, COALESCE(t.app_name, ''), c.message, c.run_ids, c.runs,
	c.since, c.seen_at, c.settling FROM health_conditions c LEFT JOIN targets t ON t.target_id = c.target_id`

func scanCondition(row scanner) (Condition, error) {
	var c Condition
	var runIDs string
	var since, seen, settling int64
	err := row.Scan(&c.TargetID, &c.Type, &c.Reason, &c.Subject, &c.OrgID, &c.AppName, &c.Message, &runIDs, &c.Runs, &since, &seen, &settling)
	if err != nil {
		return c, err
	}
	c.Since, c.SeenAt, c.Settling = fromMillis(since), fromMillis(seen), settling != 0
	return c, fromJSON(runIDs, &c.RunIDs)
}

// Conditions lists all there are.
func (s *Store) Conditions(ctx context.Context) ([]Condition, error) {
	rows, err := s.db.Query(ctx, selectCondition+` ORDER BY c.target_id, c.type, c.reason, c.subject`)
	return collect(rows, err, "conditions", scanCondition)
}

// ConditionsOfTarget lists those of a target.
func (s *Store) ConditionsOfTarget(ctx context.Context, targetID string, limit int) ([]Condition, error) {
	rows, err := s.db.Query(ctx, selectCondition+` WHERE c.target_id = ? ORDER BY c.type, c.reason, c.subject LIMIT ?`, targetID, limit)
	return collect(rows, err, "conditions", scanCondition)
}

// ConditionsOfOrg lists those of an organisation after a place in their order.
func (s *Store) ConditionsOfOrg(ctx context.Context, orgID string, after ConditionKey, limit int) ([]Condition, error) {
	rows, err := s.db.Query(ctx, selectCondition+` WHERE c.org_id = ? AND (c.target_id, c.type, c.reason, c.subject) > (?, ?, ?, ?)
		ORDER BY c.target_id, c.type, c.reason, c.subject LIMIT ?`, orgID, after.TargetID, after.Type, after.Reason, after.Subject, limit)
	return collect(rows, err, "conditions", scanCondition)
}

// PutCondition writes a condition down in tx, in place of the one with its key. One of a
// target that is not there any more, or is on its way out, is not kept.
func (s *Store) PutCondition(ctx context.Context, tx *sqldb.Tx, c Condition) (bool, error) {
	settling := 0
	if c.Settling {
		settling = 1
	}
	kept, err := changed(tx.Exec(ctx, `INSERT INTO health_conditions (target_id, org_id, type, reason, subject, message, run_ids, runs, since, seen_at, settling)
		SELECT target_id, org_id, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM targets WHERE target_id = ? AND removing = 0
		ON CONFLICT (target_id, type, reason, subject) DO UPDATE SET message = excluded.message, run_ids = excluded.run_ids,
		runs = excluded.runs, since = excluded.since, seen_at = excluded.seen_at, settling = excluded.settling`,
		c.Type, c.Reason, c.Subject, c.Message, toJSON(c.RunIDs), c.Runs, toMillis(c.Since), toMillis(c.SeenAt), settling, c.TargetID))
	if err != nil {
		return false, fmt.Errorf("keep condition: %w", err)
	}
	return kept, nil
}

// DeleteCondition forgets a condition in tx; false when it is not there.
func (s *Store) DeleteCondition(ctx context.Context, tx *sqldb.Tx, k ConditionKey) (bool, error) {
	return changed(tx.Exec(ctx, `DELETE FROM health_conditions WHERE target_id = ? AND type = ? AND reason = ? AND subject = ?`,
		k.TargetID, k.Type, k.Reason, k.Subject))
}
