package recipe_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

const (
	asksForWorker = `{"name":"x","dependencies":{"@temporalio/worker":"1.24.0"}}`
	workerLock    = `{"lockfileVersion":3,"packages":{"":{"dependencies":{"@temporalio/worker":"1.24.0"}}}}`
)

func TestWorkflowsOfNode(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		said                  string
		files                 map[string]string
		run                   []string
		workflows, activities string
		warning               string
	}{
		"without a server": {
			said: "node: {workflows: ./src/flows.ts}", files: map[string]string{"package.json": asksForWorker, "src/flows.ts": ""},
			workflows: "src/flows.ts",
		},
		"what a build makes, beside a server": {
			said:      "node: {build: true, entry: dist/server.js, workflows: dist/flows.js, activities: dist/steps.js, transport: stdio}",
			files:     map[string]string{"package.json": strings.Replace(asksForWorker, "{", `{"scripts":{"build":"tsc"},`, 1)},
			workflows: "dist/flows.js", activities: "dist/steps.js", run: []string{"dist/server.js"},
		},
		"what is not said is told": {
			said: "node: {transport: stdio}", files: map[string]string{"package.json": asksForWorker, "index.js": ""},
			run: []string{"index.js"}, warning: "node.workflows in agentcloud.yaml names the file",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tt.files["package-lock.json"] = workerLock
			got, err := plan(t, tt.said, tt.files)
			if err != nil {
				t.Fatalf("Make() = %v", err)
			}
			if diff := cmp.Diff(tt.run, got.Server.Run); diff != "" || got.Server.Kind != projectfile.NodeKind {
				t.Errorf("a %s that runs (-want +got):\n%s", got.Server.Kind, diff)
			}
			if n := got.Server.Node; n.Workflows != tt.workflows || n.Activities != tt.activities {
				t.Errorf("workflows %q and activities %q, want %q and %q", n.Workflows, n.Activities, tt.workflows, tt.activities)
			}
			if !strings.Contains(strings.Join(got.Warnings, "\n"), tt.warning) || tt.warning == "" && len(got.Warnings) > 0 {
				t.Errorf("warnings %q, want %q", got.Warnings, tt.warning)
			}
		})
	}
}

func TestWorkflowsOfNodeThatAreRefused(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ said, pkg, want string }{
		"without the SDK":       {"node: {workflows: a.js}", `{"name":"x"}`, "needs the package @temporalio/worker"},
		"for development only":  {"node: {workflows: a.js}", `{"devDependencies":{"@temporalio/worker":"1"}}`, "needs the package @temporalio/worker"},
		"activities for nobody": {"node: {activities: a.js}", asksForWorker, "no node.workflows that would use them"},
		"no file of it":         {"node: {workflows: ../a.js}", asksForWorker, "which is no file of the project"},
		"no module":             {"node: {workflows: a.py}", asksForWorker, "name a file that ends in .ts, .js"},
		"not there":             {"node: {workflows: b.js}", asksForWorker, "which is not in the project"},
		"activities not there":  {"node: {workflows: a.js, activities: b.js}", asksForWorker, "node.activities in agentcloud.yaml names b.js"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := plan(t, tt.said, map[string]string{"package.json": tt.pkg, "package-lock.json": workerLock, "a.js": ""})
			var problem *recipe.Problem
			if !errors.As(err, &problem) || !strings.Contains(problem.Reason, tt.want) {
				t.Errorf("Make() = %v, want %q", err, tt.want)
			}
		})
	}
}
