package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

var (
	now   = time.UnixMilli(1_800_000_000_000)
	later = now.Add(time.Hour)
)

// each runs a test on both dialects.
func each(t *testing.T, body func(*testing.T, *store.Store)) {
	t.Helper()
	t.Parallel()
	dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) { body(t, store.New(db)) })
}

func must[T any](t *testing.T) func(T, error) T {
	t.Helper()
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func bundle(id, owner string) store.Bundle {
	return store.Bundle{ID: id, OrgID: "org_1", Owner: owner, Digest: "d", Files: 1, Bytes: 2, UsedAt: now}
}

func TestBundles(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		if id := must[string](t)(s.KeepBundle(t.Context(), bundle("bdl_1", "app_1"))); id != "bdl_1" {
			t.Errorf("KeepBundle() = %s", id)
		}
		if id := must[string](t)(s.KeepBundle(t.Context(), bundle("bdl_2", "app_1"))); id != "bdl_1" {
			t.Errorf("the same files of the same owner are %s", id)
		}
		must[string](t)(s.KeepBundle(t.Context(), bundle("bdl_3", "app_2")))
		if got := must[store.Bundle](t)(s.FindBundle(t.Context(), "org_1", "bdl_1")); !cmp.Equal(got, bundle("bdl_1", "app_1")) {
			t.Errorf("FindBundle() = %+v", got)
		}
		if _, err := s.FindBundle(t.Context(), "org_2", "bdl_1"); !fault.NotFound.Is(err) {
			t.Errorf("FindBundle() for a stranger = %v", err)
		}
	})
}

func TestRemovedIsOnlyWhatIsOld(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for id, owner := range map[string]string{"bdl_1": "app_1", "bdl_2": "app_2"} {
			must[string](t)(s.KeepBundle(t.Context(), bundle(id, owner)))
		}
		check(t, s.SaveBuild(t.Context(), store.Build{BundleID: "bdl_1", Rules: "r", Environments: map[string]string{"app": "e"}, MadeAt: now}))
		remove := func(b store.Bundle) (gone, last bool) {
			gone, last, err := s.RemoveBundle(t.Context(), b, later)
			check(t, err)
			return gone, last
		}
		check(t, s.TouchBundle(t.Context(), "bdl_1", later))
		if gone, _ := remove(bundle("bdl_1", "app_1")); gone {
			t.Error("one that was used meanwhile is gone")
		}
		if old := must[[]store.Bundle](t)(s.Bundles(t.Context(), later)); len(old) != 1 || old[0].ID != "bdl_2" {
			t.Errorf("Bundles() = %+v", old)
		}
		if gone, last := remove(bundle("bdl_2", "app_2")); !gone || last {
			t.Errorf("the first of two with that content: gone %v, last %v", gone, last)
		}
		check(t, s.TouchBundle(t.Context(), "bdl_1", now))
		if gone, last := remove(bundle("bdl_1", "app_1")); !gone || !last {
			t.Errorf("the second: gone %v, last %v", gone, last)
		}
		if must[bool](t)(s.HasContent(t.Context(), "org_1", "d")) {
			t.Error("the content is known still")
		}
		if left := must[[]store.Build](t)(s.Builds(t.Context())); len(left) > 0 {
			t.Errorf("its builds are there still: %v", left)
		}
	})
}

func TestBuilds(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		want := store.Build{BundleID: "bdl_1", Rules: "r", ArtifactID: "art_1", Environments: map[string]string{"app": "a", "server/x": "b"}, MadeAt: now}
		if _, found, err := s.FindBuild(t.Context(), "bdl_1", "r"); found || err != nil {
			t.Errorf("FindBuild() of none = %v, %v", found, err)
		}
		must[string](t)(s.KeepBundle(t.Context(), bundle("bdl_1", "app_1")))
		check(t, s.SaveBuild(t.Context(), store.Build{BundleID: "bdl_1", Rules: "r", MadeAt: now}))
		check(t, s.SaveBuild(t.Context(), want))
		got, found, err := s.FindBuild(t.Context(), "bdl_1", "r")
		if diff := cmp.Diff(want, got); err != nil || !found || diff != "" {
			t.Errorf("FindBuild() = %v, %v (-want +got):\n%s", found, err, diff)
		}
		if _, found, err := s.FindBuild(t.Context(), "bdl_1", "other rules"); found || err != nil {
			t.Errorf("FindBuild() under other rules = %v, %v", found, err)
		}
	})
}

func TestEnvironmentsAndResolutions(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		check(t, s.UseEnvironment(t.Context(), store.Environment{Digest: "e", Kind: store.KindTool, UsedAt: now}))
		if gone := must[bool](t)(s.RemoveEnvironment(t.Context(), "e", now)); gone {
			t.Error("one that is just used is gone")
		}
		if old := must[[]store.Environment](t)(s.Environments(t.Context(), later)); len(old) != 1 || old[0].Kind != store.KindTool {
			t.Errorf("Environments() = %+v", old)
		}
		if gone := must[bool](t)(s.RemoveEnvironment(t.Context(), "e", later)); !gone {
			t.Error("an old one stays")
		}
		want := store.Resolution{Lock: "l", Environment: "e", MadeAt: now}
		check(t, s.SaveResolution(t.Context(), "in", want))
		if got, found, err := s.FindResolution(t.Context(), "in"); err != nil || !found || !cmp.Equal(got, want) {
			t.Errorf("FindResolution() = %+v, %v, %v", got, found, err)
		}
		check(t, s.PruneResolutions(t.Context(), later))
		if _, found, err := s.FindResolution(t.Context(), "in"); err != nil || found {
			t.Errorf("after its age it is found: %v, %v", found, err)
		}
	})
}
