package server

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"
)

// withSchema opens a new file as the server makes it.
func withSchema(t *testing.T) *sql.DB {
	t.Helper()
	file := filepath.Join(t.TempDir(), "temporal.db")
	if err := makeSchema(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func TestRareAttributesAreFoundByTheirIndexes(t *testing.T) {
	t.Parallel()
	db := withSchema(t)
	indexes, err := indexesOn(t.Context(), db, "executions_visibility")
	if err != nil {
		t.Fatal(err)
	}
	partial := 0
	for _, made := range indexes {
		if strings.Contains(made, " WHERE ") {
			partial++
		}
	}
	if whole := len(indexes) - partial; partial < 50 || whole != 8 {
		t.Errorf("%d indexes leave out who has no value, %d do not; want 50 or more and 8: has the schema changed?", partial, whole)
	}
	for column, value := range map[string]string{
		"Keyword01": "= 'app'", "Int01": "BETWEEN 1 AND 2", "Bool01": "= 1", "TemporalScheduledById": "= 'x'", "TemporalKeyword01": "IN ('a', 'b')",
		"TemporalWorkerDeploymentVersion": "= 'a:b'", "TemporalNamespaceDivision": "= 'TemporalScheduler'",
		"history_length": "> 100", "execution_duration": "< 5", "parent_run_id": "= 'r'",
	} {
		var id, parent, unused int
		var plan string
		query := "EXPLAIN QUERY PLAN SELECT run_id FROM executions_visibility WHERE namespace_id = 'n' AND " + column + " " + value
		if err := db.QueryRowContext(t.Context(), query).Scan(&id, &parent, &unused, &plan); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(plan, "INDEX by_") || !strings.Contains(plan, column) {
			t.Errorf("%s %s: %s; want its own index", column, value, plan)
		}
	}
}
