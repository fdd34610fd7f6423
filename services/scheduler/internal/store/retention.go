package store

import (
	"context"
	"fmt"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// ToolChanges is how the tools of a version differ from those of the one that was live.
type ToolChanges struct {
	// Than is the number of the version that was live.
	Than    int64    `json:"than"`
	Added   []string `json:"added,omitempty"`
	Removed []string `json:"removed,omitempty"`
	Changed []string `json:"changed,omitempty"`
	// Policy is what the project says of the changed ones.
	Policy string `json:"policy"`
}

// SetToolChanges records in tx how a version's tools differ.
func (s *Store) SetToolChanges(ctx context.Context, tx *sqldb.Tx, versionID string, c ToolChanges) error {
	if _, err := tx.Exec(ctx, `UPDATE versions SET tool_changes = ? WHERE version_id = ?`, toJSON(c), versionID); err != nil {
		return fmt.Errorf("record changed tools of version %s: %w", versionID, err)
	}
	return nil
}

// noOpenRuns is true of a version that no run is known to need. Temporal knows better.
const noOpenRuns = `NOT EXISTS (SELECT 1 FROM runs WHERE runs.closed_at = 0 AND runs.version_id = versions.version_id)`

// selectSuperfluous finds versions that are over and older than the newest of their
// target that can be returned to.
const selectSuperfluous = selectVersion + ` WHERE (state = ? OR state = ?) AND (
	SELECT COUNT(*) FROM versions newer
	WHERE newer.target_id = versions.target_id AND newer.number > versions.number AND newer.state <> ?) >= ?
	AND ` + noOpenRuns + ` ORDER BY created_at, version_id LIMIT ?`

// Superfluous lists versions that nothing needs, with keep of each target to return to.
func (s *Store) Superfluous(ctx context.Context, keep, limit int) ([]Version, error) {
	rows, err := s.db.Query(ctx, selectSuperfluous, Gone, Failed, Failed, keep, limit)
	return collect(rows, err, "superfluous versions", scanVersion)
}

// HasOpenRuns says whether a run that is pinned to a version is known to be open.
func (s *Store) HasOpenRuns(ctx context.Context, versionID string) (bool, error) {
	var n int
	err := s.db.QueryRow(ctx, `SELECT COUNT(*) FROM runs WHERE closed_at = 0 AND version_id = ?`, versionID).Scan(&n)
	if err != nil {
		return false, fmt.Errorf("look for open runs of version %s: %w", versionID, err)
	}
	return n > 0, nil
}

// EndVersion makes a version that does not serve one that is over, unless its target
// wants it; then it fails with fault.Conflict.
func (s *Store) EndVersion(ctx context.Context, v Version) error {
	ended, err := changed(s.db.Exec(ctx, `UPDATE versions SET state = ?, held = '', warm_until = 0 WHERE version_id = ? AND state IN (?, ?, ?) AND `+unclaimed,
		Gone, v.ID, Ready, Draining, Gone))
	if err == nil && !ended && v.State != Failed {
		return fault.Conflict.Errorf("version %d is live, or about to be; make another one live first", v.Number)
	}
	return err
}

// unclaimed is true of a version that its target neither runs nor waits for.
const unclaimed = `NOT EXISTS (SELECT 1 FROM targets WHERE targets.target_id = versions.target_id
	AND (targets.pending_version = versions.version_id OR targets.live_version = versions.version_id))`

// DeleteVersion forgets a version that is over, in tx; false when it is not there, or is
// not over any more.
func (s *Store) DeleteVersion(ctx context.Context, tx *sqldb.Tx, versionID string) (bool, error) {
	return changed(tx.Exec(ctx, `DELETE FROM versions WHERE version_id = ? AND state IN (?, ?) AND `+unclaimed, versionID, Gone, Failed))
}
