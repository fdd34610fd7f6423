package sqldb_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
)

var migrations = fstest.MapFS{
	"sqlite/00001_t.sql":   {Data: []byte("-- +goose Up\nCREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT NOT NULL);\n")},
	"postgres/00001_t.sql": {Data: []byte("-- +goose Up\nCREATE TABLE t (k TEXT PRIMARY KEY, n BIGINT NOT NULL);\n")},
}

func TestBothDatabases(t *testing.T) {
	t.Parallel()
	dbtest.Run(t, migrations, func(t *testing.T, db *sqldb.DB) {
		t.Run("a committed row is read", func(t *testing.T) { committedRowIsRead(t, db) })
		t.Run("a failed transaction leaves nothing", func(t *testing.T) { failedLeavesNothing(t, db) })
		t.Run("a duplicate key is told", func(t *testing.T) { duplicateIsTold(t, db) })
		t.Run("concurrent increments all count", func(t *testing.T) { incrementsCount(t, db) })
		t.Run("statements are run again, many at once", func(t *testing.T) { statementsAgain(t, db) })
		t.Run("transactions run statements again", func(t *testing.T) { transactionsAgain(t, db) })
		t.Run("a transaction ahead of the disk", func(t *testing.T) { aheadOfTheDisk(t, db) })
		t.Run("more statements than are kept", func(t *testing.T) { manyStatements(t, db) })
		t.Run("a signal follows a commit", func(t *testing.T) { signalFollows(t, db) })
	})
}

func committedRowIsRead(t *testing.T, db *sqldb.DB) {
	if _, err := db.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?)`, "what?", 1); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT n FROM t WHERE k = 'what?' AND n = ?`, 1).Scan(&n); err != nil || n != 1 {
		t.Fatalf("read %d, %v, want 1", n, err)
	}
}

// statementsAgain reads rows while the same statements are run by others, changes the
// table below them, and asks for what is wrong.
func statementsAgain(t *testing.T, db *sqldb.DB) {
	var all errgroup.Group
	for i := range 8 {
		all.Go(func() error {
			for j := range 50 {
				key := fmt.Sprintf("again %d %d", i, j)
				if _, err := db.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?)`, key, j); err != nil {
					return err
				}
				rows, err := db.Query(t.Context(), `SELECT n FROM t WHERE k LIKE ? ORDER BY n`, fmt.Sprintf("again %d %%", i))
				if err != nil {
					return err
				}
				for want := range j + 1 {
					var n int
					if !rows.Next() || rows.Scan(&n) != nil || n != want {
						return errors.Join(fmt.Errorf("read %d, want %d", n, want), rows.Err(), rows.Close())
					}
				}
				if err := rows.Close(); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := all.Wait(); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Exec(t.Context(), `ALTER TABLE t ADD COLUMN more BIGINT`); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT n FROM t WHERE k = 'what?' AND n = ?`, 1).Scan(&n); err != nil || n != 1 {
		t.Errorf("after a change of the table: %d, %v", n, err)
	}
	if _, err := db.Exec(t.Context(), `INSERT INTO nowhere (k) VALUES (?)`, "x"); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("a wrong statement: %v", err)
	}
}

// transactionsAgain adds in several transactions, one of which is taken back, and sees in
// each what it has changed itself: the first compiles, the others find it done.
func transactionsAgain(t *testing.T, db *sqldb.DB) {
	back, kept := errors.New("back"), 0
	for i, want := range []error{nil, back, nil, nil} {
		err := db.Tx(t.Context(), func(tx *sqldb.Tx) error {
			for n := range 3 {
				_, err := tx.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?) ON CONFLICT (k) DO UPDATE SET n = t.n + excluded.n`, "sum", n)
				if err != nil {
					return err
				}
			}
			var sum int
			if err := tx.QueryRow(t.Context(), `SELECT n FROM t WHERE k = ?`, "sum").Scan(&sum); err != nil {
				return err
			}
			if sum != kept+3 {
				t.Errorf("transaction %d reads %d, want %d", i, sum, kept+3)
			}
			return want
		})
		if !errors.Is(err, want) {
			t.Fatalf("Tx() = %v, want %v", err, want)
		}
		if want == nil {
			kept += 3
		}
	}
}

// aheadOfTheDisk commits, fails, and commits again.
func aheadOfTheDisk(t *testing.T, db *sqldb.DB) {
	for i, want := range []error{nil, errors.New("boom"), nil} {
		err := db.TxAhead(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?)`, fmt.Sprintf("ahead %d", i), 1)
			return errors.Join(err, want)
		})
		if !errors.Is(err, want) {
			t.Errorf("TxAhead() = %v, want %v", err, want)
		}
	}
	var rows int
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM t WHERE k LIKE 'ahead %'`).Scan(&rows); err != nil || rows != 2 {
		t.Errorf("%d rows, %v; want the two that were committed", rows, err)
	}
}

func manyStatements(t *testing.T, db *sqldb.DB) {
	for i := range 300 {
		var n int
		if err := db.QueryRow(t.Context(), fmt.Sprintf(`SELECT n + %d FROM t WHERE k = ?`, i), "what?").Scan(&n); err != nil || n != 1+i {
			t.Fatalf("statement %d: %d, %v", i, n, err)
		}
	}
}

func failedLeavesNothing(t *testing.T, db *sqldb.DB) {
	boom := errors.New("boom")
	err := db.Tx(t.Context(), func(tx *sqldb.Tx) error {
		if _, err := tx.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?)`, "gone", 1); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatalf("Tx() = %v, want boom", err)
	}
	var n int
	if err := db.QueryRow(t.Context(), `SELECT COUNT(*) FROM t WHERE k = ?`, "gone").Scan(&n); err != nil || n != 0 {
		t.Fatalf("%d rows, %v, want none", n, err)
	}
}

