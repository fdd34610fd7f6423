// Command agentcloud is a whole cloud in one binary, and the platform's command line.
package main

import (
	"os"

	"github.com/mcpagentcloud/agentcloud/services/cli"
	"github.com/mcpagentcloud/agentcloud/services/scheduler"
)

func main() {
	scheduler.AgentInit() // an agent's first process is this program, too
	os.Exit(cli.Main(cli.New(os.Stdout, newUp()), os.Stderr))
}
