package store_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestReplaysOfAVersion(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 1))
		if none, err := s.Replays(t.Context(), "ver_1"); err != nil || !none.At.IsZero() {
			t.Errorf("Replays() before any = %+v, %v", none, err)
		}
		want := store.Replays{At: now, Policy: "warn", Unanswered: 1, Runs: []agentenv.Replay{
			{RunID: "a", Verdict: agentenv.VerdictOK}, {RunID: "b", Verdict: agentenv.VerdictDifferent, EventID: 5, Expected: "timer", Got: "activity x"},
		}}
		err := s.Tx(t.Context(), func(tx *sqldb.Tx) error { return s.SetReplays(t.Context(), tx, "ver_1", want) })
		if err != nil {
			t.Fatal(err)
		}
		got, err := s.Replays(t.Context(), "ver_1")
		if diff := cmp.Diff(want, got); err != nil || diff != "" {
			t.Errorf("Replays() = %v (-want +got):\n%s", err, diff)
		}
		if got.Broken() != 1 {
			t.Errorf("Broken() = %d, want 1", got.Broken())
		}
		if _, err := s.Replays(t.Context(), "ver_9"); !fault.NotFound.Is(err) {
			t.Errorf("Replays() of nothing = %v", err)
		}
	})
}

func TestVersionsAreNamedAndRevived(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 7))
		switchTo(t, s, "ver_1", now)
		for _, name := range []string{"ver_1", "7", "v7"} {
			if v, err := s.VersionNamed(t.Context(), "app_1", name); err != nil || v.ID != "ver_1" {
				t.Errorf("VersionNamed(%s) = %s, %v", name, v.ID, err)
			}
		}
		for _, name := range []string{"8", "", "x"} {
			if _, err := s.VersionNamed(t.Context(), "app_1", name); !fault.NotFound.Is(err) {
				t.Errorf("VersionNamed(%s) = %v, want not found", name, err)
			}
		}
		if _, err := s.VersionNamed(t.Context(), "app_2", "ver_1"); !fault.NotFound.Is(err) {
			t.Errorf("VersionNamed() of another app = %v, want not found", err)
		}
		state := func() store.State {
			v, err := s.Version(t.Context(), "ver_1")
			if err != nil {
				t.Fatal(err)
			}
			return v.State
		}
		if err := s.Revive(t.Context(), "ver_1"); err != nil || state() != store.Live {
			t.Errorf("Revive() of a live version = %v, now %s", err, state())
		}
		begin(t, s, version("ver_2", 8))
		switchTo(t, s, "ver_2", now)
		if err := s.Retire(t.Context(), "ver_1", now); err != nil || state() != store.Gone {
			t.Fatalf("Retire() = %v, now %s", err, state())
		}
		if err := s.Revive(t.Context(), "ver_1"); err != nil || state() != store.Draining {
			t.Errorf("Revive() = %v, now %s", err, state())
		}
	})
}
