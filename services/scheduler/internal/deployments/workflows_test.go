package deployments

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func TestToolsOfWorkflows(t *testing.T) {
	t.Parallel()
	worker := &builderv1.Worker{Workflows: []*builderv1.Workflow{
		{Name: "Ship", Description: "Ships.", InputSchemaJson: `{"type":"object","required":["order"]}`}, {Name: "Lose"},
	}}
	c, err := withWorkflows(store.Capture{
		InitializeJSON: `{"serverInfo":{"name":"x"},"capabilities":{"logging":{}}}`,
		ToolsJSON:      `{"tools":[{"name":"own"},{"name":"workflows-run","description":"theirs"}]}`,
	}, worker)
	if err != nil {
		t.Fatal(err)
	}
	var listed struct {
		Tools []struct {
			Name, Description string
			InputSchema       struct{ Properties map[string]json.RawMessage }
		}
	}
	if err := json.Unmarshal([]byte(c.ToolsJSON), &listed); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range listed.Tools {
		names = append(names, tool.Name)
	}
	want := []string{
		"own", "workflows-list", "workflows-runs-list", "workflows-run", "workflows-get_status", "workflows-resume", "workflows-cancel",
		"workflows-Ship-run", "workflows-Lose-run",
	}
	if !slices.Equal(names, want) {
		t.Errorf("tools %v, want %v", names, want)
	}
	if ship := listed.Tools[7]; !strings.HasPrefix(ship.Description, "Ships.") || string(ship.InputSchema.Properties["run_parameters"]) != `{"type":"object","required":["order"]}` {
		t.Errorf("the tool of a workflow is %+v", ship)
	}
	if want := `{"Lose":{"name":"Lose","description":"","capabilities":["run"],"tool_endpoints":["workflows-Lose-run"],"run_parameters":{"type":"object","additionalProperties":true}},`; !strings.HasPrefix(c.WorkflowsJSON, want) {
		t.Errorf("the list is %s, want %s…", c.WorkflowsJSON, want)
	}
	if want := `{"capabilities":{"logging":{},"tools":{}},"serverInfo":{"name":"x"}}`; c.InitializeJSON != want {
		t.Errorf("initialize answers %s, want %s", c.InitializeJSON, want)
	}
}

func TestAVersionWithoutWorkflowsStaysAsItIs(t *testing.T) {
	t.Parallel()
	c, err := withWorkflows(store.Capture{InitializeJSON: `{}`}, nil)
	if err != nil || c.InitializeJSON != `{}` || c.ToolsJSON != "" {
		t.Errorf("withWorkflows(…, nil) = %+v, %v", c, err)
	}
}
