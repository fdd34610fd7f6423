package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestSleepers(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 1))
		put := func(one store.Sleeper) (fresh bool) {
			t.Helper()
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) (err error) {
				fresh, err = s.PutSleeper(t.Context(), tx, one)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return fresh
		}
		server := store.Sleeper{VersionID: "ver_1", TargetID: "app_1", OrgID: "org_1", Role: agentenv.RoleServer, Since: now}
		worker, other := server, server
		worker.Role, other.VersionID, other.TargetID = agentenv.RoleWorker, "ver_gone", "app_2"
		if !put(server) || put(server) || !put(worker) || !put(other) {
			t.Error("PutSleeper() does not tell a new one from one that slept")
		}
		if all, err := s.SleepersOf(t.Context(), "ver_1"); err != nil || cmp.Diff([]store.Sleeper{server, worker}, all) != "" {
			t.Errorf("SleepersOf() = %v, %v", all, err)
		}
		if asleep, err := s.Asleep(t.Context(), "app_1", agentenv.RoleWorker); err != nil || !asleep {
			t.Errorf("Asleep() = %v, %v", asleep, err)
		}
		// Nothing of theirs can come by itself, but by an open run.
		if all, err := s.Stirrable(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("Stirrable() = %v, %v, want none", all, err)
		}
		run := func(id, typ, version string) {
			t.Helper()
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
				_, err := s.InsertRun(t.Context(), tx, store.Run{
					RunID: id, WorkflowID: id, TargetID: "app_1", OrgID: "org_1", VersionID: version, Type: typ, StartedAt: now.Add(time.Second),
				})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		run("r1", "Class", "ver_1")
		run("r2", agentenv.ToolWorkflow("add"), "ver_1")
		run("r3", "Class", "ver_0")
		run("r4", "Class", "")
		if all, err := s.Stirrable(t.Context()); err != nil || cmp.Diff([]string{"app_1"}, all) != "" {
			t.Errorf("Stirrable() = %v, %v", all, err)
		}
		for tools, want := range map[bool]int{true: 1, false: 2} {
			if all, err := s.OpenRunsOf(t.Context(), "app_1", "ver_1", tools, 10); err != nil || len(all) != want {
				t.Errorf("OpenRunsOf(tools: %v) = %v, %v, want %d", tools, all, err, want)
			}
		}
		if err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := s.Switch(t.Context(), tx, "app_1", "ver_1", now)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if err := s.ForgetSleepers(t.Context()); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Sleepers(t.Context()); err != nil || cmp.Diff([]store.Sleeper{server, worker}, all) != "" {
			t.Errorf("Sleepers() = %v, %v, want those of versions that there are", all, err)
		}
		if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Sleepers(t.Context()); err != nil || len(all) != 0 {
			t.Errorf("Sleepers() of a deleted app = %v, %v", all, err)
		}
	})
}

func TestWarmBeside(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		switchTo := func(v store.Version) {
			t.Helper()
			begin(t, s, v)
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
				_, err := s.Switch(t.Context(), tx, v.TargetID, v.ID, now)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		switchTo(version("ver_1", 1))
		switchTo(version("ver_2", 2))
		sleeps := func(versionID string) {
			t.Helper()
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
				_, err := s.PutSleeper(t.Context(), tx, store.Sleeper{VersionID: versionID, TargetID: "app_1", OrgID: "org_1", Role: agentenv.RoleServer, Since: now})
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		warm := func(want ...string) {
			t.Helper()
			all, err := s.WarmBeside(t.Context(), now, 10)
			var got []string
			for _, v := range all {
				got = append(got, v.ID)
			}
			if err != nil || cmp.Diff(want, got) != "" {
				t.Errorf("WarmBeside() = %v, %v; want %v", got, err, want)
			}
		}
		sleeps("ver_2")
		warm() // it only drains
		if err := s.Tx(t.Context(), func(tx *sqldb.Tx) error { return s.KeepWarm(t.Context(), tx, "app_1", now.Add(time.Hour)) }); err != nil {
			t.Fatal(err)
		}
		warm("ver_1")
		sleeps("ver_1")
		warm()
	})
}
