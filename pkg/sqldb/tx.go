package sqldb

import (
	"context"
	"database/sql"
	"database/sql/driver"
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
	after   []func()
}

// Tx runs f in a transaction and commits when f returns nil. A transaction that
// collides with another (a serialization failure, a busy file) is run again, at
// most ten times in all, so f must not have effects of its own.
func (db *DB) Tx(ctx context.Context, f func(*Tx) error) error {
	return db.repeat(ctx, func() error { return db.once(ctx, f) })
}

// TxAhead is Tx without waiting for the disk: its commit is there after a crash of the
// process, but until the next one of Tx a loss of power may take it back. It is for what
// is known from elsewhere, too, and is no safer there. On Postgres it is Tx.
func (db *DB) TxAhead(ctx context.Context, f func(*Tx) error) error {
	if !db.dialect.fileSync {
		return db.Tx(ctx, f)
	}
	return db.repeat(ctx, func() error { return db.ahead(ctx, f) })
}

func (db *DB) repeat(ctx context.Context, once func() error) error {
	wait := firstWait
	for attempt := 1; ; attempt++ {
		err := once()
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

// beginner is a database, or one connection to it.
type beginner interface {
	BeginTx(ctx context.Context, opts *sql.TxOptions) (*sql.Tx, error)
}

func (db *DB) once(ctx context.Context, f func(*Tx) error) error {
	tx := &Tx{dialect: db.dialect, writes: db.writes}
	defer tx.learn(ctx)
	return db.commit(ctx, db.write, tx, f)
}

// ahead is once on a connection that does not wait for the disk meanwhile
// (https://sqlite.org/pragma.html#pragma_synchronous).
func (db *DB) ahead(ctx context.Context, f func(*Tx) error) error {
	tx := &Tx{dialect: db.dialect, writes: db.writes}
	defer tx.learn(ctx)
	conn, err := db.write.Conn(ctx)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer conn.Close() //nolint:errcheck // goes back to the pool
	defer func() {
		if _, bad := conn.ExecContext(context.WithoutCancel(ctx), "PRAGMA synchronous = FULL"); bad != nil {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // the next one is new
		}
	}()
	if _, err := conn.ExecContext(ctx, "PRAGMA synchronous = NORMAL"); err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	return db.commit(ctx, conn, tx, f)
}

func (db *DB) commit(ctx context.Context, on beginner, tx *Tx, f func(*Tx) error) error {
	inner, err := on.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("begin transaction: %w", err)
	}
	defer inner.Rollback() //nolint:errcheck // does nothing after a commit
	tx.tx = inner
	if err := f(tx); err != nil {
		return err
	}
	if err := inner.Commit(); err != nil {
		return fmt.Errorf("commit: %w", err)
	}
	db.log.grew()
	if tx.signal {
		db.poke()
	}
	for _, f := range tx.after {
		f()
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

// AfterCommit runs f when the transaction has committed, before whoever made it goes on.
func (t *Tx) AfterCommit(f func()) { t.after = append(t.after, f) }

// SignalCommit asks for a signal on DB.Commits when the transaction has committed.
func (t *Tx) SignalCommit() { t.signal = true }
