// Package dbtest runs a test body on each database that the project supports.
package dbtest

import (
	"io/fs"
	"path/filepath"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Run runs body on an empty SQLite file and on an empty schema of a real Postgres.
func Run(t *testing.T, migrations fs.FS, body func(*testing.T, *sqldb.DB)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		body(t, SQLite(t, migrations))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		body(t, Postgres(t, migrations))
	})
}

// SQLite opens an empty file that goes with the test.
func SQLite(t testing.TB, migrations fs.FS) *sqldb.DB {
	t.Helper()
	return open(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"), migrations)
}

func open(t testing.TB, dsn string, migrations fs.FS) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), dsn, migrations)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
