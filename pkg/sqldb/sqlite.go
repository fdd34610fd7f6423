package sqldb

import (
	"database/sql"
	"errors"
	"net/url"
	"runtime"

	"github.com/pressly/goose/v3"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

var sqliteDialect = dialect{name: "sqlite", goose: goose.DialectSQLite3, fileSync: true, isCollide: isBusy}

// openSQLite opens a file with one writer and a pool of readers, which is what
// SQLite's write-ahead log allows. A commit is on disk when it returns, but for TxAhead's.
func openSQLite(path string) (*DB, error) {
	write, err := sql.Open("sqlite", sqliteAddress(path, "immediate"))
	if err != nil {
		return nil, err
	}
	write.SetMaxOpenConns(1)
	read, err := sql.Open("sqlite", sqliteAddress(path, "deferred"))
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read.SetMaxOpenConns(max(4, runtime.GOMAXPROCS(0)))
	return &DB{
		write: write, read: read, dialect: sqliteDialect, commits: make(chan struct{}, 1),
		writes: keepStatements(write), reads: keepStatements(read), log: &writeAheadLog{on: read},
	}, nil
}

func sqliteAddress(path, lock string) string {
	settings := url.Values{"_txlock": {lock}, "_pragma": {
		"busy_timeout(10000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)",
		"wal_autocheckpoint(10000)", // pages; checkpoints come before
	}}
	return "file:" + (&url.URL{Path: path}).EscapedPath() + "?" + settings.Encode()
}

func sqliteCode(err error) int {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return 0
	}
	return e.Code()
}

func isBusy(err error) bool {
	primary := sqliteCode(err) & 0xff // the low byte; the rest says more about it
	return primary == sqlite3.SQLITE_BUSY || primary == sqlite3.SQLITE_LOCKED
}

func isSQLiteUnique(err error) bool {
	code := sqliteCode(err)
	return code == sqlite3.SQLITE_CONSTRAINT_UNIQUE || code == sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY
}
