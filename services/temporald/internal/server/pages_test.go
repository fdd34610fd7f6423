package server

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/temporalio/sqlparser"
	enumspb "go.temporal.io/api/enums/v1"
	persistencesql "go.temporal.io/server/common/persistence/sql"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
	"go.temporal.io/server/common/persistence/visibility/store/query"
)

const app = "namespace_id = 'n' AND Keyword01 = 'app'"

// lists are conditions, and what SQLite must say of how it reads each part of a page.
var lists = []struct {
	where  string
	labels []string
	plan   []string
}{
	{where: app, plan: []string{"Keyword01=?"}},
	{where: app + " AND Keyword02 = 'u_1'", plan: []string{"Keyword01=? AND Keyword02=?"}},
	{where: app + " AND status = 2", plan: []string{"Keyword01=? AND status=?"}},
	{where: app + " AND status = 1", plan: []string{"Keyword01=? AND status=?"}},
	{where: app + " AND workflow_type_name = 'tool'", plan: []string{"Keyword01=? AND workflow_type_name=?"}},
	{where: app + " AND (status = 1 OR status = 3)", plan: []string{"AND status=?", "AND status=?"}},
	{where: app + " AND (status = 1 OR workflow_type_name = 'tool')", plan: []string{"AND status=?", "AND workflow_type_name=?"}},
	{where: app + " AND (status = 1 OR status > 1)", plan: []string{"Keyword01=?"}},
	{
		where: app + " AND (Keyword03 = 'v_1' OR TemporalWorkerDeploymentVersion = 'app:v_1')",
		plan:  []string{"Keyword03=?", "TemporalWorkerDeploymentVersion=?"},
	},
	{where: "namespace_id = 'n' AND Keyword01 IS NOT NULL AND status = 2", plan: []string{"INDEX by_status"}},
	{where: "namespace_id = 'n' AND Keyword01 IS NOT NULL", plan: []string{"INDEX default_idx"}},
	{where: app + " AND start_time >= '2026-01-02 03:04:06+00:00'", plan: []string{"<expr>"}},
	{where: app + " AND close_time < '2026-01-02 03:07:05.2+00:00'", plan: []string{"<expr>"}},
	{
		where: app + " AND (workflow_type_name IN ('tool', 'none', 'tool', 'class') AND status = 1)",
		plan:  []string{"Keyword01=? AND ", "Keyword01=? AND ", "Keyword01=? AND "},
	},
	// Of a label: from what few have; whether a page is near, and from there; else among all.
	{where: app, labels: []string{"few=1"}, plan: append([]string{"PRIMARY KEY"}, four("Keyword01=?")...)},
	{where: app, labels: []string{"all=1"}, plan: append([]string{"PRIMARY KEY"}, four("Keyword01=?")...)},
	{where: app, labels: []string{"all=1", "few=1"}, plan: append([]string{"PRIMARY KEY", "PRIMARY KEY"}, four("Keyword01=?")...)},
	{
		where: app + " AND workflow_type_name IN ('tool', 'class')", labels: []string{"all=1"},
		plan: slices.Concat([]string{"PRIMARY KEY"}, four("workflow_type_name=?"), []string{"PRIMARY KEY"}, four("workflow_type_name=?")),
	},
	{where: app, labels: []string{"old=true"}, plan: append([]string{"PRIMARY KEY"}, four("Keyword01=?")...)},
}

func four(same string) []string { return slices.Repeat([]string{same}, 4) }

const pageSize = 197

func TestPagesAreWholeAndFoundAtOnce(t *testing.T) {
	t.Parallel()
	db := someRuns(t, fewRuns+1500)
	for _, list := range lists {
		t.Run(fmt.Sprint(list.where, list.labels), func(t *testing.T) {
			stmt, args := statement(t, original(t), list.where, list.labels, 4*fewRuns, nil)
			whole, _ := page(t, db, stmt, args)
			if len(whole) < 10 {
				t.Fatalf("only %d runs", len(whole))
			}
			var paged []string
			var token *sqlplugin.VisibilityPageToken
			for range whole {
				stmt, args := statement(t, visibilityStore{}.GetVisibilityQueryConverter(), list.where, list.labels, pageSize, token)
				seeks(t, db, stmt, args, token, list.plan)
				runs, next := page(t, db, stmt, args)
				paged = append(paged, runs...)
				if token = next; len(runs) < pageSize {
					break
				}
			}
			if !slices.Equal(whole, paged) {
				t.Errorf("in one piece: %d runs, %v; in pages: %d, %v", len(whole), whole, len(paged), paged)
			}
		})
	}
}

