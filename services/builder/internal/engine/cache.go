package engine

import (
	"context"
	"os"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
)

// PruneCaches empties the package caches when they have grown over their bound, and
// returns how many bytes that freed. Environments have links of their own to what
// they use.
func (e *Engine) PruneCaches(ctx context.Context) (int64, error) {
	root := e.deps.Disk.Cache("")
	before, err := disk.Size(root)
	if err != nil || before <= e.cfg.CacheBytes {
		return 0, err
	}
	uv, err := e.uv()
	if err != nil {
		return 0, err
	}
	work, err := e.deps.Disk.Stage("prune")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(work) //nolint:errcheck // what is left is swept at the next start
	// uv waits for builds that use its cache, and they for it.
	if _, err := e.run(ctx, command{path: uv, args: []string{"cache", "clean", "--quiet"}, work: work}, nil); err != nil {
		return 0, err
	}
	if err := os.RemoveAll(e.deps.Disk.Cache("npm")); err != nil {
		return 0, err
	}
	after, err := disk.Size(root)
	return before - after, err
}
