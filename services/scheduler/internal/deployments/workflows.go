package deployments

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"

	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// genericTools are the workflow tools that do not depend on the workflow, with the schemas
// that the framework's own server gives them.
//
//go:embed workflowtools.json
var genericTools []byte

// anyObject is the schema of a workflow that does not say what it takes.
const anyObject = `{"type":"object","additionalProperties":true}`

// outputOfRun is the schema of what a start answers.
const outputOfRun = `{"type":"object","properties":{"result":{"type":"object","additionalProperties":{"type":"string"}}},"required":["result"]}`

// described is a workflow in the answer to workflows-list.
type described struct {
	Name          string          `json:"name"`
	Description   string          `json:"description"`
	Capabilities  []string        `json:"capabilities"`
	ToolEndpoints []string        `json:"tool_endpoints"`
	RunParameters json.RawMessage `json:"run_parameters"`
}

// nodeWorker is what runs the workflows of a version that is no Python app; nil for others.
func (s *steps) nodeWorker(ctx context.Context, versionID string) (*builderv1.Worker, error) {
	v, err := s.store.Version(ctx, versionID)
	if err != nil {
		return nil, errors.New("the version was not found in the store")
	}
	return v.Artifact.GetProgram().GetWorker(), nil
}

// withNodeWorkflows adds to a capture what the version's TypeScript worker runs.
func (s *steps) withNodeWorkflows(ctx context.Context, versionID string, c store.Capture) (store.Capture, error) {
	worker, err := s.nodeWorker(ctx, versionID)
	if err != nil {
		return c, err
	}
	if c, err = withWorkflows(c, worker); err != nil {
		return c, errors.New("the tools of the workflows were not made")
	}
	return c, nil
}

func workflowNames(w *builderv1.Worker) []string {
	var names []string
	for _, one := range w.GetWorkflows() {
		names = append(names, one.GetName())
	}
	return names
}

// withWorkflows adds to a capture the tools by which workflows are run: the program's own
// server knows nothing of them, for the gateway answers. One of its tools that is called
// like one of them makes way.
func withWorkflows(c store.Capture, w *builderv1.Worker) (store.Capture, error) {
	if w == nil {
		return c, nil
	}
	c.Workflows = workflowNames(w)
	tools, list, err := workflowTools(w)
	if err != nil {
		return c, err
	}
	var own struct {
		Tools []json.RawMessage `json:"tools"`
	}
	if c.ToolsJSON != "" {
		if err := json.Unmarshal([]byte(c.ToolsJSON), &own); err != nil {
			return c, fmt.Errorf("read the recorded tools: %w", err)
		}
	}
	joined, err := json.Marshal(map[string]any{"tools": append(without(own.Tools, tools), tools...)})
	if err != nil {
		return c, err
	}
	c.ToolsJSON, c.WorkflowsJSON = string(joined), string(list)
	c.InitializeJSON, err = withTools(c.InitializeJSON)
	return c, err
}

// workflowTools are the tools of workflows, and the answer to workflows-list.
func workflowTools(w *builderv1.Worker) (tools []json.RawMessage, list []byte, err error) {
	if err := json.Unmarshal(genericTools, &tools); err != nil {
		return nil, nil, fmt.Errorf("read the workflow tools: %w", err)
	}
	all := map[string]described{}
	for _, one := range w.GetWorkflows() {
		schema := json.RawMessage(one.GetInputSchemaJson())
		if len(schema) == 0 {
			schema = json.RawMessage(anyObject)
		}
		name := "workflows-" + one.GetName() + "-run"
		all[one.GetName()] = described{one.GetName(), one.GetDescription(), []string{"run"}, []string{name}, schema}
		tool, err := json.Marshal(map[string]any{
			"name": name, "description": runDescription(one),
			"inputSchema":  map[string]any{"type": "object", "properties": map[string]any{"run_parameters": schema}},
			"outputSchema": json.RawMessage(outputOfRun),
		})
		if err != nil {
			return nil, nil, err
		}
		tools = append(tools, tool)
	}
	list, err = json.Marshal(all)
	return tools, list, err
}

func runDescription(w *builderv1.Workflow) string {
	text := fmt.Sprintf("Starts a run of the workflow %s and returns its ids at once; workflows-get_status tells how it is.", w.GetName())
	if w.GetDescription() != "" {
		text = w.GetDescription() + "\n\n" + text
	}
	return text
}

// without leaves out the tools that are called like one of others.
func without(tools, others []json.RawMessage) []json.RawMessage {
	taken := map[string]bool{}
	for _, tool := range others {
		taken[toolName(tool)] = true
	}
	kept := []json.RawMessage{}
	for _, tool := range tools {
		if !taken[toolName(tool)] {
			kept = append(kept, tool)
		}
	}
	return kept
}

func toolName(tool json.RawMessage) string {
	var named struct{ Name string }
	_ = json.Unmarshal(tool, &named) // what has no name is like no other
	return named.Name
}

// withTools is an answer to initialize that says that there are tools.
func withTools(initialize string) (string, error) {
	var hello, capabilities map[string]json.RawMessage
	if err := json.Unmarshal([]byte(initialize), &hello); err != nil {
		return "", fmt.Errorf("read the recorded answer to initialize: %w", err)
	}
	if raw := hello["capabilities"]; len(raw) > 0 {
		if err := json.Unmarshal(raw, &capabilities); err != nil {
			return "", fmt.Errorf("read the recorded capabilities: %w", err)
		}
	}
	if _, offered := capabilities["tools"]; offered {
		return initialize, nil
	}
	if capabilities == nil {
		capabilities = map[string]json.RawMessage{}
	}
	capabilities["tools"] = json.RawMessage(`{}`)
	raw, err := json.Marshal(capabilities)
	if err != nil {
		return "", err
	}
	hello["capabilities"] = raw
	text, err := json.Marshal(hello)
	return string(text), err
}
