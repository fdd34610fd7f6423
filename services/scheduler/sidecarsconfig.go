package scheduler

import (
	"errors"
	"fmt"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
)

// SidecarsConfig is what every stdio server of an agent gets.
type SidecarsConfig struct {
	MemoryMB  int64         `koanf:"memory_mb" help:"MiB of memory of one stdio server with its children, unless its project says otherwise, at most agents.memory_mb; 0: as an agent"`
	CPUs      float64       `koanf:"cpus" help:"processors of one, unless its project says otherwise, at most agents.cpus; 0: as an agent"`
	Processes int64         `koanf:"processes" help:"processes and threads of one, unless its project says otherwise, at most agents.processes; 0: as an agent"`
	Files     int64         `koanf:"files" help:"files that one process of it may have open"`
	Idle      time.Duration `koanf:"idle" help:"how long one that nobody is connected to is kept"`
}

func sidecarDefaults() SidecarsConfig {
	return SidecarsConfig{MemoryMB: 1024, Processes: 256, Files: 1024, Idle: 10 * time.Minute}
}

// check says what is wrong with the numbers.
func (c SidecarsConfig) check() error {
	const leastFiles = 16
	var errs []error
	if c.MemoryMB < 0 || c.CPUs < 0 || c.Processes < 0 {
		errs = append(errs, errors.New("agents.sidecars.memory_mb, cpus and processes are 0 or more"))
	}
	if c.Files < leastFiles {
		errs = append(errs, fmt.Errorf("agents.sidecars.files is %d; use at least %d", c.Files, leastFiles))
	}
	if c.Idle < time.Second {
		errs = append(errs, fmt.Errorf("agents.sidecars.idle is %s; at least a second is needed", c.Idle))
	}
	return errors.Join(errs...)
}

const mib = 20

func (c SidecarsConfig) options() process.SidecarOptions {
	return process.SidecarOptions{
		MemoryBytes: c.MemoryMB << mib, CPUs: c.CPUs, Processes: c.Processes, Files: uint64(c.Files), Idle: c.Idle, //nolint:gosec // checked
	}
}
