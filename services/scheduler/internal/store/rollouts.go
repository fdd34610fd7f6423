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

// RolloutState is how far a rollout is.
type RolloutState string

// The states of rollouts; in the first two the version is being tried.
const (
	RolloutRunning    RolloutState = "running"
	RolloutPaused     RolloutState = "paused"
	RolloutPromoted   RolloutState = "promoted"
	RolloutAborted    RolloutState = "aborted"
	RolloutSuperseded RolloutState = "superseded"
)

// Rollout is the trial of a version beside the live one.
type Rollout struct {
	ID, TargetID, OrgID string

	// VersionID is the one that is tried, LiveVersion the one that was live as it began.
	VersionID, LiveVersion string
	Number, LiveNumber     int64

	Plan  *schedulerv1.RolloutPlan
	State RolloutState
	// Step is the one that it is in or was in last, from 1; 0: none has begun.
	Step int
	// Base is what had been seen as the step began, by version.
	Base map[string]Outcomes
	// Due is when the step may end.
	StepAt, Due, PausedAt time.Time
	// PromoteBy is who wants the version promoted now.
	PromoteBy string

	StartedBy, EndedBy, Reason string

	// Result is nil until the rollout is settled.
	Result             *schedulerv1.RolloutResult
	StartedAt, EndedAt time.Time
}

// Open says whether the version is being tried.
func (r Rollout) Open() bool { return r.State == RolloutRunning || r.State == RolloutPaused }

// Weight is the share of the traffic that the version has, thousandths.
func (r Rollout) Weight() int32 {
	if steps := r.Plan.GetSteps(); r.Step > 0 && r.Step <= len(steps) {
		return steps[r.Step-1].GetWeight()
	}
	return 0
}

const selectRollout = `SELECT rollout_id, target_id, org_id, version_id, number, live_version, live_number, plan, state, step, base,
	step_at, due_at, paused_at, promote_by, started_by, ended_by, reason, result, started_at, ended_at FROM rollouts`

// isOpen is true of rollouts whose version is being tried.
const isOpen = `state IN ('running', 'paused')`

func scanRollout(row scanner) (Rollout, error) {
	r := Rollout{Plan: &schedulerv1.RolloutPlan{}}
	var plan, base, result string
	var stepAt, due, paused, started, ended int64
	err := row.Scan(&r.ID, &r.TargetID, &r.OrgID, &r.VersionID, &r.Number, &r.LiveVersion, &r.LiveNumber, &plan, &r.State, &r.Step, &base,
		&stepAt, &due, &paused, &r.PromoteBy, &r.StartedBy, &r.EndedBy, &r.Reason, &result, &started, &ended)
	if err != nil {
		return r, err
	}
	r.StepAt, r.Due, r.PausedAt = fromMillis(stepAt), fromMillis(due), fromMillis(paused)
	r.StartedAt, r.EndedAt = fromMillis(started), fromMillis(ended)
	if result != "" {
		r.Result = &schedulerv1.RolloutResult{}
		err = protojson.Unmarshal([]byte(result), r.Result)
	}
	return r, errors.Join(err, protojson.Unmarshal([]byte(plan), r.Plan), fromJSON(base, &r.Base))
}

// Rollout finds a rollout; it fails with fault.NotFound.
func (s *Store) Rollout(ctx context.Context, rolloutID string) (Rollout, error) {
	return findRollout(s.db.QueryRow(ctx, selectRollout+` WHERE rollout_id = ?`, rolloutID))
}

// LatestRollout finds the newest of a target; it fails with fault.NotFound.
func (s *Store) LatestRollout(ctx context.Context, targetID string) (Rollout, error) {
	return findRollout(s.db.QueryRow(ctx, selectRollout+` WHERE target_id = ? ORDER BY started_at DESC, rollout_id DESC LIMIT 1`, targetID))
}

// RolloutOfVersion finds the newest of a version; it fails with fault.NotFound.
func (s *Store) RolloutOfVersion(ctx context.Context, versionID string) (Rollout, error) {
	return findRollout(s.db.QueryRow(ctx, selectRollout+` WHERE version_id = ? ORDER BY started_at DESC, rollout_id DESC LIMIT 1`, versionID))
}

// OpenRollout finds the one whose version a target tries; it fails with fault.NotFound.
func (s *Store) OpenRollout(ctx context.Context, targetID string) (Rollout, error) {
	return findRollout(s.db.QueryRow(ctx, selectRollout+` WHERE target_id = ? AND `+isOpen, targetID))
}

func findRollout(row *sql.Row) (Rollout, error) {
	r, err := scanRollout(row)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fault.NotFound.Wrap(err, "no such rollout")
	}
	if err != nil {
		return r, fmt.Errorf("find rollout: %w", err)
	}
	return r, nil
}

