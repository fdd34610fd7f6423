package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestUpBeside(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		want := func(when string, at time.Time, want ...store.Beside) {
			t.Helper()
			if got, err := s.UpBeside(t.Context(), at); err != nil || cmp.Diff(want, got) != "" {
				t.Errorf("%s UpBeside() = %v, %v; want %v", when, got, err, want)
			}
		}
		deployed(t, s, 2)
		parked(t, s, 3)
		want("with one that is warm and one that waits", now)
		want("when it is warm no more", now.Add(time.Hour), store.Beside{VersionID: "ver_1", Drains: true})
		if _, _, err := try(t, s, "rol_1", "ver_3"); err != nil {
			t.Fatal(err)
		}
		want("in a rollout", now, store.Beside{VersionID: "ver_3"})
		if _, _, err := s.BeginPromote(t.Context(), "app_1", "ver_3", "", now); err != nil {
			t.Fatal(err)
		}
		want("in its promotion", now)
		if _, err := s.EndPromote(t.Context(), "app_1", "ver_3", now); err != nil {
			t.Fatal(err)
		}
		if ended, err := s.EndRollout(t.Context(), "rol_1", store.RolloutAborted, "", "because", now); err != nil || !ended {
			t.Fatalf("EndRollout() = %v, %v", ended, err)
		}
		want("after the rollout", now, store.Beside{VersionID: "ver_3", Drains: true})
	})
}
