package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Replays is what past runs would do on a version, looked at before it went live.
type Replays struct {
	At     time.Time         `json:"at"`
	Policy string            `json:"policy"`
	Runs   []agentenv.Replay `json:"runs"`
	// Unanswered is how many more were not done in time.
	Unanswered int `json:"unanswered,omitempty"`
}

// Broken is how many of the runs would go another way.
func (r Replays) Broken() int {
	broken := 0
	for _, one := range r.Runs {
		if one.Verdict == agentenv.VerdictDifferent {
			broken++
		}
	}
	return broken
}

// SetReplays records in tx what past runs would do on a version.
func (s *Store) SetReplays(ctx context.Context, tx *sqldb.Tx, versionID string, r Replays) error {
	if _, err := tx.Exec(ctx, `UPDATE versions SET replays = ? WHERE version_id = ?`, toJSON(r), versionID); err != nil {
		return fmt.Errorf("record replays of version %s: %w", versionID, err)
	}
	return nil
}

// Replays tells what was recorded; At is zero when nothing was.
func (s *Store) Replays(ctx context.Context, versionID string) (Replays, error) {
	var r Replays
	var text string
	err := s.db.QueryRow(ctx, `SELECT replays FROM versions WHERE version_id = ?`, versionID).Scan(&text)
	if errors.Is(err, sql.ErrNoRows) {
		return r, fault.NotFound.Wrap(err, "no such version: %s", versionID)
	}
	if err != nil || text == "" {
		return r, err
	}
	return r, fromJSON(text, &r)
}

// VersionNamed finds a version of a target by its id, or by its number ("3" or "v3").
// It fails with fault.NotFound, also for a version of another target.
func (s *Store) VersionNamed(ctx context.Context, targetID, name string) (Version, error) {
	var v Version
	number, err := strconv.ParseInt(strings.TrimPrefix(name, "v"), 10, 64)
	if err == nil {
		v, err = scanVersion(s.db.QueryRow(ctx, selectVersion+` WHERE target_id = ? AND number = ?`, targetID, number))
	} else {
		v, err = scanVersion(s.db.QueryRow(ctx, selectVersion+` WHERE target_id = ? AND version_id = ?`, targetID, name))
	}
	if errors.Is(err, sql.ErrNoRows) {
		return Version{}, fault.NotFound.Wrap(err, "this app has no version %s", name)
	}
	if err != nil {
		return Version{}, fmt.Errorf("find version %s of %s: %w", name, targetID, err)
	}
	return v, nil
}

// GiveRun makes a run a user's, in tx, whoever's it was.
func (s *Store) GiveRun(ctx context.Context, tx *sqldb.Tx, runID, userID, versionID string) error {
	_, err := tx.Exec(ctx, `UPDATE runs SET user_id = ?, version_id = ?, session_id = '', progress_token = '' WHERE run_id = ?`, userID, versionID, runID)
	if err != nil {
		return fmt.Errorf("give run %s to its maker: %w", runID, err)
	}
	return nil
}

// Revive makes a version that is over one that runs may need again; a retirement ends
// it anew. It changes nothing of a version that runs.
func (s *Store) Revive(ctx context.Context, versionID string) error {
	if _, err := s.db.Exec(ctx, `UPDATE versions SET state = ? WHERE version_id = ? AND state = ?`, Draining, versionID, Gone); err != nil {
		return fmt.Errorf("revive version %s: %w", versionID, err)
	}
	return nil
}
