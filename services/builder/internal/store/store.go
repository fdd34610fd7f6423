// Package store is the builder's memory in SQL: which bundles there are, what
// wishes resolved to, what is built. The things themselves are folders on the disk.
package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

//go:embed migrations
var migrations embed.FS

// Migrations are the tables of this room.
func Migrations() fs.FS {
	sub, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the folder is embedded at compile time
	}
	return sub
}

// Bundle is a stored upload.
type Bundle struct {
	ID, OrgID, Owner, Digest string
	Files                    int
	Bytes                    int64
	UsedAt                   time.Time
}

// Store is the tables.
type Store struct{ db *sqldb.DB }

// New returns a Store on db.
func New(db *sqldb.DB) *Store { return &Store{db: db} }

// KeepBundle records b, or finds the one that its owner has with that digest and
// marks it as used now. It returns the id that counts.
func (s *Store) KeepBundle(ctx context.Context, b Bundle) (string, error) {
	var kept string
	err := s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `INSERT INTO bundles (bundle_id, org_id, owner, digest, files, bytes, used_at)
			VALUES (?, ?, ?, ?, ?, ?, ?)
			ON CONFLICT (org_id, owner, digest) DO UPDATE SET used_at = excluded.used_at`,
			b.ID, b.OrgID, b.Owner, b.Digest, b.Files, b.Bytes, b.UsedAt.UnixMilli())
		if err != nil {
			return err
		}
		row := tx.QueryRow(ctx, `SELECT bundle_id FROM bundles WHERE org_id = ? AND owner = ? AND digest = ?`, b.OrgID, b.Owner, b.Digest)
		return row.Scan(&kept)
	})
	if err != nil {
		return "", fmt.Errorf("record bundle: %w", err)
	}
	return kept, nil
}

// FindBundle returns the organisation's bundle, or fault.NotFound.
func (s *Store) FindBundle(ctx context.Context, org, bundleID string) (Bundle, error) {
	row := s.db.QueryRow(ctx, selectBundle+` WHERE org_id = ? AND bundle_id = ?`, org, bundleID)
	b, err := scanBundle(row)
	if errors.Is(err, sql.ErrNoRows) {
		return Bundle{}, fault.NotFound.Wrap(err, "no such bundle; upload it again")
	}
	if err != nil {
		return Bundle{}, fmt.Errorf("find bundle: %w", err)
	}
	return b, nil
}

// TouchBundle marks a bundle as used at the moment.
func (s *Store) TouchBundle(ctx context.Context, bundleID string, now time.Time) error {
	if _, err := s.db.Exec(ctx, `UPDATE bundles SET used_at = ? WHERE bundle_id = ?`, now.UnixMilli(), bundleID); err != nil {
		return fmt.Errorf("mark bundle as used: %w", err)
	}
	return nil
}

// Bundles returns every bundle that was used last before the moment.
func (s *Store) Bundles(ctx context.Context, before time.Time) ([]Bundle, error) {
	rows, err := s.db.Query(ctx, selectBundle+` WHERE used_at < ? ORDER BY used_at`, before.UnixMilli())
	if err != nil {
		return nil, fmt.Errorf("list bundles: %w", err)
	}
	return collect(rows, scanBundle)
}

// RemoveBundle forgets a bundle and its build, unless it was used at or after the
// moment. It says whether it is gone, and whether no other bundle has its content.
func (s *Store) RemoveBundle(ctx context.Context, b Bundle, before time.Time) (gone, last bool, err error) {
	err = s.db.Tx(ctx, func(tx *sqldb.Tx) error {
		res, err := tx.Exec(ctx, `DELETE FROM bundles WHERE bundle_id = ? AND used_at < ?`, b.ID, before.UnixMilli())
		if err != nil {
			return err
		}
		n, err := res.RowsAffected()
		if gone = n == 1; err != nil || !gone {
			return err
		}
		if _, err := tx.Exec(ctx, `DELETE FROM builds WHERE bundle_id = ?`, b.ID); err != nil {
			return err
		}
		var others int
		row := tx.QueryRow(ctx, `SELECT COUNT(*) FROM bundles WHERE org_id = ? AND digest = ?`, b.OrgID, b.Digest)
		err = row.Scan(&others)
		last = others == 0
		return err
	})
	if err != nil {
		return false, false, fmt.Errorf("remove bundle: %w", err)
	}
	return gone, last, nil
}

// HasContent says whether a bundle of the organisation has that digest.
func (s *Store) HasContent(ctx context.Context, org, digest string) (bool, error) {
	var n int
	row := s.db.QueryRow(ctx, `SELECT COUNT(*) FROM bundles WHERE org_id = ? AND digest = ?`, org, digest)
	if err := row.Scan(&n); err != nil {
		return false, fmt.Errorf("look for bundle content: %w", err)
	}
	return n > 0, nil
}

const selectBundle = `SELECT bundle_id, org_id, owner, digest, files, bytes, used_at FROM bundles`

type scanner interface{ Scan(dest ...any) error }

func scanBundle(row scanner) (Bundle, error) {
	var b Bundle
	var used int64
	err := row.Scan(&b.ID, &b.OrgID, &b.Owner, &b.Digest, &b.Files, &b.Bytes, &used)
	b.UsedAt = time.UnixMilli(used)
	return b, err
}

func collect[T any](rows *sql.Rows, scan func(scanner) (T, error)) ([]T, error) {
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read row: %w", err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}