// RolloutsOf lists those of a target that sort before another one, newest first; before
// "" are all.
func (s *Store) RolloutsOf(ctx context.Context, targetID, before string, limit int) ([]Rollout, error) {
	query, args := selectRollout+` WHERE target_id = ?`, []any{targetID}
	if before != "" {
		query, args = query+` AND rollout_id < ?`, append(args, before)
	}
	// Ids sort by time.
	rows, err := s.db.Query(ctx, query+` ORDER BY rollout_id DESC LIMIT ?`, append(args, limit)...)
	return collect(rows, err, "rollouts", scanRollout)
}

// UnsettledRollouts lists those that a workflow must still bring to their end.
func (s *Store) UnsettledRollouts(ctx context.Context) ([]Rollout, error) {
	rows, err := s.db.Query(ctx, selectRollout+` WHERE result = '' ORDER BY rollout_id`)
	return collect(rows, err, "rollouts", scanRollout)
}

// BeginRollout records in tx that a target tries a version from now on, with Number,
// LiveVersion and LiveNumber filled in; again for one that has begun. It fails with
// fault.Conflict when the version cannot be tried, or not now.
func (s *Store) BeginRollout(ctx context.Context, tx *sqldb.Tx, r Rollout, held string) (_ Rollout, again bool, err error) {
	if old, err := findRollout(tx.QueryRow(ctx, selectRollout+` WHERE rollout_id = ?`, r.ID)); err == nil || !fault.NotFound.Is(err) {
		return old, err == nil, err
	}
	t, v, err := triable(ctx, tx, r.TargetID, r.VersionID)
	if err != nil {
		return r, false, err
	}
	live, err := findVersion(ctx, tx, t.Live)
	if err != nil {
		return r, false, err
	}
	r.Number, r.LiveVersion, r.LiveNumber, r.State = v.Number, live.ID, live.Number, RolloutRunning
	plan, err := protojson.Marshal(r.Plan)
	if err != nil {
		return r, false, fmt.Errorf("encode the plan of a rollout: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO rollouts (rollout_id, target_id, org_id, version_id, number, live_version, live_number, plan, state, started_by, started_at)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
		r.ID, r.TargetID, r.OrgID, r.VersionID, r.Number, r.LiveVersion, r.LiveNumber, string(plan), r.State, r.StartedBy, toMillis(r.StartedAt))
	if err == nil {
		_, err = tx.Exec(ctx, `UPDATE versions SET state = ?, held = ?, warm_until = 0, ended_at = 0 WHERE version_id = ?`, Ready, held, r.VersionID)
	}
	if err != nil {
		return r, false, fmt.Errorf("begin rollout of version %s: %w", r.VersionID, err)
	}
	return r, false, nil
}

// triable fails with fault.Conflict unless a version may be tried beside the live one.
func triable(ctx context.Context, tx *sqldb.Tx, targetID, versionID string) (t Target, v Version, err error) {
	if t, err = findTarget(ctx, tx, targetID); err != nil {
		return t, v, err
	}
	if v, err = findVersion(ctx, tx, versionID); err != nil {
		return t, v, err
	}
	other, err := findRollout(tx.QueryRow(ctx, selectRollout+` WHERE target_id = ? AND `+isOpen, targetID))
	switch {
	case err == nil:
		err = fault.Conflict.Errorf("version %d of this app is being tried; abort or promote that rollout first", other.Number)
	case !fault.NotFound.Is(err):
	case v.TargetID != targetID:
		err = fault.NotFound.Errorf("this app has no such version")
	case t.Removing:
		err = fault.Conflict.Errorf("this app is being deleted")
	case t.Live == versionID:
		err = fault.Conflict.Errorf("version %d is live already", v.Number)
	case t.Live == "":
		err = fault.Conflict.Errorf("no version of this app is live, so there is none to compare version %d with; promote it", v.Number)
	case v.State == Failed:
		err = fault.Conflict.Errorf("version %d never came up, so it cannot be tried; deploy again", v.Number)
	case v.State == Pending || t.Pending != "":
		err = fault.Conflict.Errorf("a deploy of this app is under way; start the rollout when it has ended")
	default:
		err = nil
	}
	return t, v, err
}

// BeginRolloutStep records in tx that a step begins, and what has been seen until then;
// false when it has begun before, or the rollout has ended.
func (s *Store) BeginRolloutStep(ctx context.Context, tx *sqldb.Tx, rolloutID string, step int, now, due time.Time) (bool, error) {
	base, err := outcomes(ctx, tx, rolloutID)
	if err != nil {
		return false, err
	}
	// A step that begins in a pause has all of its time before it.
	return changed(tx.Exec(ctx, `UPDATE rollouts SET step = ?, base = ?, step_at = ?, due_at = ?,
		paused_at = CASE WHEN paused_at > 0 THEN CAST(? AS BIGINT) ELSE 0 END WHERE rollout_id = ? AND step < ? AND `+isOpen,
		step, toJSON(base), toMillis(now), toMillis(due), toMillis(now), rolloutID, step))
}

// PauseRollout records that no step ends by itself; it fails with fault.Conflict when the
// rollout has ended.
func (s *Store) PauseRollout(ctx context.Context, r Rollout, now time.Time) error {
	return steered(s.db.Exec(ctx, `UPDATE rollouts SET state = ?, paused_at = CASE WHEN paused_at = 0 THEN ? ELSE paused_at END
		WHERE rollout_id = ? AND `+isOpen, RolloutPaused, toMillis(now), r.ID))
}

// ResumeRollout records that steps end again; the time of the pause does not count.
func (s *Store) ResumeRollout(ctx context.Context, r Rollout, now time.Time) error {
	return steered(s.db.Exec(ctx, `UPDATE rollouts SET state = ?, due_at = CASE WHEN paused_at > 0 AND due_at > 0 THEN due_at + ? - paused_at ELSE due_at END,
		paused_at = 0 WHERE rollout_id = ? AND `+isOpen, RolloutRunning, toMillis(now), r.ID))
}

// AskToPromote records that somebody wants the version promoted now.
func (s *Store) AskToPromote(ctx context.Context, r Rollout, by string) error {
	return steered(s.db.Exec(ctx, `UPDATE rollouts SET promote_by = ? WHERE rollout_id = ? AND `+isOpen, by, r.ID))
}

func steered(result sql.Result, err error) error {
	open, err := changed(result, err)
	if err == nil && !open {
		err = fault.Conflict.Errorf("this rollout has ended")
	}
	return err
}

// EndRollout records that a version is not tried any more, and why; unless it is live, it
// drains, and has not to be warm. False when the rollout had ended.
func (s *Store) EndRollout(ctx context.Context, rolloutID string, state RolloutState, by, reason string, now time.Time) (ended bool, err error) {
	err = s.Tx(ctx, func(tx *sqldb.Tx) error {
		ended, err = endRollout(ctx, tx, rolloutID, state, by, reason, now)
		return err
	})
	return ended, err
}

func endRollout(ctx context.Context, tx *sqldb.Tx, rolloutID string, state RolloutState, by, reason string, now time.Time) (bool, error) {
	ended, err := changed(tx.Exec(ctx, `UPDATE rollouts SET state = ?, ended_by = ?, reason = ?, ended_at = ? WHERE rollout_id = ? AND `+isOpen,
		state, by, reason, toMillis(now), rolloutID))
	if err != nil || !ended || state == RolloutPromoted {
		return ended, err
	}
	_, err = tx.Exec(ctx, `UPDATE versions SET state = ?, held = '', warm_until = ?, ended_at = ? WHERE state = ?
		AND version_id = (SELECT version_id FROM rollouts WHERE rollout_id = ?)`, Draining, cooled, toMillis(now), Ready, rolloutID)
	if err != nil {
		return false, fmt.Errorf("end the trial of a version: %w", err)
	}
	return true, nil
}

// concludeRollout ends a target's rollout, in tx, as a version takes its place or, being
// the one that is tried, is live.
func concludeRollout(ctx context.Context, tx *sqldb.Tx, v Version, now time.Time) error {
	r, err := findRollout(tx.QueryRow(ctx, selectRollout+` WHERE target_id = ? AND `+isOpen, v.TargetID))
	if fault.NotFound.Is(err) {
		return nil
	}
	if err != nil {
		return err
	}
	state, by, reason := RolloutSuperseded, "", fmt.Sprintf("version %d came meanwhile", v.Number)
	if r.VersionID == v.ID {
		state, by, reason = RolloutPromoted, r.PromoteBy, "all steps were passed"
		if r.Step < len(r.Plan.GetSteps()) || by != "" {
			reason = fmt.Sprintf("it was promoted in step %d of %d", r.Step, len(r.Plan.GetSteps()))
		}
	}
	_, err = endRollout(ctx, tx, r.ID, state, by, reason, now)
	return err
}

// TellRollout records in tx that the end of a rollout is on the bus; false when it was.
func (s *Store) TellRollout(ctx context.Context, tx *sqldb.Tx, rolloutID string) (bool, error) {
	return changed(tx.Exec(ctx, `UPDATE rollouts SET told = 1 WHERE rollout_id = ? AND told = 0 AND NOT `+isOpen, rolloutID))
}

// SettleRollout records in tx the result of a rollout that has ended, of which nothing else
// is kept; false when it was.
func (s *Store) SettleRollout(ctx context.Context, tx *sqldb.Tx, rolloutID string, result *schedulerv1.RolloutResult) (bool, error) {
	text, err := protojson.Marshal(result)
	if err != nil {
		return false, fmt.Errorf("encode the result of a rollout: %w", err)
	}
	settled, err := changed(tx.Exec(ctx, `UPDATE rollouts SET result = ? WHERE rollout_id = ? AND result = '' AND NOT `+isOpen, string(text), rolloutID))
	if err != nil || !settled {
		return settled, err
	}
	return true, forgetOutcomes(ctx, tx, `= ?`, rolloutID)
}
