package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
)

// ZygotesConfig bounds the processes that agents are forked from.
type ZygotesConfig struct {
	Enabled  bool          `koanf:"enabled" help:"fork agents from a process that has imported their environment's packages; false: each imports them itself"`
	Max      int           `koanf:"max" help:"such processes at most; the one used least recently makes room"`
	MemoryMB int64         `koanf:"memory_mb" help:"MiB of memory of one; an environment that needs more has none; 0: no bound"`
	Idle     time.Duration `koanf:"idle" help:"how long one is kept that no agent was forked from"`
}

func zygoteDefaults() ZygotesConfig {
	return ZygotesConfig{Enabled: true, Max: 4, MemoryMB: 512, Idle: 10 * time.Minute}
}

// check says what is wrong with the numbers.
func (c ZygotesConfig) check() error {
	var errs []error
	if c.Max < 1 {
		errs = append(errs, fmt.Errorf("zygotes.max is %d; at least 1 is needed, or zygotes.enabled=false", c.Max))
	}
	if c.MemoryMB < 0 {
		errs = append(errs, fmt.Errorf("zygotes.memory_mb is %d; use 0 for no bound", c.MemoryMB))
	}
	if c.Idle < time.Second {
		errs = append(errs, fmt.Errorf("zygotes.idle is %s; at least a second is needed", c.Idle))
	}
	return errors.Join(errs...)
}

func (c ZygotesConfig) options() process.ZygoteOptions {
	if !c.Enabled {
		return process.ZygoteOptions{}
	}
	return process.ZygoteOptions{Max: c.Max, MemoryBytes: c.MemoryMB << 20, Idle: c.Idle}
}
