// Package store is the memory of the scheduler: which version of a target should
// run, what its health gate recorded, which runs and questions belong to it.
//
// It holds no secret: settings and values are fetched anew for every launch, and
// of tokens only hashes are kept.
package store

import (
	"context"
	"database/sql"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/memo"
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

// Store keeps the scheduler's rows.
type Store struct {
	db *sqldb.DB
	// targets are those that RecentTarget was asked for.
	targets *memo.Memo[Target]
}

// New returns a Store on db.
func New(db *sqldb.DB) *Store {
	return &Store{db: db, targets: memo.New[Target](mostTargets, targetFresh, time.Now)}
}

// Tx runs f in a transaction; f may run again when the database asks for it.
func (s *Store) Tx(ctx context.Context, f func(*sqldb.Tx) error) error { return s.db.Tx(ctx, f) }

// TxAhead is Tx for what Temporal knows, too, and does not keep safer: it does not wait
// for the disk.
func (s *Store) TxAhead(ctx context.Context, f func(*sqldb.Tx) error) error {
	return s.db.TxAhead(ctx, f)
}

// querier is a database or a transaction in it.
type querier interface {
	Exec(ctx context.Context, query string, args ...any) (sql.Result, error)
	Query(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRow(ctx context.Context, query string, args ...any) *sql.Row
}

type scanner interface{ Scan(dest ...any) error }

// collect reads every row with scan.
func collect[T any](rows *sql.Rows, err error, what string, scan func(scanner) (T, error)) ([]T, error) {
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", what, err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var all []T
	for rows.Next() {
		one, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", what, err)
		}
		all = append(all, one)
	}
	return all, rows.Err()
}

// changed says whether a statement touched a row.
func changed(result sql.Result, err error) (bool, error) {
	n, err := affected(result, err)
	return n > 0, err
}

// affected is how many rows a statement touched.
func affected(result sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, fmt.Errorf("change a row: %w", err)
	}
	n, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("change a row: %w", err)
	}
	return n, nil
}

func toMillis(t time.Time) int64 {
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

// toJSON encodes plain data, which always encodes.
func toJSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("encode %T: %v", v, err))
	}
	return string(text)
}

func fromJSON(text string, v any) error {
	if text == "" {
		return nil
	}
	return json.Unmarshal([]byte(text), v)
}
