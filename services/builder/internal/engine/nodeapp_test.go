package engine_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

const (
	nodePackage = `{"name":"app","version":"0.0.0","private":true,"dependencies":{"ms":"2.1.3"},"devDependencies":{"has-flag":"4.0.0"}}`
	nodeLock    = `{"name":"app","version":"0.0.0","lockfileVersion":3,"packages":{"":{"dependencies":{"ms":"2.1.3"},"devDependencies":{"has-flag":"4.0.0"}},"node_modules/has-flag":{"version":"4.0.0","dev":true},"node_modules/ms":{"version":"2.1.3"}}}`
)

// nodeFiles is a project whose build needs a package that the server does not.
func nodeFiles(t *testing.T, build string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"package.json": `{"name":"x","version":"1.2.3","scripts":{"build":"node build.js","postinstall":"exit 1"}}`,
		"build.js":     build,
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

const goodBuild = `require("has-flag"); const fs = require("fs"); fs.mkdirSync("dist"); fs.writeFileSync("dist/server.js", "console.log(require('ms')('2 days'))")`

func newNodeWorld(t *testing.T) (*world, engine.NodeApp) {
	t.Helper()
	w := newWorld(t)
	version, err := w.engine.NodeVersion(t.Context())
	if err != nil {
		t.Skip(err)
	}
	return w, engine.NodeApp{
		Node:  recipe.Node{Version: version, Package: nodePackage, Lock: nodeLock, Build: "build"},
		Files: nodeFiles(t, goodBuild), Owner: "org_1", Digest: "one", Entry: "dist/server.js",
	}
}

func TestANodeAppIsBuiltAndSharesItsPackages(t *testing.T) {
	t.Parallel()
	w, app := newNodeWorld(t)
	sink := func(line string) { w.lines = append(w.lines, line) }
	first, modules, err := w.engine.NodeApp(t.Context(), app, sink)
	if err != nil {
		t.Fatalf("NodeApp() = %v\n%s", err, strings.Join(w.lines, "\n"))
	}
	out, err := exec.CommandContext(t.Context(), "node", filepath.Join(w.disk.Tool(first), "dist", "server.js")).CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "172800000" {
		t.Errorf("the server says %q, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(w.disk.Tool(first), "node_modules", "has-flag")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a package that only the build needs is there: %v", err)
	}
	w.lines = nil
	app.Digest = "two" // another version of the project with the same lock
	second, shared, err := w.engine.NodeApp(t.Context(), app, sink)
	if err != nil || shared != modules || second == first {
		t.Errorf("NodeApp() = %s, %s, %v; want another app and %s", second, shared, err, modules)
	}
	if said := strings.Join(w.lines, "\n"); strings.Contains(said, "installing") {
		t.Errorf("it installs again: %s", said)
	}
	w.lines = nil
	if again, _, err := w.engine.NodeApp(t.Context(), app, sink); again != second || err != nil || strings.Contains(strings.Join(w.lines, "\n"), "running") {
		t.Errorf("NodeApp() again = %s, %v, %v; want %s and no build", again, err, w.lines, second)
	}
	if w.left(t, "staging") != 0 {
		t.Error("something is left in staging")
	}
}

func TestNodeAppsThatCannotBeBuilt(t *testing.T) {
	t.Parallel()
	w, app := newNodeWorld(t)
	tests := map[string]struct {
		change func(*engine.NodeApp)
		says   string
	}{
		"the script fails":  {func(a *engine.NodeApp) { a.Files = nodeFiles(t, `throw new Error("no luck")`) }, "no luck"},
		"it makes no entry": {func(a *engine.NodeApp) { a.Entry = "dist/other.js" }, "made no dist/other.js"},
		"the lock is older": {func(a *engine.NodeApp) { a.Package = strings.Replace(nodePackage, "2.1.3", "2.1.2", 1) }, "do not agree"},
		"there is no package": {func(a *engine.NodeApp) {
			a.Lock = strings.ReplaceAll(nodeLock, "2.1.3", "2.99.99")
			a.Package = strings.Replace(nodePackage, "2.1.3", "2.99.99", 1)
		}, "the registry does not have"},
	}
	for name, tt := range tests {
		broken := app
		broken.Digest = name
		tt.change(&broken)
		_, _, err := w.engine.NodeApp(t.Context(), broken, func(string) {})
		var problem *recipe.Problem
		if !errors.As(err, &problem) || !strings.Contains(problem.Reason+problem.Detail, tt.says) {
			t.Errorf("%s: NodeApp() = %v, want %q", name, err, tt.says)
		}
	}
	if w.left(t, "staging") != 0 {
		t.Error("something is left in staging")
	}
}
