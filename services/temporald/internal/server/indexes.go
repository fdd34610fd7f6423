package server

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	_ "modernc.org/sqlite" // the driver that the server's own plugin uses
)

// rare finds the column of an index over what many runs do not have: search attributes
// prepared for one's own, those of schedules, batches and pauses, what a run gets with its
// first step or its end, and parents.
var rare = regexp.MustCompile(`\(namespace_id, ((?:Temporal(?:LowCardinality)?)?(?:Bool|Datetime|Double|Int|Keyword)\d\d` +
	`|BatcherUser|TemporalScheduled\w+|TemporalSchedulePaused|TemporalPauseInfo|TemporalNamespaceDivision|TemporalWork\w+` +
	`|history_\w+|execution_duration|state_transition_count|parent_\w+),`)

// improve fits the server's own indexes of runs to one file and to our lists.
func improve(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // what counts are the commits
	return errors.Join(leaveOut(ctx, db), searchChanged(ctx, db), combine(ctx, db), estimate(ctx, db))
}

// leaveOut makes indexes over what is rare leave out the runs that have none. Each move of
// a run writes its row of the visibility store anew, and with it some 55 entries that say
// nothing. Only comparisons with a value look there, which these indexes serve as before.
func leaveOut(ctx context.Context, db *sql.DB) error {
	indexes, err := indexesOn(ctx, db, "executions_visibility")
	if err != nil {
		return err
	}
	var statements []string
	for name, made := range indexes {
		if column := rare.FindStringSubmatch(made); column != nil { // a name and a text that the schema has
			statements = append(statements, fmt.Sprintf("DROP INDEX %s; %s WHERE %s IS NOT NULL", name, made, column[1]))
		}
	}
	return together(ctx, db, statements)
}

// together runs statements in one transaction.
func together(ctx context.Context, db *sql.DB, statements []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // committed, or not at all
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return tx.Commit()
}

// combined are the columns that the lists of an app are narrowed by, beside the app.
var combined = []string{"workflow_type_name", "status", "Keyword02"}

// combine adds the indexes that lead to the runs of one app and one more thing. Which
// attribute is in which column is a namespace's own; the scheduler puts the app into
// Keyword01 and the caller into Keyword02 where it finds this server.
func combine(ctx context.Context, db *sql.DB) error {
	for _, column := range combined {
		if _, err := db.ExecContext(ctx, fmt.Sprintf(
			"CREATE INDEX by_app_and_%s ON executions_visibility (namespace_id, Keyword01, %s, (%s) DESC, start_time DESC, run_id) WHERE Keyword01 IS NOT NULL",
			column, column, ends)); err != nil {
			return fmt.Errorf("index by app and %s: %w", column, err)
		}
	}
	return nil
}

// manyRuns is what plans are made for.
const manyRuns = 1_000_000

// distinct is about how many values a column has; others have usualDistinct.
var distinct = map[string]int{
	"namespace_id": 1, "status": 5, "Keyword01": 10, "workflow_type_name": 20, "Keyword02": 100,
	endColumn: 500, startTime: manyRuns, runID: manyRuns, "workflow_id": manyRuns,
}

const (
	usualDistinct = 50
	endColumn     = "" // an expression has no name
)

// estimate tells SQLite's planner how many runs each index leads to, once, instead of an
// ANALYZE now and then (https://sqlite.org/optoverview.html, section 6.1). Without, it
// takes them for equally good.
func estimate(ctx context.Context, db *sql.DB) error {
	indexes, err := indexesOn(ctx, db, "executions_visibility")
	if err != nil {
		return err
	}
	if _, err := db.ExecContext(ctx, "ANALYZE sqlite_schema"); err != nil { // makes the table of estimates
		return err
	}
	for name := range indexes {
		columns, err := columnsOf(ctx, db, name)
		if err != nil {
			return err
		}
		if _, err := db.ExecContext(ctx, "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('executions_visibility', ?, ?)", name, rowsEach(columns)); err != nil {
			return fmt.Errorf("estimate of index %s: %w", name, err)
		}
	}
	return nil
}

// rowsEach is how many rows there are, then how many with the same first column, the same
// first two, and so on.
func rowsEach(columns []string) string {
	rows := manyRuns
	stat := strconv.Itoa(rows)
	for _, column := range columns {
		values, known := distinct[column]
		if !known {
			values = usualDistinct
		}
		rows = max(rows/values, 1)
		stat += " " + strconv.Itoa(rows)
	}
	return stat
}

// columnsOf are the columns of an index, in order.
func columnsOf(ctx context.Context, db *sql.DB, index string) ([]string, error) {
	return names(ctx, db, "SELECT coalesce(name, '') FROM pragma_index_xinfo(?) WHERE key = 1 ORDER BY seqno", index)
}

// indexesOn are the statements that made a table's indexes, by name.
func indexesOn(ctx context.Context, db *sql.DB, table string) (map[string]string, error) {
	rows, err := db.QueryContext(ctx, "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND tbl_name = ? AND sql IS NOT NULL", table)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // read only
	all := map[string]string{}
	for rows.Next() {
		var name, made string
		if err := rows.Scan(&name, &made); err != nil {
			return nil, err
		}
		all[name] = made
	}
	return all, rows.Err()
}
