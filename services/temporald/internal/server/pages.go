package server

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/temporalio/sqlparser"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/visibility/store/query"
)

// seeking writes the statements of lists so that SQLite reads about as many rows as the
// page has, however many there are. The server's own are one SELECT with the index over
// the first equality and an OR for the place where a page begins, both of which SQLite
// answers by reading row after row.
type seeking struct {
	sqlplugin.VisibilityQueryConverter
}

// noEnd is what the server's order has instead of the end of an open run.
var noEnd = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)

// Columns of executions_visibility. The order of lists is that of the server's indexes:
// open runs first, then the ended ones from the last to the first.
const (
	startTime = "start_time"
	closeTime = "close_time"
	runID     = "run_id"
	typeName  = "workflow_type_name"
	ends      = "coalesce(close_time, '9999-12-31 23:59:59+00:00')"
	listOrder = ends + " DESC, " + startTime + " DESC, " + runID
)

// BuildSelectStmt is one statement for a page: the first rows of parts that have none in
// common, each read in the order of an index.
func (s seeking) BuildSelectStmt(params *query.QueryParams[sqlparser.Expr], size int, token *sqlplugin.VisibilityPageToken) (string, []any) {
	parts := []part{{where: conditions(params.QueryExpr), order: listOrder, size: size, limit: fmt.Sprint(size)}}
	for _, split := range []func(part) []part{s.after(token), byValue, byLabel} {
		var finer []part
		for _, p := range parts {
			finer = append(finer, split(p)...)
		}
		parts = finer
	}
	var args []any
	if token != nil {
		args = []any{token.RunID}
	}
	statements := make([]string, 0, len(parts))
	for _, p := range parts {
		statements = append(statements, p.statement(strings.Join(sqlplugin.DbFields, ", ")))
	}
	if len(parts) == 1 {
		return statements[0], args
	}
	return fmt.Sprintf("SELECT * FROM (SELECT * FROM (%s)) ORDER BY %s LIMIT %d",
		strings.Join(statements, ") UNION ALL SELECT * FROM ("), listOrder, size), args
}

// part is one SELECT.
type part struct {
	from         string // a hint on how to read the table
	where        []condition
	size         int
	order, limit string
}

func (p part) statement(columns string) string {
	where := []string{"true"}
	for _, c := range p.where {
		where = append(where, c.sql)
	}
	return fmt.Sprintf("SELECT %s FROM executions_visibility%s WHERE %s ORDER BY %s LIMIT %s",
		columns, p.from, strings.Join(where, " AND "), p.order, p.limit)
}

func (p part) and(all ...string) part {
	p.where = slices.Clone(p.where)
	for _, sql := range all {
		p.where = append(p.where, condition{sql: sql})
	}
	return p
}

// after leaves the rows behind the last one of the page before.
func (s seeking) after(token *sqlplugin.VisibilityPageToken) func(part) []part {
	return func(p part) []part {
		if token == nil {
			return []part{p}
		}
		end, start := s.literal(token.CloseTime), s.literal(token.StartTime)
		later := fmt.Sprintf("(%s < %s OR %s = %s AND %s > ?1)", startTime, start, startTime, start, runID)
		if token.CloseTime.Before(noEnd) {
			return []part{p.and(ends+" <= "+end, fmt.Sprintf("(%s < %s OR %s)", ends, end, later))}
		}
		// All open runs have the same end: what leads into the index is their start.
		open := p.and(ends+" = "+end, startTime+" <= "+start, later)
		open.order = startTime + " DESC, " + runID
		return []part{open, p.and(ends + " < " + end)}
	}
}

func (s seeking) literal(at time.Time) string {
	return sqlparser.String(query.NewUnsafeSQLString(at.UTC().Format(s.GetDatetimeFormat())))
}
