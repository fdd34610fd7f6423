package routes

import (
	"bytes"
	"encoding/json"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
)

// Native is what a tool is to the gateway.
type Native int

// The tools that the gateway answers itself, from the scheduler.
const (
	// Passed is a tool of the agent's own.
	Passed Native = iota
	WorkflowsList
	WorkflowsRunsList
	WorkflowsRun
	WorkflowsGetStatus
	WorkflowsResume
	WorkflowsCancel
	// RunWorkflow is workflows-<Name>-run.
	RunWorkflow
	// RunTool is a tool that starts a run and returns its ids.
	RunTool
)

// generic are the tools that every app has whose runs are the scheduler's.
var generic = map[string]Native{
	"workflows-list": WorkflowsList, "workflows-runs-list": WorkflowsRunsList, "workflows-run": WorkflowsRun,
	"workflows-get_status": WorkflowsGetStatus, "workflows-resume": WorkflowsResume, "workflows-cancel": WorkflowsCancel,
}

const (
	frameworkKind = "mcp-agent"
	runPrefix     = "workflows-"
	runSuffix     = "-run"
)

// Shape is how a tool's structured content is made.
type Shape int

// The shapes: none without an output schema; the value itself; the value as "result".
const (
	Unstructured Shape = iota
	Direct
	InResult
)

// ToolName is the name of the tool that runs a workflow.
func ToolName(workflow string) string { return runPrefix + workflow + runSuffix }

// WorkflowOf is the workflow that a tool of that name runs.
func WorkflowOf(tool string) string {
	return tool[len(runPrefix) : len(tool)-len(runSuffix)]
}

// deriveOne computes what calls need of one version, unless only readiness has changed.
func deriveOne(old *Endpoint, now *schedulerv1.Endpoint) *Endpoint {
	if old != nil && old.GetVersionId() == now.GetVersionId() && old.GetWorkflowsJson() == now.GetWorkflowsJson() && old.GetToolsJson() == now.GetToolsJson() {
		return (&Endpoint{Native: old.Native, Wrapped: old.Wrapped, Tasks: old.Tasks, Headers: old.Headers, Subscribes: old.Subscribes, Repeatable: old.Repeatable}).record(now)
	}
	e := (&Endpoint{Native: map[string]Native{}, Wrapped: shapes(now.GetToolsJson())}).record(now)
	e.Subscribes, e.Repeatable = subscribes(now), repeatable(now.GetToolsJson())
	e.Tasks, e.Headers = taskPolicies(now.GetToolsJson()), modern.ReadParamHeaders(now.GetToolsJson())
	if !hasRuns(now) {
		return e // a plain server's tools are its own, whatever they are called
	}
	for name, native := range generic {
		e.Native[name] = native
	}
	for _, workflow := range now.GetWorkflows() {
		e.Native[ToolName(workflow)] = RunWorkflow
	}
	for _, tool := range now.GetAsyncTools() {
		e.Native[tool] = RunTool
	}
	return e
}

// hasRuns says whether the version's runs are those of the scheduler, and so the tools
// about them the gateway's: it is an app of the framework, or has workflows of its own.
func hasRuns(e *schedulerv1.Endpoint) bool {
	return e.GetKind() == frameworkKind || len(e.GetWorkflows()) > 0
}

// Versions are all versions of the protocol that are spoken here, newest first.
func Versions() []string {
	return []string{modern.Version, "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05"}
}

func catalogue(e *schedulerv1.Endpoint) *modern.Catalogue {
	return modern.NewCatalogue(modern.Recorded{
		Initialize: e.GetInitializeJson(), Tools: e.GetToolsJson(), Prompts: e.GetPromptsJson(), Resources: e.GetResourcesJson(),
		Templates: e.GetResourceTemplatesJson(), Tasks: hasRuns(e), Subscribe: true, Versions: Versions(),
	})
}

func subscribes(e *schedulerv1.Endpoint) bool {
	var hello struct {
		Capabilities struct {
			Resources struct {
				Subscribe bool `json:"subscribe"`
			} `json:"resources"`
		} `json:"capabilities"`
	}
	for _, said := range []string{e.GetInitializeJson(), e.GetDiscoverJson()} {
		_ = json.Unmarshal([]byte(said), &hello) // what was not said it cannot do
	}
	return hello.Capabilities.Resources.Subscribe
}

// shapes reads the output schemas of a recorded tools/list.
func shapes(toolsJSON string) map[string]Shape {
	var list struct {
		Tools []struct {
			Name         string `json:"name"`
			OutputSchema *struct {
				Properties map[string]json.RawMessage `json:"properties"`
			} `json:"outputSchema"`
		} `json:"tools"`
	}
	all := map[string]Shape{}
	if json.Unmarshal([]byte(toolsJSON), &list) != nil {
		return all
	}
	for _, tool := range list.Tools {
		if tool.OutputSchema == nil {
			continue
		}
		all[tool.Name] = Direct
		if _, ok := tool.OutputSchema.Properties["result"]; ok && len(tool.OutputSchema.Properties) == 1 {
			all[tool.Name] = InResult
		}
	}
	return all
}

// ToolResult is a CallToolResult as the framework's server gives it: the value as
// indented JSON text (a string as itself) and, by shape, as structured content.
func ToolResult(value json.RawMessage, shape Shape) []byte {
	var b bytes.Buffer
	b.WriteString(`{"content":[{"type":"text","text":`)
	b.Write(quote(pretty(value)))
	b.WriteString(`}]`)
	switch shape {
	case Direct:
		b.WriteString(`,"structuredContent":`)
		b.Write(value)
	case InResult:
		b.WriteString(`,"structuredContent":{"result":`)
		b.Write(value)
		b.WriteByte('}')
	}
	b.WriteString(`,"isError":false}`)
	return b.Bytes()
}

// ToolError is a CallToolResult that says what went wrong.
func ToolError(text string) []byte {
	return append(append([]byte(`{"content":[{"type":"text","text":`), quote(text)...), `}],"isError":true}`...)
}

func pretty(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	var b bytes.Buffer
	if json.Indent(&b, value, "", "  ") != nil {
		return string(value)
	}
	return b.String()
}

func quote(text string) []byte {
	var b bytes.Buffer
	encoder := json.NewEncoder(&b)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(text) // a string always encodes
	return bytes.TrimRight(b.Bytes(), "\n")
}
