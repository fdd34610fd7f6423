package routes

import "encoding/json"

// repeatable are the tools of a recorded tools/list that may be called twice without
// doing more than once (MCP 2025-11-25, "ToolAnnotations").
func repeatable(tools string) map[string]bool {
	var list struct {
		Tools []struct {
			Name        string
			Annotations struct {
				ReadOnlyHint   bool
				IdempotentHint bool
			}
		}
	}
	_ = json.Unmarshal([]byte(tools), &list) // a tool that does not say so is not
	all := map[string]bool{}
	for _, tool := range list.Tools {
		if tool.Annotations.ReadOnlyHint || tool.Annotations.IdempotentHint {
			all[tool.Name] = true
		}
	}
	return all
}
