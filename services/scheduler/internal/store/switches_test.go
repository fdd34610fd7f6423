package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// deployed takes versions 1 to n of app_1 live, one after another, each of which keeps
// the one before warm.
func deployed(t *testing.T, s *store.Store, n int64) {
	t.Helper()
	for number := int64(1); number <= n; number++ {
		v := version(name(number), number)
		begin(t, s, v)
		warmly(t, s, v.ID)
	}
}

func name(number int64) string { return "ver_" + string(rune('0'+number)) }

// warmly switches and keeps the one before up for an hour.
func warmly(t *testing.T, s *store.Store, versionID string) {
	t.Helper()
	switchTo(t, s, versionID, now)
	if err := s.Tx(t.Context(), func(tx *sqldb.Tx) error { return s.KeepWarm(t.Context(), tx, "app_1", now.Add(time.Hour)) }); err != nil {
		t.Fatal(err)
	}
}

func life(t *testing.T, s *store.Store, n int64) map[string]store.State {
	t.Helper()
	all := map[string]store.State{}
	for number := int64(1); number <= n; number++ {
		if v, err := s.Version(t.Context(), name(number)); err == nil {
			all[v.ID] = v.State
		}
	}
	return all
}

func warmth(t *testing.T, s *store.Store, versionID string) time.Duration {
	t.Helper()
	left, err := s.Warm(t.Context(), versionID, now)
	if err != nil {
		t.Fatal(err)
	}
	return left
}

func promote(t *testing.T, s *store.Store, versionID string) {
	t.Helper()
	if live, _, err := s.BeginPromote(t.Context(), "app_1", versionID, "", now); err != nil || live {
		t.Fatalf("BeginPromote(%s) = %v, %v", versionID, live, err)
	}
	warmly(t, s, versionID)
}

func previous(t *testing.T, s *store.Store) string {
	t.Helper()
	id, err := s.Previous(t.Context(), "app_1")
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestOnlyTheLastVersionStaysWarm(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		deployed(t, s, 3)
		if cooled, err := s.Cooled(t.Context(), "app_1"); err != nil || !cmp.Equal(cooled, []string{"ver_1"}) {
			t.Errorf("Cooled() = %v, %v; want the version before the last", cooled, err)
		}
		if one, two := warmth(t, s, "ver_1"), warmth(t, s, "ver_2"); one != 0 || two != time.Hour {
			t.Errorf("warm for %s and %s, want 0 and an hour", one, two)
		}
		if cooled, err := s.Cooled(t.Context(), "app_1"); err != nil || len(cooled) != 0 {
			t.Errorf("Cooled() when it is known = %v, %v; want none", cooled, err)
		}
		if left, err := s.Warm(t.Context(), "ver_2", now.Add(2*time.Hour)); err != nil || left != 0 {
			t.Errorf("Warm() later = %v, %v", left, err)
		}
	})
}

func TestPromotions(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		deployed(t, s, 3)
		if err := s.Retire(t.Context(), "ver_1", now); err != nil {
			t.Fatal(err)
		}
		if got := previous(t, s); got != "ver_2" {
			t.Errorf("Previous() = %s, want ver_2", got)
		}
		promote(t, s, "ver_1") // it was over
		if diff := cmp.Diff(map[string]store.State{"ver_1": store.Live, "ver_2": store.Draining, "ver_3": store.Draining}, life(t, s, 3)); diff != "" {
			t.Errorf("states after a rollback (-want +got):\n%s", diff)
		}
		if got := previous(t, s); got != "ver_3" {
			t.Errorf("Previous() after a rollback = %s, want ver_3", got)
		}
		if old, err := s.NewestDraining(t.Context(), "app_1"); err != nil || old != "ver_3" || warmth(t, s, "ver_3") != time.Hour {
			t.Errorf("NewestDraining() = %s, %v, want the one that was live, warm", old, err)
		}
		v, err := s.Version(t.Context(), "ver_1")
		if err != nil || v.Switched != 4 {
			t.Errorf("Version() = %+v, %v, want it made live by the fourth switch", v, err)
		}
		if live, _, err := s.BeginPromote(t.Context(), "app_1", "ver_1", "", now); err != nil || !live {
			t.Errorf("BeginPromote() of the live version = %v, %v", live, err)
		}
		begin(t, s, version("ver_4", 4)) // and the next deploy works
		if _, pending, err := s.BeginPromote(t.Context(), "app_1", "ver_3", "", now); !fault.Conflict.Is(err) || pending != "ver_4" {
			t.Errorf("BeginPromote() beside a deploy = %q, %v, want a conflict with ver_4", pending, err)
		}
		warmly(t, s, "ver_4")
		if got := life(t, s, 4); got["ver_4"] != store.Live || got["ver_1"] != store.Draining {
			t.Errorf("states after the next deploy = %v", got)
		}
	})
}

