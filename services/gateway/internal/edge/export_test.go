package edge

import (
	"time"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"
)

// Limiter is what holds calls against limits.
func (e *Edge) Limiter() *limits.Limiter { return e.limits }

// Silence has replicas counted as gone that show no sign for that long.
func (e *Edge) Silence(d time.Duration) { e.peers.Silence = d }
