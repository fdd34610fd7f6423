package server

import (
	"context"
	"database/sql"
	"fmt"
	"regexp"

	_ "modernc.org/sqlite" // the driver that the server's own plugin uses
)

// rare finds the column of an index over a search attribute that few runs have: those
// prepared for attributes of one's own, and those of schedules, batches and pauses.
var rare = regexp.MustCompile(`\(namespace_id, ((?:Temporal(?:LowCardinality)?)?(?:Bool|Datetime|Double|Int|Keyword)\d\d|BatcherUser|TemporalScheduled\w+|TemporalSchedulePaused|TemporalPauseInfo),`)

// leaveOut makes indexes over rare search attributes leave out the runs that have none.
// Each move of a run writes its row of the visibility store anew, and with it some 45
// entries that say nothing. Only comparisons with a value look there, which these
// indexes serve as before.
func leaveOut(ctx context.Context, file string) error {
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // what counts is the commit
	indexes, err := indexesOn(ctx, db, "executions_visibility")
	if err != nil {
		return err
	}
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // committed, or not at all
	for name, made := range indexes {
		column := rare.FindStringSubmatch(made)
		if column == nil {
			continue
		}
		// A name and a text that the schema has.
		if _, err := tx.ExecContext(ctx, fmt.Sprintf("DROP INDEX %s; %s WHERE %s IS NOT NULL", name, made, column[1])); err != nil {
			return fmt.Errorf("index %s: %w", name, err)
		}
	}
	return tx.Commit()
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
