package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Target is an app or configuration and what should run for it.
type Target struct {
	ID, AppID, OrgID, AppName string
	// Live is the version that serves; empty while none ever did.
	Live string
	// Pending is the version that is being deployed; empty when none is.
	Pending string
	// Removing says that the target is on its way out: nothing may start for it.
	Removing bool
}

const selectTarget = `SELECT target_id, app_id, org_id, app_name, live_version, pending_version, removing FROM targets`

func scanTarget(row scanner) (Target, error) {
	var t Target
	var removing int64
	err := row.Scan(&t.ID, &t.AppID, &t.OrgID, &t.AppName, &t.Live, &t.Pending, &removing)
	t.Removing = removing != 0
	return t, err
}

const (
	// targetFresh is how old a target may be that RecentTarget returns.
	targetFresh = 100 * time.Millisecond
	mostTargets = 4096
)

// Target finds a target; it fails with fault.NotFound.
func (s *Store) Target(ctx context.Context, targetID string) (Target, error) {
	return findTarget(ctx, s.db, targetID)
}

func findTarget(ctx context.Context, q querier, targetID string) (Target, error) {
	t, err := scanTarget(q.QueryRow(ctx, selectTarget+` WHERE target_id = ?`, targetID))
	if errors.Is(err, sql.ErrNoRows) {
		return Target{}, fault.NotFound.Wrap(err, "no such app: %s", targetID)
	}
	if err != nil {
		return Target{}, fmt.Errorf("find target %s: %w", targetID, err)
	}
	return t, nil
}

// Targets lists every target.
func (s *Store) Targets(ctx context.Context) ([]Target, error) {
	rows, err := s.db.Query(ctx, selectTarget+` ORDER BY target_id`)
	return collect(rows, err, "targets", scanTarget)
}

// HasTargets says whether an organisation has any.
func (s *Store) HasTargets(ctx context.Context, orgID string) (bool, error) {
	var one int
	err := s.db.QueryRow(ctx, `SELECT 1 FROM targets WHERE org_id = ? LIMIT 1`, orgID).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("look for targets: %w", err)
	}
	return true, nil
}

// TargetsOfApp lists the app itself and its configurations.
func (s *Store) TargetsOfApp(ctx context.Context, appID string) ([]Target, error) {
	rows, err := s.db.Query(ctx, selectTarget+` WHERE app_id = ? ORDER BY target_id`, appID)
	return collect(rows, err, "targets", scanTarget)
}

// Orgs lists the organisations that have targets.
func (s *Store) Orgs(ctx context.Context) ([]string, error) {
	rows, err := s.db.Query(ctx, `SELECT DISTINCT org_id FROM targets ORDER BY org_id`)
	return collect(rows, err, "organisations", func(row scanner) (string, error) {
		var org string
		err := row.Scan(&org)
		return org, err
	})
}

// BeginDeploy makes v the pending version of its target, which it creates when it
// is new. replaces names the pending version that is known to be over; when another
// one is pending, it fails with fault.Conflict and returns that one.
func (s *Store) BeginDeploy(ctx context.Context, v Version, replaces string, now time.Time) (pending string, err error) {
	err = s.Tx(ctx, func(tx *sqldb.Tx) error {
		pending, err = beginDeploy(ctx, tx, v, replaces, now)
		return err
	})
	return pending, err
}

func beginDeploy(ctx context.Context, tx *sqldb.Tx, v Version, replaces string, now time.Time) (string, error) {
	_, err := tx.Exec(ctx, `INSERT INTO targets (target_id, app_id, org_id, app_name, updated_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (target_id) DO NOTHING`, v.TargetID, v.AppID, v.OrgID, v.AppName, now.UnixMilli())
	if err != nil {
		return "", fmt.Errorf("insert target: %w", err)
	}
	t, err := findTarget(ctx, tx, v.TargetID)
	switch {
	case err != nil:
		return "", err
	case t.OrgID != v.OrgID:
		return "", fault.NotFound.Errorf("no such app: %s", v.TargetID)
	case t.Removing:
		return "", fault.Conflict.Errorf("this app is being deleted")
	case t.Pending != "" && t.Pending != v.ID && t.Pending != replaces:
		return t.Pending, fault.Conflict.Errorf("another version of this app is being deployed")
	}
	if err := overtaken(ctx, tx, t, v); err != nil {
		return "", err
	}
	_, err = tx.Exec(ctx, `UPDATE targets SET pending_version = ?, app_name = ?, updated_at = ? WHERE target_id = ?`,
		v.ID, v.AppName, now.UnixMilli(), v.TargetID)
	if err != nil {
		return "", fmt.Errorf("set pending version: %w", err)
	}
	return v.ID, insertVersion(ctx, tx, v, now)
}

