package store

import (
	"context"
	"time"
)

// Beside is a version that is up beside the live one of its target.
type Beside struct {
	VersionID string
	// Drains says that it serves no more and ends with its open runs; else it is tried.
	Drains bool
}

// UpBeside lists the versions that are tried or drain. One that stays up for a rollback is
// not among them, nor one that is about to become live.
func (s *Store) UpBeside(ctx context.Context, now time.Time) ([]Beside, error) {
	rows, err := s.db.Query(ctx, `SELECT version_id, state FROM versions JOIN targets ON targets.target_id = versions.target_id
		WHERE removing = 0 AND pending_version <> version_id AND (state = ? AND warm_until <= ?
		OR state = ? AND EXISTS (SELECT 1 FROM rollouts WHERE rollouts.version_id = versions.version_id AND rollouts.`+isOpen+`))
		ORDER BY version_id`, Draining, toMillis(now), Ready)
	return collect(rows, err, "versions beside the live one", func(row scanner) (Beside, error) {
		var b Beside
		var state State
		err := row.Scan(&b.VersionID, &state)
		b.Drains = state == Draining
		return b, err
	})
}