// someRuns is a database with runs of which six start at once, twenty end at once, and
// every third is open.
func someRuns(t *testing.T, rows int) *sql.DB {
	t.Helper()
	file := filepath.Join(t.TempDir(), "temporal.db")
	if err := makeSchema(t.Context(), file); err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+file+"?_time_format=sqlite")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	began := time.Date(2026, 1, 2, 3, 4, 5, 120_000_000, time.UTC)
	for i := range rows {
		start, kind := began.Add(time.Duration(i/6)*100*time.Millisecond), []string{"tool", "class"}[i%2]
		var closed any
		if i%3 != 0 {
			closed = began.Add(time.Duration(i/20) * time.Minute)
		}
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO executions_visibility
			(namespace_id, run_id, _version, start_time, execution_time, workflow_id, workflow_type_name, status, close_time, memo, encoding, task_queue, search_attributes)
			VALUES ('n', ?, 1, ?, ?, 'w', ?, ?, ?, x'', '', '', ?)`, fmt.Sprintf("run-%04d", i*37%rows), start, start, kind, 1+min(i%3, 1), closed,
			fmt.Sprintf(`{"Keyword01":"app","Keyword02":"u_%d","Keyword03":"v_%d","TemporalWorkerDeploymentVersion":"app:v_%d","KeywordList01":"all=1♡few=%d♡old=%t"}`, i%4, i%7, i%3, i%5, i < fewRuns+100)); err != nil {
			t.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return db
}

func original(t *testing.T) sqlplugin.VisibilityQueryConverter {
	t.Helper()
	own, err := persistencesql.GetPluginVisibilityQueryConverter("sqlite")
	if err != nil {
		t.Fatal(err)
	}
	return own
}

func statement(t *testing.T, c sqlplugin.VisibilityQueryConverter, where string, labels []string, size int, token *sqlplugin.VisibilityPageToken) (string, []any) {
	t.Helper()
	parsed, err := sqlparser.Parse("SELECT * FROM x WHERE " + where)
	if err != nil {
		t.Fatal(err)
	}
	all := parsed.(*sqlparser.Select).Where.Expr
	for _, label := range labels {
		column := query.NewSAColumn("Labels", "KeywordList01", enumspb.INDEXED_VALUE_TYPE_KEYWORD_LIST)
		has, err := c.ConvertKeywordListComparisonExpr(sqlparser.EqualStr, column, query.NewUnsafeSQLString(label))
		if err != nil {
			t.Fatal(err)
		}
		all = &sqlparser.AndExpr{Left: all, Right: has}
	}
	return c.BuildSelectStmt(&query.QueryParams[sqlparser.Expr]{QueryExpr: all}, size, token)
}

// page is the runs that a statement finds, and where they end.
func page(t *testing.T, db *sql.DB, stmt string, args []any) (runs []string, end *sqlplugin.VisibilityPageToken) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT run_id, start_time, close_time FROM ("+stmt+")", args...)
	if err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
	defer rows.Close() //nolint:errcheck // read only
	for rows.Next() {
		var run string
		var start time.Time
		var closed sql.NullTime
		if err := rows.Scan(&run, &start, &closed); err != nil {
			t.Fatal(err)
		}
		end = &sqlplugin.VisibilityPageToken{RunID: run, StartTime: start.UTC(), CloseTime: noEnd}
		if closed.Valid {
			end.CloseTime = closed.Time.UTC()
		}
		runs = append(runs, run)
	}
	return runs, end
}

// seeks fails a statement that is not led by indexes as its plan says, and within a list
// to where the page begins.
func seeks(t *testing.T, db *sql.DB, stmt string, args []any, token *sqlplugin.VisibilityPageToken, want []string) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "EXPLAIN QUERY PLAN "+stmt, args...)
	if err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
	defer rows.Close() //nolint:errcheck // read only
	if token != nil && token.CloseTime.Equal(noEnd) {
		want = append(slices.Clone(want), want...)
	}
	var plan []string
	read := 0
	for rows.Next() {
		var id, parent, unused int
		var step string
		if err := rows.Scan(&id, &parent, &unused, &step); err != nil {
			t.Fatal(err)
		}
		plan = append(plan, step)
		if !strings.HasPrefix(step, "SEARCH executions_visibility ") && !strings.HasPrefix(step, "SCAN executions_visibility ") {
			continue
		}
		atOnce := token == nil || strings.Contains(step, "<expr>") || strings.Contains(step, "PRIMARY KEY")
		if read < len(want) && (!strings.Contains(step, want[read]) || !atOnce) {
			t.Errorf("part %d is read by %s", read, step)
		}
		read++
	}
	// A page made of several parts is put in order, and so is what a label finds; lists are not.
	sorts := strings.Count(strings.Join(plan, "; "), "TEMP B-TREE")
	if read != len(want) || sorts > min(read-1, 1)+strings.Count(stmt, "NOT INDEXED") {
		t.Errorf("%d parts, want %d; %d sorted", read, len(want), sorts)
	}
	if t.Failed() {
		t.Fatalf("%s\n%s", stmt, strings.Join(plan, "\n"))
	}
}
