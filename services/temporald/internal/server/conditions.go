package server

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/temporalio/sqlparser"
)

const (
	// mostParts bounds the parts of a statement over several values.
	mostParts = 8
	// fewRuns is how many runs of a label are rather sorted than looked for among all.
	fewRuns = 1000
	// nearPages and nearRows are how far one looks, row by row, for a page of a label.
	nearPages, nearRows = 3, 1000
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
// rows when that is little, and two for when all find much: one that looks each row up in
// the list's order, if a page of them is near, and one that looks for rows among all that
// were found. SQLite does not know which, and reads nothing where the limit is 0.
func byLabel(p part) []part {
	var parts []part
	none := ""
	for i, c := range p.where {
		if c.rows == "" {
			continue
		}
		few := fmt.Sprintf("(SELECT count(*) FROM (%s LIMIT %d)) <= %d", c.rows, fewRuns+1, fewRuns)
		finer := p.lookingUp("executions_visibility.rowid", i)
		finer.from, finer.limit = " NOT INDEXED", fmt.Sprintf("iif(%s%s, %s, 0)", none, few, p.limit)
		parts, none = append(parts, finer), none+"NOT "+few+" AND "
	}
	if none == "" {
		return []part{p}
	}
	near, far := p.lookingUp("executions_visibility.rowid", -1), p
	isNear := p.isNear()
	near.limit = fmt.Sprintf("iif(%s%s, %s, 0)", none, isNear, p.limit)
	far.where, far.limit = slices.Clone(p.where), fmt.Sprintf("iif(%sNOT %s, %s, 0)", none, isNear, p.limit)
	for i, c := range far.where {
		if c.rows != "" {
			far.where[i].sql = "+" + c.sql // the + keeps SQLite from starting there
		}
	}
	return append(parts, near, far)
}

// lookingUp looks rows up in what searches of text find, one by one, but for one search.
func (p part) lookingUp(row string, but int) part {
	p.where = slices.Clone(p.where)
	for i, c := range p.where {
		if i != but && c.rows != "" {
			p.where[i].sql = fmt.Sprintf("EXISTS (%s AND rowid = %s)", c.rows, row)
		}
	}
	return p
}

// isNear says whether a page is found among the next few rows of the list, of which each
// costs a look into the index of text, some 10 to 30 µs.
func (p part) isNear() string {
	next, looks := p, []string{"true"}
	next.where, next.limit = nil, strconv.Itoa(min(nearPages*p.size, nearRows))
	for i, c := range p.lookingUp("next.id", -1).where {
		if p.where[i].rows == "" {
			next.where = append(next.where, c)
		} else {
			looks = append(looks, c.sql)
		}
	}
	return fmt.Sprintf("(SELECT count(*) FROM (SELECT 1 FROM (%s) AS next WHERE %s LIMIT %d)) >= %d",
		next.statement("rowid AS id"), strings.Join(looks, " AND "), p.size, p.size)
}
