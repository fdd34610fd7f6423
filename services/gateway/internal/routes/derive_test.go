package routes_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const listed = `{"tools":[
	{"name":"workflows-list","outputSchema":{"properties":{"result":{"type":"object"}},"required":["result"],"type":"object"}},
	{"name":"direct","outputSchema":{"properties":{"a":{},"result":{}},"type":"object"}},
	{"name":"slow","description":"no schema"}]}`

func TestNativeTools(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	framework := endpoint("app_a", "v1")
	framework.Kind, framework.ToolsJson, framework.WorkflowsJson = "mcp-agent", listed, `{"Echo":{"name":"Echo"}}`
	framework.Workflows, framework.AsyncTools, framework.SyncTools = []string{"Echo"}, []string{"slow"}, []string{"add"}
	plain := endpoint("app_b", "v1")
	plain.Kind, plain.ToolsJson = "fastmcp", listed
	flows := endpoint("app_c", "v1")
	flows.Kind, flows.ToolsJson, flows.Workflows = "node", listed, []string{"Ship"}
	w.Apps.Set(address("app_a"), address("app_b"), address("app_c"))
	w.Deployments.Set(framework, plain, flows)
	w.until(t, "all are live", func() bool {
		a, b, c := w.table.Target("app_a"), w.table.Target("app_b"), w.table.Target("app_c")
		return a != nil && a.Endpoint != nil && b != nil && b.Endpoint != nil && c != nil && c.Endpoint != nil
	})
	e := w.table.Target("app_a").Endpoint
	want := map[string]routes.Native{
		"workflows-list": routes.WorkflowsList, "workflows-runs-list": routes.WorkflowsRunsList, "workflows-run": routes.WorkflowsRun,
		"workflows-get_status": routes.WorkflowsGetStatus, "workflows-resume": routes.WorkflowsResume, "workflows-cancel": routes.WorkflowsCancel,
		"workflows-Echo-run": routes.RunWorkflow, "slow": routes.RunTool,
	}
	if diff := cmp.Diff(want, e.Native); diff != "" {
		t.Errorf("native tools, -want +got:\n%s", diff)
	}
	if diff := cmp.Diff(map[string]routes.Shape{"workflows-list": routes.InResult, "direct": routes.Direct}, e.Wrapped); diff != "" {
		t.Errorf("shapes, -want +got:\n%s", diff)
	}
	if got, want := string(e.WorkflowsList()), `{"content":[{"type":"text","text":"{\n  \"Echo\": {\n    \"name\": \"Echo\"\n  }\n}"}],"structuredContent":{"result":{"Echo":{"name":"Echo"}}},"isError":false}`; got != want {
		t.Errorf("workflows-list = %s, want %s", got, want)
	}
	if got := w.table.Target("app_b").Endpoint.Native; len(got) != 0 {
		t.Errorf("a plain server's tools are its own; native are %v", got)
	}
	if got := w.table.Target("app_c").Endpoint.Native; got["workflows-Ship-run"] != routes.RunWorkflow || got["workflows-resume"] != routes.WorkflowsResume || got["slow"] != routes.Passed {
		t.Errorf("of a server with workflows these are native: %v", got)
	}
	// What is derived is kept while only readiness changes.
	away := endpoint("app_a", "v1")
	away.Kind, away.ToolsJson, away.WorkflowsJson, away.Ready = framework.Kind, framework.ToolsJson, framework.WorkflowsJson, false
	w.Deployments.Set(away)
	w.until(t, "the agent is down", func() bool { return !w.table.Target("app_a").Endpoint.Up() })
	if got := w.table.Target("app_a").Endpoint; len(got.Native) != len(want) || len(got.WorkflowsList()) == 0 {
		t.Errorf("derived after a change of readiness = %v", got)
	}
}

func TestToolResult(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		value string
		shape routes.Shape
		want  string
	}{
		"bool":          {"true", routes.InResult, `{"content":[{"type":"text","text":"true"}],"structuredContent":{"result":true},"isError":false}`},
		"text as it is": {`"a \"<b>\" é"`, routes.Unstructured, `{"content":[{"type":"text","text":"a \"<b>\" é"}],"isError":false}`},
		"object":        {`{"a":[1,{}]}`, routes.Direct, `{"content":[{"type":"text","text":"{\n  \"a\": [\n    1,\n    {}\n  ]\n}"}],"structuredContent":{"a":[1,{}]},"isError":false}`},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			if got := string(routes.ToolResult([]byte(tt.value), tt.shape)); got != tt.want {
				t.Errorf("ToolResult(%s) = %s, want %s", tt.value, got, tt.want)
			}
		})
	}
	if got, want := string(routes.ToolError(`no "x" & y`)), `{"content":[{"type":"text","text":"no \"x\" & y"}],"isError":true}`; got != want {
		t.Errorf("ToolError = %s, want %s", got, want)
	}
	if got := routes.WorkflowOf(routes.ToolName("My-Flow")); got != "My-Flow" {
		t.Errorf("WorkflowOf(ToolName(My-Flow)) = %s", got)
	}
}
