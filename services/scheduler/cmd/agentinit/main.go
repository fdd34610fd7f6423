// Command agentinit is the first process of each agent, where it stands beside the program
// that runs them. That program can be it, too, and then brings all it has into each.
package main

import (
	"fmt"
	"os"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
)

func main() {
	agentinit.Main()
	fmt.Fprintln(os.Stderr, "the scheduler starts this program; there is nothing to do for it otherwise")
	os.Exit(1)
}
