// Package store is the registry's memory: organisations, users, keys, apps,
// configurations, addresses, uploads, versions and limits as rows. It decides nothing.
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
		panic(err) //nolint:forbidigo // the folder is embedded at compile time
	}
	return sub
}

// Store is the room's tables.
type Store struct{ db *sqldb.DB }

// New returns a Store on db.
func New(db *sqldb.DB) *Store { return &Store{db: db} }

// Tx runs f in a transaction; see sqldb.DB.Tx.
func (s *Store) Tx(ctx context.Context, f func(*sqldb.Tx) error) error { return s.db.Tx(ctx, f) }

type scanner interface{ Scan(dest ...any) error }

// one turns a missing row into a fault with its sentence.
func one[T any](row T, err error, missing string) (T, error) {
	if errors.Is(err, sql.ErrNoRows) {
		var none T
		return none, fault.NotFound.Wrap(err, "%s", missing)
	}
	if err != nil {
		return row, fmt.Errorf("read a row: %w", err)
	}
	return row, nil
}

func collect[T any](rows *sql.Rows, err error, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var all []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read a row: %w", err)
		}
		all = append(all, item)
	}
	return all, rows.Err()
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func fromMillis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}
