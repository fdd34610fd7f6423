package artifact_test

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
)

// with counts the stdio servers' installs, with the bound on mcp and without.
func (e *fakeEngine) with(bound bool) (n int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, w := range e.wishes {
		if strings.HasPrefix(w.Source, "mcp.servers.") && slices.Contains(w.Constraints, "mcp<2") == bound {
			n++
		}
	}
	return n
}

func TestAStdioServerThatNeedsWhatTheBoundForbids(t *testing.T) {
	t.Parallel()
	newer := func(w engine.Wishes) bool { return len(w.Constraints) > 0 }
	tests := map[string]struct {
		fails         func(engine.Wishes) bool
		bound, free   int
		failure, said bool
	}{
		"works with it":      {fails: func(engine.Wishes) bool { return false }, bound: 1},
		"works without it":   {fails: newer, bound: 1, free: 1, said: true},
		"works with neither": {fails: func(engine.Wishes) bool { return true }, bound: 1, free: 1, failure: true, said: true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, 2)
			w.bundle(t, "b1", map[string]string{
				"main.py": project["main.py"], "requirements.txt": project["requirements.txt"],
				"mcp_agent.config.yaml": "mcp:\n  servers:\n    clock:\n      command: uvx\n      args: [mcp-server-time]\n",
			})
			w.engine.install = func(_ context.Context, wishes engine.Wishes, _ engine.Sink) error {
				if strings.HasPrefix(wishes.Source, "mcp.servers.") && test.fails(wishes) {
					return &recipe.Problem{Reason: "the versions exclude each other"}
				}
				return nil
			}
			got := w.build(t.Context(), "b1")
			if got.err != nil || (got.failure != nil) != test.failure || w.engine.with(true) != test.bound || w.engine.with(false) != test.free {
				t.Errorf("build = %+v; %d installs with the bound, %d without", got, w.engine.with(true), w.engine.with(false))
			}
			said := slices.ContainsFunc(got.lines, func(l string) bool {
				return strings.Contains(l, "clock") && strings.Contains(l, "mcp<2") && strings.Contains(l, "without that bound")
			})
			if said != test.said {
				t.Errorf("the log says so: %v, want %v:\n%s", said, test.said, strings.Join(got.lines, "\n"))
			}
			if test.failure && !strings.Contains(got.failure.GetReason(), "the stdio server clock") {
				t.Errorf("reason = %q", got.failure.GetReason())
			}
		})
	}
}
