// Command registry runs the room that keeps what should be.
package main

import (
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/registry"
)

func main() { service.Main("registry", registry.Defaults(), registry.New) }
