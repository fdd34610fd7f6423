// Command secretsbroker runs the room that keeps secret values.
package main

import (
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker"
)

func main() { service.Main("secretsbroker", secretsbroker.Defaults(), secretsbroker.New) }
