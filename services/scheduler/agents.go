package scheduler

import (
	"context"
	"path/filepath"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentclient"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
)

// AgentInit must be the first call of a program that runs this room: the program is
// also the first process of each agent. It does not return in one.
func AgentInit() { agentinit.Main() }

// newAgents chooses the runtime.
func newAgents(cfg Config, env service.Env) (agents, error) {
	runtime, err := process.New(process.Options{
		Dir:         filepath.Join(env.DataDir, "agents"),
		MemoryBytes: cfg.Agents.MemoryMB << 20, CPUs: cfg.Agents.CPUs, Processes: cfg.Agents.Processes,
		RequireIsolation: cfg.Agents.RequireIsolation,
		Publish:          env.Bus.PublishLogs, NewLineID: id.Line.New, Log: env.Log, Now: env.Now,
	})
	if err != nil {
		return agents{}, err
	}
	return agents{runtime: runtime, prober: agentclient.Prober{}, stop: func(ctx context.Context) error { return runtime.Close(ctx) }}, nil
}
