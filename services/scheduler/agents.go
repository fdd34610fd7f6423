package scheduler

import (
	"context"
	"path/filepath"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentclient"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/commandhost"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
)

// AgentInit must be the first call of a program that runs this room: the program is
// also the first process of each agent, and the host of those that are no Python apps. It
// does not return in one.
func AgentInit() {
	agentinit.Main()
	commandhost.Main()
}

// newAgents chooses the runtime.
func newAgents(cfg Config, env service.Env) (agents, error) {
	runtime, err := process.New(process.Options{
		Dir: filepath.Join(env.DataDir, "agents"), Init: agentinit.Find(),
		MemoryBytes: cfg.Agents.MemoryMB << 20, CPUs: cfg.Agents.CPUs, Processes: cfg.Agents.Processes,
		Sidecars:         cfg.Agents.Sidecars.options(),
		RequireIsolation: cfg.Agents.RequireIsolation, Zygotes: cfg.Zygotes.options(),
		Publish: env.Bus.PublishLogs, NewLineID: id.Line.New, Log: env.Log, Now: env.Now,
	})
	if err != nil {
		return agents{}, err
	}
	return agents{runtime: runtime, prober: agentclient.Prober{}, stop: func(ctx context.Context) error { return runtime.Close(ctx) }}, nil
}
