// Command scheduler runs the room that deploys versions and runs agents.
package main

import (
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/scheduler"
)

func main() {
	scheduler.AgentInit() // an agent's first process is this program, too
	service.Main("scheduler", scheduler.Defaults(), scheduler.New)
}
