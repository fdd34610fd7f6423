package artifact_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

func TestDescribeArtifact(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	w.bundle(t, "b1", map[string]string{"main.py": project["main.py"], "lib/x.txt": "hello", "requirements.txt": "mcp-agent\n"})
	r := w.build(t.Context(), "b1")
	if r.artifact == nil {
		t.Fatalf("build = %+v", r)
	}
	digest := r.artifact.GetEnvironmentDigest()
	for _, name := range []string{"mcp_agent-0.2.6.dist-info", "PyYAML-6.0.2.dist-info", "PyYAML"} {
		if err := os.MkdirAll(filepath.Join(w.disk.Environment(digest), "lib", "python3.11", "site-packages", name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	describe := func(bundle, org, environment string) *builderv1.DescribeArtifactResponse {
		t.Helper()
		res, err := w.client.DescribeArtifact(t.Context(), &builderv1.DescribeArtifactRequest{BundleId: bundle, OrgId: org, EnvironmentDigest: environment})
		if err != nil {
			t.Fatal(err)
		}
		return res
	}
	got := describe("b1", "org_1", digest)
	var paths []string
	for _, f := range got.GetFiles() {
		paths = append(paths, f.GetPath())
	}
	if diff := cmp.Diff([]string{"lib/x.txt", "main.py", "requirements.txt"}, paths); diff != "" || !got.GetFilesKept() || !got.GetEnvironmentKept() {
		t.Errorf("DescribeArtifact() = %v, files (-want +got):\n%s", got, diff)
	}
	const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
	if f := got.GetFiles()[0]; f.GetDigest() != hello || f.GetBytes() != 5 {
		t.Errorf("file = %v, want its digest and size", f)
	}
	want := []*builderv1.Package{{Name: "mcp-agent", Version: "0.2.6"}, {Name: "pyyaml", Version: "6.0.2"}}
	if diff := cmp.Diff(want, got.GetPackages(), protocmp.Transform()); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if got := describe("b1", "org_2", "abcd"); got.GetFilesKept() || got.GetEnvironmentKept() || len(got.GetFiles()) > 0 {
		t.Errorf("DescribeArtifact() for a stranger, of no environment = %v", got)
	}
	_, err := w.client.DescribeArtifact(t.Context(), &builderv1.DescribeArtifactRequest{BundleId: "b1", OrgId: "org_1", EnvironmentDigest: "../" + digest})
	if !fault.Invalid.Is(err) {
		t.Errorf("DescribeArtifact() of a path = %v", err)
	}
}

func TestDescribeNodePackages(t *testing.T) {
	t.Parallel()
	w := newWorld(t, 1)
	const digest = "abcd"
	folder := filepath.Join(w.disk.Tool(digest), "node_modules")
	lock := `{"packages":{"node_modules/zod":{"version":"4.1.0"},"node_modules/@a/b":{"version":"1.0.0"},"node_modules/@a/b/node_modules/zod":{"version":"3.2.0"}}}`
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, ".package-lock.json"), []byte(lock), 0o600); err != nil {
		t.Fatal(err)
	}
	res, err := w.client.DescribeArtifact(t.Context(), &builderv1.DescribeArtifactRequest{BundleId: "b1", OrgId: "org_1", EnvironmentDigest: digest})
	want := []*builderv1.Package{{Name: "@a/b", Version: "1.0.0"}, {Name: "@a/b > zod", Version: "3.2.0"}, {Name: "zod", Version: "4.1.0"}}
	if diff := cmp.Diff(want, res.GetPackages(), protocmp.Transform()); err != nil || diff != "" || !res.GetEnvironmentKept() {
		t.Errorf("DescribeArtifact() = %v, %v, packages (-want +got):\n%s", res, err, diff)
	}
}
