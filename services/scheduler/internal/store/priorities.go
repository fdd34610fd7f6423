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

// PriorityRule is a row of priority_rules.
type PriorityRule struct {
	ID, OrgID string
	// AppID and Caller are whom it is for; empty: all.
	AppID, Caller string
	// Highest priority that may be asked for; 0: not said.
	Highest int32
	// Weight of the caller's share; 0: not said.
	Weight               float64
	CreatedAt, UpdatedAt time.Time
}

const selectPriorityRule = `SELECT rule_id, org_id, app_id, caller, highest, weight, created_at, updated_at FROM priority_rules`

func scanPriorityRule(row scanner) (PriorityRule, error) {
	var r PriorityRule
	var created, updated int64
	err := row.Scan(&r.ID, &r.OrgID, &r.AppID, &r.Caller, &r.Highest, &r.Weight, &created, &updated)
	r.CreatedAt, r.UpdatedAt = fromMillis(created), fromMillis(updated)
	return r, err
}

// PutPriorityRule adds a rule in tx, or gives the one of the same app and caller its numbers;
// then that one keeps its id. It returns the rule as it is now, and how many rules the
// organisation has.
func (s *Store) PutPriorityRule(ctx context.Context, tx *sqldb.Tx, r PriorityRule) (PriorityRule, int, error) {
	var created int64
	err := tx.QueryRow(ctx, `INSERT INTO priority_rules (rule_id, org_id, app_id, caller, highest, weight, created_at, updated_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (org_id, app_id, caller) DO UPDATE SET highest = excluded.highest, weight = excluded.weight, updated_at = excluded.updated_at
		RETURNING rule_id, created_at`,
		r.ID, r.OrgID, r.AppID, r.Caller, r.Highest, r.Weight, toMillis(r.CreatedAt), toMillis(r.UpdatedAt)).Scan(&r.ID, &created)
	if err != nil {
		return r, 0, fmt.Errorf("put priority rule: %w", err)
	}
	r.CreatedAt, r.UpdatedAt = fromMillis(created), fromMillis(toMillis(r.UpdatedAt))
	var n int
	if err := tx.QueryRow(ctx, `SELECT COUNT(*) FROM priority_rules WHERE org_id = ?`, r.OrgID).Scan(&n); err != nil {
		return r, 0, fmt.Errorf("count priority rules: %w", err)
	}
	return r, n, nil
}

// PriorityRules lists an organisation's rules, oldest first; appID, when it is not
// empty, leaves those of one app.
func (s *Store) PriorityRules(ctx context.Context, orgID, appID string) ([]PriorityRule, error) {
	rows, err := s.db.Query(ctx, selectPriorityRule+` WHERE org_id = ? AND (? = '' OR app_id = ?) ORDER BY created_at, rule_id`, orgID, appID, appID)
	return collect(rows, err, "priority rules", scanPriorityRule)
}

// PriorityRulesFor lists the rules that fit a caller of an app, the most specific first.
func (s *Store) PriorityRulesFor(ctx context.Context, orgID, appID, caller string) ([]PriorityRule, error) {
	rows, err := s.db.Query(ctx, selectPriorityRule+` WHERE org_id = ? AND app_id IN ('', ?) AND caller IN ('', ?)
		ORDER BY CASE caller WHEN '' THEN 1 ELSE 0 END, CASE app_id WHEN '' THEN 1 ELSE 0 END`, orgID, appID, caller)
	return collect(rows, err, "priority rules", scanPriorityRule)
}

// DeletePriorityRule removes an organisation's rule in tx; it fails with fault.NotFound.
func (s *Store) DeletePriorityRule(ctx context.Context, tx *sqldb.Tx, orgID, ruleID string) error {
	deleted, err := changed(tx.Exec(ctx, `DELETE FROM priority_rules WHERE org_id = ? AND rule_id = ?`, orgID, ruleID))
	if err == nil && !deleted {
		return fault.NotFound.Errorf("no such rule: %s", ruleID)
	}
	return err
}

// QueueLimits bound the queues of a target; 0 is no bound.
type QueueLimits struct {
	// Rate and ShareRate are tasks a second, of all and of each share.
	Rate, ShareRate float64
	// Workflows, Steps and Tools are how many one version works on at once.
	Workflows, Steps, Tools int32
}

// QueueLimits finds the bounds of a target's queues; set is false when they never were.
func (s *Store) QueueLimits(ctx context.Context, targetID string) (l QueueLimits, set bool, err error) {
	err = s.db.QueryRow(ctx, `SELECT rate, share_rate, workflows, steps, tools FROM queue_limits WHERE target_id = ?`, targetID).
		Scan(&l.Rate, &l.ShareRate, &l.Workflows, &l.Steps, &l.Tools)
	if errors.Is(err, sql.ErrNoRows) {
		return l, false, nil
	}
	if err != nil {
		return l, false, fmt.Errorf("find queue limits of %s: %w", targetID, err)
	}
	return l, true, nil
}

// SetQueueLimits replaces the bounds of a target's queues in tx.
func (s *Store) SetQueueLimits(ctx context.Context, tx *sqldb.Tx, targetID string, l QueueLimits, now time.Time) error {
	_, err := tx.Exec(ctx, `INSERT INTO queue_limits (target_id, rate, share_rate, workflows, steps, tools, updated_at) VALUES (?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (target_id) DO UPDATE SET rate = excluded.rate, share_rate = excluded.share_rate, workflows = excluded.workflows,
			steps = excluded.steps, tools = excluded.tools, updated_at = excluded.updated_at`,
		targetID, l.Rate, l.ShareRate, l.Workflows, l.Steps, l.Tools, toMillis(now))
	if err != nil {
		return fmt.Errorf("set queue limits of %s: %w", targetID, err)
	}
	return nil
}

// TargetsOfOrg lists an organisation's targets by name of the app, from the one after
// a name and an id on.
func (s *Store) TargetsOfOrg(ctx context.Context, orgID, afterName, afterID string, limit int) ([]Target, error) {
	rows, err := s.db.Query(ctx, selectTarget+` WHERE org_id = ? AND removing = 0 AND (app_name > ? OR app_name = ? AND target_id > ?)
		ORDER BY app_name, target_id LIMIT ?`, orgID, afterName, afterName, afterID, limit)
	return collect(rows, err, "targets", scanTarget)
}
