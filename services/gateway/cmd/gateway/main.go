// Command gateway runs the room that speaks every foreign dialect.
package main

import (
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/gateway"
)

func main() { service.Main("gateway", gateway.Defaults(), gateway.New) }
