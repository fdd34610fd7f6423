package routes

import "encoding/json"

// TaskPolicy is how a tool is served as a task. A tool says so in its own _meta:
//
//	@app.async_tool(meta={"io.agentcloud/task": {"support": "required", "ask": "before"}})
type TaskPolicy struct {
	// Support is "optional", or "required": a client that does not take tasks is refused.
	Support string `json:"support"`
	// Ask is "inside" the task, or "before" there is one: then a first question is the
	// answer to the call.
	Ask string `json:"ask"`
}

// Required says whether only clients that take tasks may call.
func (p TaskPolicy) Required() bool { return p.Support == "required" }

// AskBefore says whether the first questions come before the task.
func (p TaskPolicy) AskBefore() bool { return p.Ask == "before" }

// taskPolicies reads them from a recorded tools/list; execution.taskSupport is the
// session era's own word (MCP 2025-11-25, "Tasks").
func taskPolicies(tools string) map[string]TaskPolicy {
	var list struct {
		Tools []struct {
			Name      string
			Execution struct {
				TaskSupport string `json:"taskSupport"`
			}
			Meta struct {
				Task TaskPolicy `json:"io.agentcloud/task"`
			} `json:"_meta"`
		}
	}
	_ = json.Unmarshal([]byte(tools), &list) // a tool without a policy has the usual one
	all := map[string]TaskPolicy{}
	for _, tool := range list.Tools {
		policy := tool.Meta.Task
		if policy.Support == "" {
			policy.Support = tool.Execution.TaskSupport
		}
		if policy != (TaskPolicy{}) {
			all[tool.Name] = policy
		}
	}
	return all
}
