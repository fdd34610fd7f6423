package runs_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// copyRuns multiplies one row of Temporal's visibility: other run ids, a second apart,
// every fourth still open, every tenth failed, every hundredth of another caller, every 200th of
// another version, each with an order of its own.
const copyRuns = `WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d)
INSERT INTO executions_visibility (namespace_id, run_id, _version, start_time, execution_time, workflow_id, workflow_type_name, status,
	close_time, history_length, history_size_bytes, execution_duration, state_transition_count, memo, encoding, task_queue,
	search_attributes, parent_workflow_id, parent_run_id, root_workflow_id, root_run_id)
SELECT r.namespace_id, printf('%%08x-0000-4000-8000-000000000000', i), r._version,
	strftime('%%Y-%%m-%%d %%H:%%M:%%f', r.start_time, '-' || i || ' seconds') || '+00:00', r.execution_time,
	r.workflow_id || i, r.workflow_type_name, CASE WHEN i %% 4 = 1 THEN 1 WHEN i %% 10 = 0 THEN 3 ELSE r.status END,
	CASE WHEN i %% 4 = 1 THEN NULL ELSE strftime('%%Y-%%m-%%d %%H:%%M:%%f', r.close_time, '-' || i || ' seconds') || '+00:00' END, r.history_length, r.history_size_bytes,
	r.execution_duration, r.state_transition_count, r.memo, r.encoding, r.task_queue,
	json_set(replace(CASE WHEN i %% 100 = 0 THEN replace(r.search_attributes, 'u_1', 'u_2') ELSE r.search_attributes END, 'order=seed', 'order=' || i), '$.Keyword03', CASE WHEN i %% 200 = 3 THEN '%s' ELSE 'ver_other' END),
	r.parent_workflow_id, r.parent_run_id, r.root_workflow_id, r.root_run_id
FROM n, executions_visibility r WHERE r.run_id = '%s'`

// steady begins what must not grow with the number of runs. The rest looks at each run
// of the app, in Temporal's index of them, until it has found enough.
const steady = "steady: "

// TestVolume measures lists, searches and pages among more and more runs.
func TestVolume(t *testing.T) {
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("AGENTCLOUD_BENCH=1 runs this")
	}
	f := newFixture(t)
	seed, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{
		TargetId: f.app, Name: "Echo", ArgumentsJson: `{"text":"a"}`, Labels: map[string]string{"order": "seed", "team": "red"},
	})
	if err != nil {
		t.Fatal(err)
	}
	f.finished(t, seed.GetRunId())
	eventually(t, "visible", func() error {
		listed, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{Status: schedulerv1.RunStatus_RUN_STATUS_COMPLETED})
		if err == nil && len(listed.GetRuns()) != 1 {
			err = fmt.Errorf("listed = %v", listed)
		}
		return err
	})
	db, err := sql.Open("sqlite", "file:"+temporaltest.Database(t)+"?_pragma=busy_timeout(10000)")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	took, have := map[string][]time.Duration{}, 0
	totals := []int{1_000, 10_000, 100_000}
	for _, total := range totals {
		for have < total {
			to := min(have+1000, total)
			if _, err := db.ExecContext(t.Context(), fmt.Sprintf(copyRuns, have+1, to, f.ver, seed.GetRunId())); err != nil {
				t.Fatal(err)
			}
			have = to
		}
		f.measure(t, total, took)
	}
	for what, all := range took {
		t.Logf("%-62s %s", what, strings.Trim(fmt.Sprint(all), "[]"))
		small, big := all[0], all[len(all)-1]
		if strings.HasPrefix(what, steady) && big > 4*small+10*time.Millisecond || big > time.Second {
			t.Errorf("%s: %s among %d runs, %s among %d", what, small, totals[0], big, totals[len(totals)-1])
		}
	}
}

func (f *fixture) measure(t *testing.T, total int, took map[string][]time.Duration) {
	t.Helper()
	owner := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: f.org, UserID: "u_1"})
	list := func(req *schedulerv1.ListRunsRequest, want int) func(context.Context) error {
		req.WithoutResults = true
		return func(ctx context.Context) error {
			res, err := f.client.ListRuns(ctx, req)
			if err == nil && len(res.GetRuns()) != want {
				err = fmt.Errorf("%d runs, want %d", len(res.GetRuns()), want)
			}
			return err
		}
	}
	deep := []string{""}
	for range total / 100 / 2 {
		res, err := f.client.ListRuns(owner, &schedulerv1.ListRunsRequest{TargetId: f.app, PageToken: deep[len(deep)-1], WithoutResults: true})
		if err != nil {
			t.Fatal(err)
		}
		deep = append(deep, res.GetNextPageToken())
	}
	now := time.Now()
	cases := map[string]func(context.Context) error{
		steady + "list: first page of 100 of an app":                 list(&schedulerv1.ListRunsRequest{TargetId: f.app}, 100),
		steady + "list: first page of 100 of the organisation":       list(&schedulerv1.ListRunsRequest{}, 100),
		steady + "list: the page in the middle of all":               list(&schedulerv1.ListRunsRequest{TargetId: f.app, PageToken: deep[len(deep)-1]}, 100),
		steady + "list: the page in the middle of the open ones":     list(&schedulerv1.ListRunsRequest{TargetId: f.app, PageToken: deep[len(deep)/4]}, 100),
		steady + "search: one run by its label":                      list(&schedulerv1.ListRunsRequest{TargetId: f.app, Labels: []string{fmt.Sprintf("order=%d", total/2)}}, 1),
		"search: 100 of a label that all have":                       list(&schedulerv1.ListRunsRequest{TargetId: f.app, Labels: []string{"team=red"}}, 100),
		steady + "search: 10 of another caller, every hundredth run": list(&schedulerv1.ListRunsRequest{TargetId: f.app, StartedBy: "u_2", PageSize: 10}, 10),
		steady + "search: 5 of a version, every 200th run":           list(&schedulerv1.ListRunsRequest{TargetId: f.app, VersionId: f.ver, PageSize: 5}, 5),
		steady + "search: 100 failed, every tenth run":               list(&schedulerv1.ListRunsRequest{TargetId: f.app, Status: schedulerv1.RunStatus_RUN_STATUS_FAILED}, 100),
		steady + "search: the last minutes'":                         list(&schedulerv1.ListRunsRequest{TargetId: f.app, StartedAfter: timestamppb.New(now.Add(-20 * time.Minute)), PageSize: 50}, 50),
		steady + "search: what there is not, by workflow":            list(&schedulerv1.ListRunsRequest{TargetId: f.app, Name: "Nothing"}, 0),
		steady + "search: what there is not, by label":               list(&schedulerv1.ListRunsRequest{TargetId: f.app, Labels: []string{"order=none"}}, 0),
		"count: all, by status": func(ctx context.Context) error {
			res, err := f.ops.CountRuns(ctx, &schedulerv1.CountRunsRequest{})
			if err == nil && res.GetCount() != int64(total)+1 {
				err = fmt.Errorf("counted %d", res.GetCount())
			}
			return err
		},
	}
	for what, call := range cases {
		var all []time.Duration
		for range 11 {
			began := time.Now()
			if err := call(owner); err != nil {
				t.Fatalf("%s among %d: %v", what, total, err)
			}
			all = append(all, time.Since(began))
		}
		slices.Sort(all)
		took[what] = append(took[what], all[len(all)/2])
	}
}
