package edge

import "github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"

// Limiter is what holds calls against limits.
func (e *Edge) Limiter() *limits.Limiter { return e.limits }
