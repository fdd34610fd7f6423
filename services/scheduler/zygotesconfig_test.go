package scheduler

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/config"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
)

func TestZygotesConfig(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		set  []string
		want process.ZygoteOptions
		says string // of an error
	}{
		"by default":  {want: process.ZygoteOptions{Max: 4, MemoryBytes: 512 << 20, Idle: 10 * time.Minute}},
		"off":         {set: []string{"zygotes.enabled=false"}},
		"bounds":      {set: []string{"zygotes.max=1", "zygotes.memory_mb=0", "zygotes.idle=1s"}, want: process.ZygoteOptions{Max: 1, Idle: time.Second}},
		"none":        {set: []string{"zygotes.max=0"}, says: "zygotes.max is 0"},
		"no time":     {set: []string{"zygotes.idle=0s"}, says: "zygotes.idle is 0s"},
		"less memory": {set: []string{"zygotes.memory_mb=-1"}, says: "zygotes.memory_mb is -1"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := Defaults()
			err := config.Load(&cfg, config.Sources{Set: test.set})
			if test.says != "" {
				if err == nil || !strings.Contains(err.Error(), test.says) {
					t.Errorf("Load() = %v, want %q", err, test.says)
				}
				return
			}
			if diff := cmp.Diff(test.want, cfg.Zygotes.options()); diff != "" || err != nil {
				t.Errorf("Load() = %v, options (-want +got):\n%s", err, diff)
			}
		})
	}
}
