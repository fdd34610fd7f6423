package sidecar

import (
	"os/exec"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// Server is how one server is run.
type Server struct {
	Command string
	Args    []string
	// Env comes on top of what every sidecar has; it may hold secrets.
	Env map[string]string
	// Dir is where it begins; empty: the app's folder.
	Dir string
	// Shared says that all clients have one process; else each has its own.
	Shared bool
	Limits Limits
	// Written is the command as the app's settings have it.
	Written agentenv.Command
}

// Limits bound one sidecar with its children; 0: no bound.
type Limits struct {
	MemoryBytes, Processes int64
	CPUs                   float64
	// Files is how many a process may have open.
	Files uint64
}

// Command is a sidecar to be started: a command that waits for a byte at its gate.
type Command struct {
	*exec.Cmd
	Open func() error
}
