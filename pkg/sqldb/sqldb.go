// Package sqldb opens a room's database, SQLite or Postgres, and lets both be used
// with one set of queries: '?' placeholders, bounded retries of transactions that
// collide, migrations by goose.
//
// It is no query builder and no mapper: rooms write their SQL.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"strings"
)

// DB is a room's own database.
type DB struct {
	write   *sql.DB
	read    *sql.DB // the same as write on Postgres
	dialect dialect
	commits chan struct{}
	// writes and reads are prepared on write and read; nil: not.
	writes, reads *statements
	log           *writeAheadLog // nil: the database has none of ours
}

// Open opens the database at dsn and brings its schema up to migrations, which has
// a folder "sqlite" and one "postgres" of goose files.
//
// A dsn is "sqlite:/path/file.db", or a postgres:// URL whose search_path parameter
// names the room's schema, which is made when it is missing.
func Open(ctx context.Context, dsn string, migrations fs.FS) (*DB, error) {
	db, err := connect(ctx, dsn)
	if err != nil {
		return nil, err
	}
	if err := db.migrate(ctx, migrations); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func connect(ctx context.Context, dsn string) (*DB, error) {
	scheme, rest, _ := strings.Cut(dsn, ":")
	switch scheme {
	case "sqlite":
		return openSQLite(rest)
	case "postgres", "postgresql":
		return openPostgres(ctx, dsn)
	}
	return nil, fmt.Errorf("database address %q: use sqlite:/path/file.db or postgres://host/database?search_path=room", scheme+":…")
}

// Close ends all connections.
func (db *DB) Close() error {
	if db.read == db.write {
		return db.write.Close()
	}
	db.log.end()
	return errors.Join(db.read.Close(), db.write.Close())
}

// Exec runs a statement outside of any transaction.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	defer db.log.grew()
	if kept := db.writes.of(ctx, query); kept != nil { //nolint:sqlclosecheck // kept as long as the database
		return kept.ExecContext(ctx, args...)
	}
	return db.write.ExecContext(ctx, db.dialect.rebind(query), args...)
}

// Query reads rows of what is committed.
func (db *DB) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if kept := db.reads.of(ctx, query); kept != nil { //nolint:sqlclosecheck // kept as long as the database
		return kept.QueryContext(ctx, args...)
	}
	return db.read.QueryContext(ctx, db.dialect.rebind(query), args...)
}

// QueryRow reads one row of what is committed.
func (db *DB) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if kept := db.reads.of(ctx, query); kept != nil { //nolint:sqlclosecheck // kept as long as the database
		return kept.QueryRowContext(ctx, args...)
	}
	return db.read.QueryRowContext(ctx, db.dialect.rebind(query), args...)
}

// Commits signals, at most once per reader that is late, that a transaction which
// asked for it has committed.
func (db *DB) Commits() <-chan struct{} { return db.commits }

// IsUnique says whether err is the refusal of a duplicate key.
func IsUnique(err error) bool { return isSQLiteUnique(err) || isPostgresUnique(err) }