func duplicateIsTold(t *testing.T, db *sqldb.DB) {
	insert := func() error {
		_, err := db.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?)`, "twice", 1)
		return err
	}
	if err := insert(); err != nil {
		t.Fatal(err)
	}
	if err := insert(); !sqldb.IsUnique(err) {
		t.Fatalf("second insert = %v, want a duplicate key", err)
	}
}

func incrementsCount(t *testing.T, db *sqldb.DB) {
	if _, err := db.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?)`, "counter", 0); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			err := db.Tx(t.Context(), func(tx *sqldb.Tx) error {
				_, err := tx.Exec(t.Context(), `UPDATE t SET n = n + 1 WHERE k = ?`, "counter")
				return err
			})
			if err != nil {
				t.Errorf("Tx() = %v", err)
			}
		})
	}
	wait.Wait()
	var n int
	if err := db.QueryRow(t.Context(), `SELECT n FROM t WHERE k = ?`, "counter").Scan(&n); err != nil || n != 8 {
		t.Fatalf("counter = %d, %v, want 8", n, err)
	}
}

func signalFollows(t *testing.T, db *sqldb.DB) {
	err := db.Tx(t.Context(), func(tx *sqldb.Tx) error {
		tx.SignalCommit()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case <-db.Commits():
	default:
		t.Fatal("no signal after the commit")
	}
}

// TestOnlyAheadDoesNotWaitForTheDisk asks SQLite, in transactions that end in all ways.
func TestOnlyAheadDoesNotWaitForTheDisk(t *testing.T) {
	t.Parallel()
	const normal, full = 1, 2
	db := dbtest.SQLite(t, migrations)
	ctx, leave := context.WithCancel(t.Context())
	waits := func(want int, end error) func(*sqldb.Tx) error {
		return func(tx *sqldb.Tx) error {
			rows, err := tx.Query(t.Context(), "PRAGMA synchronous")
			if err != nil {
				return err
			}
			got := -1
			if rows.Next() {
				err = rows.Scan(&got)
			}
			if err := errors.Join(err, rows.Close()); err != nil || got != want {
				t.Errorf("synchronous is %d, %v; want %d", got, err, want)
			}
			if errors.Is(end, context.Canceled) {
				leave()
			}
			return end
		}
	}
	for _, end := range []error{nil, errors.New("boom"), context.Canceled} {
		if err := db.TxAhead(ctx, waits(normal, end)); !errors.Is(err, end) {
			t.Errorf("TxAhead() = %v, want %v", err, end)
		}
		if err := db.Tx(t.Context(), waits(full, nil)); err != nil {
			t.Errorf("Tx() = %v", err)
		}
	}
}

func TestOpenSaysWhatAnAddressLooksLike(t *testing.T) {
	t.Parallel()
	if _, err := sqldb.Open(t.Context(), "mysql://user:canary@host/db", nil); err == nil || errorHas(err, "canary") {
		t.Fatalf("Open() = %v, want a refusal without the password", err)
	}
}

func errorHas(err error, part string) bool { return strings.Contains(err.Error(), part) }

func TestTheLogIsBroughtIntoTheFile(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "test.db")
	db, err := sqldb.Open(t.Context(), "sqlite:"+file, migrations)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	size := func() int64 {
		info, err := os.Stat(file)
		if err != nil {
			t.Fatal(err)
		}
		return info.Size()
	}
	value := strings.Repeat("x", 3000)
	for i := range 500 {
		if _, err := db.Exec(t.Context(), `INSERT INTO t (k, n) VALUES (?, ?)`, fmt.Sprint(i, value), i); err != nil {
			t.Fatal(err)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); size() < 1_000_000; time.Sleep(5 * time.Millisecond) { // beside the writer
		if time.Now().After(deadline) {
			t.Fatalf("the file has %d bytes", size())
		}
	}
}
