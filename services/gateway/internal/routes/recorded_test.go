package routes_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// TestSleepersAreAsTheyWere sees that what was recorded of an app reads the same while it
// sleeps, when it is packed.
func TestSleepersAreAsTheyWere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	app := endpoint("app_a", "v1")
	app.Kind, app.ToolsJson, app.WorkflowsJson = "mcp-agent", listed, `{"Echo":{"name":"Echo"}}`
	app.InitializeJson, app.DiscoverJson = `{"capabilities":{"tools":{}}}`, `{"a":1}`
	app.PromptsJson, app.ResourcesJson, app.ResourceTemplatesJson = `{"prompts":[]}`, `{"resources":[]}`, `{"resourceTemplates":[]}`
	w.Apps.Set(address("app_a"))
	w.Deployments.Set(app)
	w.until(t, "it is live", func() bool { r := w.table.Target("app_a"); return r != nil && r.Endpoint.Up() })
	before := everything(t, w.table.Target("app_a").Endpoint)
	for _, asleep := range []bool{true, false, true} {
		next := endpoint("app_a", "v1")
		next.Kind, next.ToolsJson, next.WorkflowsJson = app.Kind, app.ToolsJson, app.WorkflowsJson
		next.InitializeJson, next.DiscoverJson = app.InitializeJson, app.DiscoverJson
		next.PromptsJson, next.ResourcesJson, next.ResourceTemplatesJson = app.PromptsJson, app.ResourcesJson, app.ResourceTemplatesJson
		next.Asleep, next.Ready = asleep, !asleep
		w.Deployments.Set(next)
		w.until(t, "it falls asleep or wakes", func() bool { return w.table.Target("app_a").Endpoint.GetAsleep() == asleep })
		e := w.table.Target("app_a").Endpoint
		if diff := cmp.Diff(before, everything(t, e)); diff != "" {
			t.Errorf("asleep = %t, -before +after:\n%s", asleep, diff)
		}
		if kept := e.Endpoint.GetToolsJson(); asleep != (kept == "") {
			t.Errorf("asleep = %t, and %d bytes of tools are kept as they are", asleep, len(kept))
		}
	}
}

// everything is what was recorded, and what is made of it.
func everything(t *testing.T, e *routes.Endpoint) []string {
	t.Helper()
	all := []string{
		e.GetInitializeJson(), e.GetDiscoverJson(), e.GetToolsJson(), e.GetPromptsJson(), e.GetResourcesJson(), e.GetResourceTemplatesJson(),
		e.GetWorkflowsJson(), string(e.WorkflowsList()),
	}
	for _, method := range []string{modern.Discover, "tools/list", "prompts/list", "resources/list", "resources/templates/list"} {
		answer, ok := e.Catalogue().Answer(method, modern.Private)
		if !ok {
			t.Errorf("there is no answer to %s", method)
		}
		all = append(all, string(answer))
	}
	return all
}
