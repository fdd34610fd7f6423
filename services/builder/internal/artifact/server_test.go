package artifact_test

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
)

func TestHowServersAreStarted(t *testing.T) {
	t.Parallel()
	const stdio, http = builderv1.Transport_TRANSPORT_STDIO, builderv1.Transport_TRANSPORT_HTTP
	lock := `{"packages":{"":{"dependencies":{"ms":"2"}},"node_modules/ms":{"version":"2.1.3"}}}`
	tests := map[string]struct {
		files    map[string]string
		language builderv1.Language
		// app is where the files are: "bundle", or the digest of a tool.
		app  string
		want func(app, environment string) *builderv1.Program
	}{
		"node": {
			files:    map[string]string{"package.json": `{"main":"a.js","dependencies":{"ms":"2"}}`, "package-lock.json": lock, "a.js": "StreamableHTTP", "agentcloud.yaml": "node: {args: [x], path: /p, env: {A: b}}"},
			language: builderv1.Language_LANGUAGE_NODE, app: "app-of-digest_one",
			want: func(app, _ string) *builderv1.Program {
				return &builderv1.Program{
					Kind: "node", Args: []string{"/usr/bin/node", filepath.Join(app, "a.js"), "x"}, Env: map[string]string{"A": "b"},
					Path: []string{filepath.Join(app, "node_modules", ".bin"), "/usr/bin"}, Transport: http, HttpPath: "/p",
				}
			},
		},
		"a file of the project": {
			files: map[string]string{"bin/run": "x", "agentcloud.yaml": "command: {run: [./bin/run, a], sessions: 3}"}, app: "bundle",
			want: func(app, _ string) *builderv1.Program {
				return &builderv1.Program{Kind: "command", Args: []string{filepath.Join(app, "bin", "run"), "a"}, Transport: stdio, Sessions: 3}
			},
		},
		"with packages of Python": {
			files: map[string]string{"requirements.txt": "fastmcp==3\n", "agentcloud.yaml": "command: {run: [fastmcp, run, a.py]}"}, app: "bundle",
			want: func(_, environment string) *builderv1.Program {
				return &builderv1.Program{
					Kind: "command", Args: []string{"fastmcp", "run", "a.py"}, Path: []string{filepath.Join(environment, "bin")}, Transport: stdio,
				}
			},
		},
		"an image": {
			files: map[string]string{"agentcloud.yaml": "image: {ref: 'a/b:1', env: {A: mine}}"}, app: "image-of-a/b:1",
			want: func(string, string) *builderv1.Program {
				return &builderv1.Program{
					Kind: "image", Args: []string{"/own", "x"}, Env: map[string]string{"A": "mine", "B": "b"}, Transport: stdio,
					Image: &builderv1.Image{Runc: "/usr/sbin/runc", Rootfs: "/root", Folder: "/", Uid: 7, Gid: 8},
				}
			},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 1)
			w.bundle(t, "one", tt.files)
			for range 2 { // made, and found made
				got := w.build(t.Context(), "one")
				if got.artifact == nil {
					t.Fatalf("build = %+v", got)
				}
				app := w.disk.Bundle("org_1", "digest_one")
				if tt.app != "bundle" {
					app = w.disk.Tool(digest(tt.app))
				}
				if got.artifact.GetAppPath() != app || got.artifact.GetLanguage() != tt.language {
					t.Errorf("it lies at %s in %v; want %s and %v", got.artifact.GetAppPath(), got.artifact.GetLanguage(), app, tt.language)
				}
				if diff := cmp.Diff(tt.want(app, got.artifact.GetEnvironmentPath()), got.artifact.GetProgram(), protocmp.Transform()); diff != "" {
					t.Errorf("how it is started (-want +got):\n%s", diff)
				}
			}
			if w.engine.made != 1 && tt.app != "bundle" {
				t.Errorf("it was made %d times", w.engine.made)
			}
		})
	}
}
