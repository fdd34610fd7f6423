package agenthost_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
)

// sdk is as much of Temporal's packages as a bundle needs.
func sdk(version string) map[string]string {
	const at = "node_modules/@temporalio/"
	files := map[string]string{
		at + "worker/package.json": `{"name":"@temporalio/worker","version":"` + version + `"}`,
		at + "worker/index.js":     "exports.DefaultLogger = class {}; exports.bundleWorkflowCode = async ({ workflowsPath }) => ({ code: '// ' + workflowsPath });",
	}
	for _, name := range []string{"workflow/index.js", "activity/index.js", "common/index.js", "common/lib/time.js"} {
		files[at+name] = ""
	}
	return files
}

// bundle runs the script on a project.
func bundle(t *testing.T, files ...map[string]string) (app, said string) {
	t.Helper()
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip(err)
	}
	host, err := agenthost.Extract(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	app = t.TempDir()
	for _, some := range append(files, map[string]string{"package.json": "{}"}) {
		for name, text := range some {
			file := filepath.Join(app, name)
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	out, _ := exec.CommandContext(t.Context(), node, filepath.Join(host, agenthost.NodeBundle), app, "flows.js").CombinedOutput() //nolint:gosec // our own script
	return app, string(out)
}

func TestWorkflowsAreBundledAndDescribed(t *testing.T) {
	t.Parallel()
	const flows = `exports.Ship = async () => {}; exports.Broken = class Broken extends Error {}; exports.resume = { name: "resume" };
		exports.tools = { Ship: { description: "Ships.", input: { properties: { a: {} } } } }; exports.Lose = function () {};`
	app, said := bundle(t, sdk("1.12.0"), map[string]string{"flows.js": flows})
	if !strings.Contains(said, "bundled 2 workflows with @temporalio/worker 1.12.0") {
		t.Fatalf("it says %s", said)
	}
	described, err := os.ReadFile(filepath.Join(app, agenthost.NodeDescribed))
	if want := `[{"name":"Lose","description":""},{"name":"Ship","description":"Ships.","input":{"properties":{"a":{}},"type":"object"}}]`; err != nil || string(described) != want {
		t.Errorf("described: %s, %v, want %s", described, err, want)
	}
	if code, err := os.ReadFile(filepath.Join(app, agenthost.NodeBundled)); err != nil || !strings.HasSuffix(string(code), ";// "+filepath.Join(app, "flows.js")) {
		t.Errorf("bundled: %s, %v", code, err)
	}
}

func TestWorkflowsThatCannotBeBundled(t *testing.T) {
	t.Parallel()
	const one = "exports.Ship = async () => {};"
	for want, files := range map[string][]map[string]string{
		"the project has workflows, and not the package @temporalio/worker; add":  {{"flows.js": one}},
		"@temporalio/worker 1.11.8 cannot keep runs on the version they began on": {sdk("1.11.8"), {"flows.js": one}},
		"there is no flows.js":               {sdk("1.12.0")},
		"flows.js exports no function":       {sdk("1.12.0"), {"flows.js": "exports.tools = {}"}},
		"flows.js cannot be loaded: no luck": {sdk("1.12.0"), {"flows.js": "throw new Error('no luck')"}},
		"tools.Shipp in flows.js describes a workflow that is not exported; there are: Ship": {sdk("1.12.0"), {"flows.js": one + "exports.tools = { Shipp: {} }"}},
		"tools.Ship.description in flows.js is no text":                                      {sdk("1.12.0"), {"flows.js": one + "exports.tools = { Ship: { description: 1 } }"}},
		"tools.Ship.input in flows.js is no JSON schema of an object":                        {sdk("1.12.0"), {"flows.js": one + "exports.tools = { Ship: { input: { type: 'array' } } }"}},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			if _, said := bundle(t, files...); !strings.Contains(said, "\n"+agenthost.NodeProblem+want) && !strings.HasPrefix(said, agenthost.NodeProblem+want) {
				t.Errorf("it says %s", said)
			}
		})
	}
}