func TestAPromotionIsTakenBack(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		deployed(t, s, 2)
		if _, _, err := s.BeginPromote(t.Context(), "app_1", "ver_1", "", now); err != nil {
			t.Fatal(err)
		}
		if err := s.Retire(t.Context(), "ver_1", now); err != nil {
			t.Fatal(err)
		}
		if unwanted, err := s.Unwanted(t.Context(), "ver_1"); err != nil || unwanted {
			t.Errorf("Unwanted() of a version that is promoted = %v, %v", unwanted, err)
		}
		if got := life(t, s, 2)["ver_1"]; got != store.Draining {
			t.Errorf("a version that is promoted was retired: %s", got)
		}
		if drains, err := s.EndPromote(t.Context(), "app_1", "ver_1", now); err != nil || !drains {
			t.Errorf("EndPromote() = %v, %v, want that it drains", drains, err)
		}
		target, err := s.Target(t.Context(), "app_1")
		if err != nil || target.Live != "ver_2" || target.Pending != "" {
			t.Errorf("Target() = %+v, %v, want ver_2 live and nothing pending", target, err)
		}
	})
}

func TestVersionsThatWait(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		deployed(t, s, 1)
		park := func(number int64) (again bool) {
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) (err error) {
				again, err = s.Park(t.Context(), tx, "app_1", name(number), "by hand", now)
				return err
			})
			if err != nil {
				t.Fatalf("Park(%d) = %v", number, err)
			}
			return again
		}
		for number := int64(2); number <= 3; number++ {
			begin(t, s, version(name(number), number))
			if park(number) || !park(number) {
				t.Error("Park() did not tell its second time from its first")
			}
		}
		want := map[string]store.State{"ver_1": store.Live, "ver_2": store.Draining, "ver_3": store.Ready}
		if diff := cmp.Diff(want, life(t, s, 3)); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
		if cooled, err := s.Cooled(t.Context(), "app_1"); err != nil || !cmp.Equal(cooled, []string{"ver_2"}) {
			t.Errorf("Cooled() = %v, %v; want the one that waits no longer", cooled, err)
		}
		if id, err := s.Previous(t.Context(), "app_1"); !fault.NotFound.Is(err) {
			t.Errorf("Previous() = %s, %v; want none that was live", id, err)
		}
		promote(t, s, "ver_3")
		if got := previous(t, s); got != "ver_1" {
			t.Errorf("Previous() = %s, want ver_1", got)
		}
		begin(t, s, version("ver_4", 4))
		park(4)
		promote(t, s, "ver_1") // older than the one that waits, which stays
		if got := life(t, s, 4)["ver_4"]; got != store.Ready {
			t.Errorf("a rollback made of the newer version that waits: %s", got)
		}
	})
}

func TestOldVersionsGo(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		deployed(t, s, 5)
		for _, id := range []string{"ver_1", "ver_2", "ver_3"} {
			if err := s.Retire(t.Context(), id, now); err != nil {
				t.Fatal(err)
			}
		}
		run := store.Run{RunID: "r1", WorkflowID: "w1", TargetID: "app_1", OrgID: "org_1", VersionID: "ver_1", StartedAt: now}
		if err := s.Tx(t.Context(), func(tx *sqldb.Tx) error { _, err := s.InsertRun(t.Context(), tx, run); return err }); err != nil {
			t.Fatal(err)
		}
		old, err := s.Superfluous(t.Context(), 3, 10)
		if err != nil || len(old) != 1 || old[0].ID != "ver_2" {
			t.Errorf("Superfluous() = %v, %v; want ver_2 alone, for a run needs ver_1", old, err)
		}
		if open, err := s.HasOpenRuns(t.Context(), "ver_1"); err != nil || !open {
			t.Errorf("HasOpenRuns() = %v, %v", open, err)
		}
		for id, want := range map[string]bool{"ver_2": true, "ver_5": false, "ver_4": false} {
			var gone bool
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) (err error) {
				gone, err = s.DeleteVersion(t.Context(), tx, id)
				return err
			})
			if err != nil || gone != want {
				t.Errorf("DeleteVersion(%s) = %v, %v; want %v", id, gone, err, want)
			}
		}
		if err := s.EndVersion(t.Context(), version("ver_5", 5)); !fault.Conflict.Is(err) {
			t.Errorf("EndVersion() of the live version = %v, want a conflict", err)
		}
		if err := s.EndVersion(t.Context(), version("ver_4", 4)); err != nil || life(t, s, 5)["ver_4"] != store.Gone {
			t.Errorf("EndVersion() of a warm version = %v, want it over", err)
		}
	})
}
