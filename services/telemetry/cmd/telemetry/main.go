// Command telemetry runs the room that keeps log lines.
package main

import (
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/telemetry"
)

func main() { service.Main("telemetry", telemetry.Defaults(), telemetry.New) }
