package server

import (
	"fmt"
	"slices"

	"github.com/temporalio/sqlparser"
)

const (
	// mostParts bounds the parts of a statement over several values.
	mostParts = 8
	// fewRuns is how many runs of a label are rather sorted than looked for among all.
	fewRuns = 2000
)

// condition is one of those that must all hold.
type condition struct {
	sql string
	// oneOf is the same as several conditions of which one holds, if there are some.
	oneOf []string
	// rows selects the rowids that it leaves, if a search of text is to find them.
	rows string
}

// conditions are the parts of a query, with what follows from them for the order of lists.
func conditions(e sqlparser.Expr) []condition {
	switch e := e.(type) {
	case nil:
		return nil
	case *sqlparser.AndExpr:
		return append(conditions(e.Left), conditions(e.Right)...)
	case *sqlparser.ParenExpr:
		return conditions(e.Expr)
	case *sqlparser.OrExpr:
		return []condition{{sql: "(" + sqlparser.String(e) + ")", oneOf: exclusive(equalities(e))}}
	case *sqlparser.ComparisonExpr:
		return append(ofEnd(e), comparison(e))
	}
	return []condition{{sql: "(" + sqlparser.String(e) + ")"}}
}

func comparison(e *sqlparser.ComparisonExpr) condition {
	c := condition{sql: sqlparser.String(e)}
	if e.Operator != sqlparser.InStr {
		return c
	}
	column := sqlparser.String(e.Left)
	if types, ok := e.Right.(sqlparser.ValTuple); ok && column == typeName {
		for _, one := range types {
			if same := column + " = " + sqlparser.String(one); !slices.Contains(c.oneOf, same) {
				c.oneOf = append(c.oneOf, same)
			}
		}
	}
	if len(c.oneOf) > mostParts {
		c.oneOf = nil
	}
	if found, ok := e.Right.(*sqlparser.Subquery); ok && column == "rowid" {
		c.rows = sqlparser.String(found.Select)
	}
	return c
}

// equalities are the parts of an OR if each says that a column has a value, else none.
func equalities(e sqlparser.Expr) []string {
	switch e := e.(type) {
	case *sqlparser.ParenExpr:
		return equalities(e.Expr)
	case *sqlparser.OrExpr:
		left, right := equalities(e.Left), equalities(e.Right)
		if left == nil || right == nil {
			return nil
		}
		return append(left, right...)
	case *sqlparser.ComparisonExpr:
		if e.Operator == sqlparser.EqualStr {
			return []string{sqlparser.String(e)}
		}
	}
	return nil
}

// exclusive makes conditions of which several may hold such that at most one does.
func exclusive(all []string) []string {
	if len(all) > mostParts {
		return nil
	}
	var only []string
	for i, one := range all {
		for _, before := range all[:i] {
			one += " AND (" + before + ") IS NOT TRUE"
		}
		only = append(only, one)
	}
	return only
}

// ofEnd is what a condition on a time says of the expression that the indexes have for
// the end: nothing ends before its start, and what has ended is not open.
func ofEnd(e *sqlparser.ComparisonExpr) []condition {
	after := e.Operator == sqlparser.GreaterEqualStr || e.Operator == sqlparser.GreaterThanStr
	before := e.Operator == sqlparser.LessEqualStr || e.Operator == sqlparser.LessThanStr
	switch column := sqlparser.String(e.Left); {
	case column == closeTime && (after || before), column == startTime && after:
		return []condition{{sql: fmt.Sprintf("%s %s %s", ends, e.Operator, sqlparser.String(e.Right))}}
	}
	return nil
}

// byValue makes a part for each of several values: an index has the runs of each in the
// order of lists, but not those of all.
func byValue(p part) []part {
	at := slices.IndexFunc(p.where, func(c condition) bool { return len(c.oneOf) > 0 })
	if at < 0 {
		return []part{p}
	}
	var parts []part
	for _, one := range p.where[at].oneOf {
		finer := p
		finer.where = slices.Clone(p.where)
		finer.where[at] = condition{sql: one}
		parts = append(parts, finer)
	}
	return parts
}

// byLabel makes a part for each search of text, which starts from what was found and has
// rows when that is little, and one for when all find much. SQLite does not know which,
// and reads nothing where the limit is 0.
func byLabel(p part) []part {
	var parts []part
	none := ""
	for i, c := range p.where {
		if c.rows == "" {
			continue
		}
		few := fmt.Sprintf("(SELECT count(*) FROM (%s LIMIT %d)) <= %d", c.rows, fewRuns+1, fewRuns)
		finer := p
		finer.from, finer.where = " NOT INDEXED", slices.Clone(p.where)
		for j, other := range finer.where {
			if j != i && other.rows != "" {
				finer.where[j].sql = "EXISTS (" + other.rows + " AND rowid = executions_visibility.rowid)"
			}
		}
		finer.limit = fmt.Sprintf("iif(%s%s, %s, 0)", none, few, p.limit)
		parts, none = append(parts, finer), none+"NOT "+few+" AND "
	}
	if none == "" {
		return []part{p}
	}
	p.where, p.limit = slices.Clone(p.where), fmt.Sprintf("iif(%strue, %s, 0)", none, p.limit)
	for i, c := range p.where {
		if c.rows != "" {
			p.where[i].sql = "+" + c.sql // the + keeps SQLite from starting there
		}
	}
	return append(parts, p)
}
