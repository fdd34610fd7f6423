package engine

import (
	"context"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// walls finds out, once, what the machine allows.
func (e *Engine) walls(ctx context.Context) (*isolation, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.isolation == nil {
		found := &isolation{}
		if e.cfg.Isolation != "off" {
			found = probeIsolation(ctx, e.cfg.Hide)
		}
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		e.isolation = found
	}
	if e.cfg.Isolation == "require" && !e.isolation.namespaces() {
		return nil, fault.Unavailable.Errorf("this machine lets builds have no PID namespace, and the builder's settings require one; allow it, or set isolation to \"auto\"")
	}
	return e.isolation, nil
}

// hideScript puts an empty file system over each folder before the program starts.
const hideScript = `while [ "$1" != -- ]; do mount -t tmpfs -o size=4k,mode=0755 hidden "$1" || exit 125; shift; done; shift; exec "$@"`
