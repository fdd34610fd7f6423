package telemetry_test

import (
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
)

func newBus(t testing.TB) *bus.Bus {
	t.Helper()
	return bustest.New(t)
}
