package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	attempts  = 10
	firstWait = 5 * time.Millisecond
)

// Tx is an open transaction.
type Tx struct {
	tx      *sql.Tx
	dialect dialect
	signal  bool
	writes  *statements
	// unknown are statements to prepare for the next transactions.
	unknown []string
}

// Tx runs f in a transaction and commits when f returns nil. A transaction that
// collides with another (a serialization failure, a busy file) is run again, at
// most ten times in all, so f must not have effects of its own.
func (db *DB) Tx(ctx context.Context, f func(*Tx) error) error {
	wait := firstWait
	for attempt := 1; ; attempt++ {
		err := db.once(ctx, f)
		if err == nil || attempt == attempts || !db.dialect.collides(err) {
			return err
		}
		select {
		case <-ctx.Done():
			return errors.Join(err, ctx.Err())
		case <-time.After(wait/2 + rand.N(wait)): //nolint:gosec // jitter needs no secrecy
		}
		wait *= 2
	}
}

func (db *DB) once(ctx context.Context, f func(*Tx) error) error {
	inner, err := db.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	tx := &Tx{tx: inner, dialect: db.dialect, writes: db.writes}
	defer tx.learn(ctx)
	defer inner.Rollback() //nolint:errcheck // does nothing after a commit
	if err := f(tx); err != nil {
		return err
	}
	if err := inner.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	if tx.signal {
		db.poke()
	}
	return nil
}

func (db *DB) poke() {
	select {
	case db.commits <- struct{}{}:
	default: // a signal is waiting already
	}
}

// learn prepares what the transaction ran for the first time, once it has left the
// connection to others: SQLite has one that writes.
func (t *Tx) learn(ctx context.Context) {
	for _, query := range t.unknown {
		t.writes.of(ctx, query) //nolint:sqlclosecheck // kept as long as the database
	}
}

// known finds a statement that is prepared already; nil where it is to be run as it is.
func (t *Tx) known(ctx context.Context, query string) *sql.Stmt {
	if t.writes == nil {
		return nil
	}
	kept, full := t.writes.find(query) //nolint:sqlclosecheck // kept as long as the database
	if kept != nil {
		return t.tx.StmtContext(ctx, kept)
	}
	if !full {
		t.unknown = append(t.unknown, query)
	}
	return nil
}

// Exec runs a statement.
func (t *Tx) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if kept := t.known(ctx, query); kept != nil { //nolint:sqlclosecheck // closed with the transaction
		return kept.ExecContext(ctx, args...)
	}
	return t.tx.ExecContext(ctx, t.dialect.rebind(query), args...)
}

// Query reads rows, the transaction's own changes included.
func (t *Tx) Query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return t.tx.QueryContext(ctx, t.dialect.rebind(query), args...)
}

// QueryRow reads one row, the transaction's own changes included.
func (t *Tx) QueryRow(ctx context.Context, query string, args ...any) *sql.Row {
	if kept := t.known(ctx, query); kept != nil { //nolint:sqlclosecheck // closed with the transaction
		return kept.QueryRowContext(ctx, args...)
	}
	return t.tx.QueryRowContext(ctx, t.dialect.rebind(query), args...)
}

// SignalCommit asks for a signal on DB.Commits when the transaction has committed.
func (t *Tx) SignalCommit() { t.signal = true }
