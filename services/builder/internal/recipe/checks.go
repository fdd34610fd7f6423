package recipe

import "strings"

// MissingProviders are the model providers of the settings for which the project
// asks no package. Whether the app uses them only its author knows.
func MissingProviders(plan Plan, providers []string) []string {
	if plan.Program.Kind != MCPAgent {
		return nil
	}
	asked := strings.Join(plan.Requirements, "\n")
	var missing []string
	for _, name := range providers {
		if !strings.Contains(asked, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// Module is what a fresh environment for the program must be able to import.
func (p Program) Module() string {
	switch {
	case p.Kind == MCPAgent:
		return "mcp_agent.app, mcp_agent.executor.temporal"
	case p.Standalone:
		return "fastmcp"
	case p.SDKServer:
		return "mcp.server.fastmcp"
	}
	return "mcp"
}

// ToolConstraints are for stdio servers written in Python, which leave mcp as open
// as apps do.
func ToolConstraints() []string { return []string{sdkConstraint.String()} }

// ChoosePython takes the newest interpreter in a range; from says who wants it.
func ChoosePython(spec, from string, options Options) (Interpreter, error) {
	return choosePython([]pythonWish{{spec: spec, from: from}}, options)
}