// overtaken refuses a version that waited while a newer one of the app went live.
func overtaken(ctx context.Context, tx *sqldb.Tx, t Target, v Version) error {
	if t.Live == "" || t.Live == v.ID || t.ID != t.AppID {
		return nil
	}
	live, err := findVersion(ctx, tx, t.Live)
	if err != nil || live.Number <= v.Number {
		return err
	}
	return fault.Conflict.Errorf("version %d, which is newer than version %d, went live meanwhile; deploy again", live.Number, v.Number)
}

// MarkRemoving says that the target is on its way out; false when it is not there.
func (s *Store) MarkRemoving(ctx context.Context, targetID string) (bool, error) {
	defer s.targets.Forget()
	return changed(s.db.Exec(ctx, `UPDATE targets SET removing = 1 WHERE target_id = ?`, targetID))
}

// DeleteTarget forgets everything of a target.
func (s *Store) DeleteTarget(ctx context.Context, targetID string) error {
	return s.Tx(ctx, func(tx *sqldb.Tx) error {
		tx.AfterCommit(s.targets.Forget)
		_, err := tx.Exec(ctx, `DELETE FROM batch_items WHERE batch_id IN (SELECT batch_id FROM batches WHERE target_id = ?)`, targetID)
		if err != nil {
			return fmt.Errorf("delete batches of %s: %w", targetID, err)
		}
		if err := forgetOutcomes(ctx, tx, `IN (SELECT rollout_id FROM rollouts WHERE target_id = ?)`, targetID); err != nil {
			return err
		}
		for _, table := range []string{"rollouts", "sleepers", "health_conditions", "batches", "schedules", "questions", "runs", "instances", "versions", "queue_limits", "targets"} {
			if _, err := tx.Exec(ctx, `DELETE FROM `+table+` WHERE target_id = ?`, targetID); err != nil {
				return fmt.Errorf("delete %s of %s: %w", table, targetID, err)
			}
		}
		if _, err := tx.Exec(ctx, `DELETE FROM priority_rules WHERE app_id = ?`, targetID); err != nil {
			return fmt.Errorf("delete priority rules of %s: %w", targetID, err)
		}
		return nil
	})
}

// VisibleTarget finds a target as the caller in ctx may see it: rooms see all,
// anybody else those of their own organisation. It fails with fault.NotFound, which
// does not tell a stranger's target from one that is not there.
func (s *Store) VisibleTarget(ctx context.Context, targetID string) (Target, error) {
	t, err := s.Target(ctx, targetID)
	if err != nil {
		return Target{}, err
	}
	return t, t.VisibleTo(principal.From(ctx))
}

// RecentTarget is VisibleTarget of a moment ago, for what is asked often: it knows which
// version is live, and whether the target is being removed, but of what another replica
// changed it may hear 100 ms later.
func (s *Store) RecentTarget(ctx context.Context, targetID string) (Target, error) {
	t, err := s.targets.Get(ctx, targetID, func(ctx context.Context) (Target, error) { return s.Target(ctx, targetID) })
	if err != nil {
		return Target{}, err
	}
	return t, t.VisibleTo(principal.From(ctx))
}

// VisibleTo fails with fault.NotFound for whom VisibleTarget does not find the target.
func (t Target) VisibleTo(p principal.Principal) error {
	if !Sees(p, t.OrgID) || t.Removing {
		return fault.NotFound.Errorf("no such app: %s", t.ID)
	}
	return nil
}

// Sees says whether a caller may see what belongs to an organisation.
func Sees(p principal.Principal, orgID string) bool {
	return p.Kind == principal.Service && p.OrgID == "" || p.OrgID != "" && p.OrgID == orgID
}
