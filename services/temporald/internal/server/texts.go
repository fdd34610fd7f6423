package server

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
)

// texts are the indexes of words and lists of words in the search attributes of runs.
var texts = []string{"executions_visibility_fts_text", "executions_visibility_fts_keyword_list"}

// searchChanged has triggers write to the indexes of words only for runs that have some,
// and only when these change. The server's own take each run out of both and put it back
// at each of its moves (external content tables, https://sqlite.org/fts5.html, section 4.4.3).
func searchChanged(ctx context.Context, db *sql.DB) error {
	statements := []string{
		"DROP TRIGGER executions_visibility_ai", "DROP TRIGGER executions_visibility_ad", "DROP TRIGGER executions_visibility_au",
	}
	for _, table := range texts {
		columns, err := names(ctx, db, "SELECT name FROM pragma_table_info(?)", table)
		if err != nil {
			return err
		}
		statements = append(statements, triggers(table, columns)...)
	}
	return together(ctx, db, statements)
}

// triggers keep an index of the words in columns.
func triggers(table string, columns []string) []string {
	each := func(format, separator string) string {
		parts := make([]string, len(columns))
		for i, column := range columns {
			parts[i] = strings.ReplaceAll(format, "?", column)
		}
		return strings.Join(parts, separator)
	}
	hasNew, hasOld := each("NEW.? IS NOT NULL", " OR "), each("OLD.? IS NOT NULL", " OR ")
	enter := fmt.Sprintf("INSERT INTO %s (rowid, %s) SELECT NEW.rowid, %s WHERE %s;", table, each("?", ", "), each("NEW.?", ", "), hasNew)
	leave := fmt.Sprintf("INSERT INTO %s (%s, rowid, %s) SELECT 'delete', OLD.rowid, %s WHERE %s;", table, table, each("?", ", "), each("OLD.?", ", "), hasOld)
	trigger := func(name, event, when, do string) string {
		return fmt.Sprintf("CREATE TRIGGER %s_%s AFTER %s ON executions_visibility WHEN %s BEGIN %s END", table, name, event, when, do)
	}
	return []string{
		trigger("ai", "INSERT", hasNew, enter),
		trigger("ad", "DELETE", hasOld, leave),
		trigger("au", "UPDATE", each("OLD.? IS NOT NEW.?", " OR "), leave+" "+enter),
	}
}

// names are the texts that a query answers with.
func names(ctx context.Context, db *sql.DB, query string, args ...any) ([]string, error) {
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close() //nolint:errcheck // read only
	var all []string
	for rows.Next() {
		var name string
		if err := rows.Scan(&name); err != nil {
			return nil, err
		}
		all = append(all, name)
	}
	return all, rows.Err()
}
