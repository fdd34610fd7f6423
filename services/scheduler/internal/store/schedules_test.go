package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestSchedules(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		paused := true
		row := store.Schedule{
			TargetID: "app_1", Name: "b", OrgID: "org_1", Spec: &schedulerv1.ScheduleSpec{Workflow: "Echo", Cron: []string{"@daily"}},
			Declared: &store.Declared{Note: "why"}, State: store.ScheduleApplying, Intent: store.Intent{Create: true, Pause: &paused},
			CreatedBy: "u_1", CreatedAt: now, UpdatedAt: now,
		}
		put := func(one store.Schedule) {
			t.Helper()
			if err := s.Tx(t.Context(), func(tx *sqldb.Tx) error { return s.PutSchedule(t.Context(), tx, one) }); err != nil {
				t.Fatal(err)
			}
		}
		put(row)
		row.Revision = 1
		got, err := s.Schedule(t.Context(), "app_1", "b")
		if diff := cmp.Diff(row, got, protocmp.Transform()); diff != "" || err != nil {
			t.Errorf("Schedule() = %v (-want +got):\n%s", err, diff)
		}
		by := store.Schedule{TargetID: "app_1", Name: "a", OrgID: "org_1", Spec: row.Spec, State: store.ScheduleDeleting, CreatedAt: now, UpdatedAt: now.Add(-time.Hour)}
		put(by)
		late, err := s.SchedulesToApply(t.Context(), 10)
		if err != nil || len(late) != 2 || late[0].Name != "a" {
			t.Errorf("SchedulesToApply() = %v, %v; want a, b", late, err)
		}
		if shown, err := s.SchedulesOf(t.Context(), nil, "app_1", "", 10, false); err != nil || len(shown) != 1 || shown[0].Name != "b" {
			t.Errorf("SchedulesOf() = %v, %v; want b", shown, err)
		}
		if all, err := s.SchedulesOf(t.Context(), nil, "app_1", "a", 10, true); err != nil || len(all) != 1 || all[0].Name != "b" {
			t.Errorf("SchedulesOf() after a = %v, %v; want b", all, err)
		}

		// A change in between is not taken for done.
		put(row)
		err = s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			if done, err := s.ScheduleApplied(t.Context(), tx, got, "digest"); done || err != nil {
				t.Errorf("ScheduleApplied() of an old revision = %v, %v", done, err)
			}
			got.Revision = 2
			if done, err := s.ScheduleApplied(t.Context(), tx, got, "digest"); !done || err != nil {
				t.Errorf("ScheduleApplied() = %v, %v", done, err)
			}
			gone, err := s.DropSchedule(t.Context(), tx, store.Schedule{TargetID: "app_1", Name: "a", Revision: 1})
			if !gone {
				t.Errorf("DropSchedule() = %v, %v", gone, err)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		got, err = s.Schedule(t.Context(), "app_1", "b")
		if err != nil || got.State != store.ScheduleReady || got.Applied != "digest" || got.Intent != (store.Intent{}) {
			t.Errorf("Schedule() = %+v, %v", got, err)
		}
		if n, err := s.CountSchedules(t.Context(), nil, "app_1"); n != 1 || err != nil {
			t.Errorf("CountSchedules() = %d, %v", n, err)
		}
		if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Schedule(t.Context(), "app_1", "b"); !fault.NotFound.Is(err) {
			t.Errorf("Schedule() of a deleted app = %v, want not found", err)
		}
	})
}
