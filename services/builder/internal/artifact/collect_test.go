package artifact_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

// kept lists what is on the disk, by the last part of each name.
func (w *world) kept(t *testing.T, pattern ...string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(append([]string{w.disk.Root()}, pattern...)...))
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range found {
		found[i] = filepath.Base(name)
	}
	return found
}

func TestGarbage(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	ids := map[string]string{}
	for id, requirement := range map[string]string{"needed": "a==1", "artifact": "b==1", "garbage": "c==1"} {
		w.bundle(t, id, map[string]string{"main.py": project["main.py"], "requirements.txt": "mcp-agent\n" + requirement + "\n"})
		r := w.build(t.Context(), id)
		if r.artifact == nil {
			t.Fatalf("build = %+v", r)
		}
		ids[id] = r.artifact.GetArtifactId()
	}
	orphan := w.disk.Environment("orphan")
	if err := os.Mkdir(orphan, 0o700); err != nil {
		t.Fatal(err)
	}
	collect := func() *builderv1.CollectGarbageResponse {
		res, err := w.client.CollectGarbage(t.Context(), &builderv1.CollectGarbageRequest{
			BundleIds: []string{"needed"}, ArtifactIds: []string{ids["artifact"]}, NotAfter: timestamppb.New(w.now()),
		})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	if res := collect(); res.GetBundles() != 0 || res.GetEnvironments() != 0 || len(w.kept(t, "environments", "*")) != 4 {
		t.Errorf("what is young went: %v", res)
	}
	w.ahead.Store(int64(2 * grace))
	w.bundle(t, "young", project)
	if res := collect(); res.GetBundles() != 1 || res.GetEnvironments() != 1 {
		t.Errorf("CollectGarbage() = %v, want one bundle and its environment", res)
	}
	if got := w.kept(t, "bundles", "org_1", "*"); !slices.Equal(got, []string{"digest_artifact", "digest_needed", "digest_young"}) {
		t.Errorf("bundles kept: %v", got)
	}
	if got := w.kept(t, "environments", "*"); len(got) != 2 || slices.Contains(got, "orphan") {
		t.Errorf("environments kept: %v", got)
	}
	if left := w.kept(t, "staging", "*"); len(left) != 0 {
		t.Errorf("left in staging: %v", left)
	}
	if r := w.build(t.Context(), "needed"); r.artifact.GetArtifactId() != ids["needed"] || w.engine.installs() != 3 {
		t.Errorf("what is needed had to be built again: %+v", r)
	}
}

func TestTheCallersMomentCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 2)
	w.bundle(t, "b1", project)
	listed := w.now().Add(-time.Second) // the caller looked before the upload
	w.ahead.Store(int64(2 * grace))
	res, err := w.client.CollectGarbage(t.Context(), &builderv1.CollectGarbageRequest{NotAfter: timestamppb.New(listed)})
	if err != nil || res.GetBundles() != 0 {
		t.Errorf("CollectGarbage() = %v, %v", res, err)
	}
}
