package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Claim is a value that is kept outside of the histories of a workflow id.
type Claim struct {
	OrgID, WorkflowID string
	// Digest is SHA-256 of the content, hexadecimal.
	Digest string
	// Size in bytes.
	Size int64
	// CheckedAt is when it was last known to be needed.
	CheckedAt time.Time
}

// PutClaim records a value that is about to be put away, or is needed again.
func (s *Store) PutClaim(ctx context.Context, c Claim, now time.Time) error {
	_, err := s.db.Exec(ctx, `INSERT INTO claims (org_id, workflow_id, digest, size, checked_at) VALUES (?, ?, ?, ?, ?)
		ON CONFLICT (org_id, workflow_id, digest) DO UPDATE SET checked_at = excluded.checked_at`,
		c.OrgID, c.WorkflowID, c.Digest, c.Size, toMillis(now))
	if err != nil {
		return fmt.Errorf("record large value: %w", err)
	}
	return nil
}

// ClaimsToCheck lists values that were last known to be needed before then and whose
// runs are not known here any more.
func (s *Store) ClaimsToCheck(ctx context.Context, before time.Time, limit int) ([]Claim, error) {
	rows, err := s.db.Query(ctx, `SELECT org_id, workflow_id, digest, size, checked_at FROM claims WHERE checked_at < ?
		AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.workflow_id = claims.workflow_id AND runs.org_id = claims.org_id)
		ORDER BY checked_at LIMIT ?`, toMillis(before), limit)
	return collect(rows, err, "large values", func(row scanner) (c Claim, err error) {
		var checked int64
		err = row.Scan(&c.OrgID, &c.WorkflowID, &c.Digest, &c.Size, &checked)
		c.CheckedAt = fromMillis(checked)
		return c, err
	})
}

// KeepClaim records that a value is still needed.
func (s *Store) KeepClaim(ctx context.Context, c Claim, now time.Time) error {
	_, err := s.db.Exec(ctx, `UPDATE claims SET checked_at = ? WHERE org_id = ? AND workflow_id = ? AND digest = ?`,
		toMillis(now), c.OrgID, c.WorkflowID, c.Digest)
	return err
}

// DeleteClaim forgets a value, unless it has been needed since, and has the content
// deleted before anybody can put it away again.
func (s *Store) DeleteClaim(ctx context.Context, c Claim, content func() error) error {
	return s.Tx(ctx, func(tx *sqldb.Tx) error {
		gone, err := changed(tx.Exec(ctx, `DELETE FROM claims WHERE org_id = ? AND workflow_id = ? AND digest = ? AND checked_at = ?`,
			c.OrgID, c.WorkflowID, c.Digest, toMillis(c.CheckedAt)))
		if err != nil || !gone {
			return err
		}
		return content()
	})
}
