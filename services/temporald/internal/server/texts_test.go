package server

import "testing"

// TestWordsAreFoundAsRunsChange writes runs as the server does, with and without labels.
func TestWordsAreFoundAsRunsChange(t *testing.T) {
	t.Parallel()
	db := withSchema(t)
	count := func(query string, args ...any) (n int) {
		t.Helper()
		if err := db.QueryRowContext(t.Context(), query, args...).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	put := func(attributes any) {
		t.Helper()
		_, err := db.ExecContext(t.Context(), `INSERT INTO executions_visibility
			(namespace_id, run_id, start_time, execution_time, workflow_id, workflow_type_name, status, encoding, search_attributes)
			VALUES ('n', 'r', '2026-01-01', '2026-01-01', 'w', 'T', 1, 'Proto3', ?)
			ON CONFLICT (namespace_id, run_id) DO UPDATE SET search_attributes = excluded.search_attributes, status = status + 1`, attributes)
		if err != nil {
			t.Fatal(err)
		}
	}
	const (
		labels = `SELECT count(*) FROM executions_visibility WHERE rowid IN (SELECT rowid FROM executions_visibility_fts_keyword_list WHERE KeywordList01 MATCH ?)`
		words  = `SELECT count(*) FROM executions_visibility WHERE rowid IN (SELECT rowid FROM executions_visibility_fts_text WHERE Text01 MATCH ?)`
	)
	for _, step := range []struct {
		attributes                      any
		red, blue, word, rows, textRows int
	}{
		{attributes: nil},
		{attributes: `{"KeywordList01":"red"}`, red: 1, rows: 1},
		{attributes: `{"KeywordList01":"red","Keyword01":"app"}`, red: 1, rows: 1},
		{attributes: `{"KeywordList01":"red♡blue","Text01":"a word"}`, red: 1, blue: 1, word: 1, rows: 1, textRows: 1},
		{attributes: `{"KeywordList01":"blue"}`, blue: 1, rows: 1},
		{attributes: `{"Keyword01":"app"}`},
		{attributes: `{"KeywordList01":"blue"}`, blue: 1, rows: 1},
	} {
		put(step.attributes)
		got := []int{
			count(labels, "red"), count(labels, "blue"), count(words, "word"),
			count("SELECT count(*) FROM executions_visibility_fts_keyword_list_docsize"), count("SELECT count(*) FROM executions_visibility_fts_text_docsize"),
		}
		for i, want := range []int{step.red, step.blue, step.word, step.rows, step.textRows} {
			if got[i] != want {
				t.Fatalf("with %v: %v; want red, blue, word, rows of both indexes %+v", step.attributes, got, step)
			}
		}
	}
	if _, err := db.ExecContext(t.Context(), "DELETE FROM executions_visibility"); err != nil {
		t.Fatal(err)
	}
	if n := count("SELECT count(*) FROM executions_visibility_fts_keyword_list_docsize"); n != 0 {
		t.Errorf("%d runs are left in the index of lists", n)
	}
	var whole string
	if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&whole); err != nil || whole != "ok" {
		t.Errorf("integrity_check = %s, %v", whole, err)
	}
}
