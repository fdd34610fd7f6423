// Command builder runs the room that turns source bundles into artifacts.
package main

import (
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/builder"
)

func main() { service.Main("builder", builder.Defaults(), builder.New) }
