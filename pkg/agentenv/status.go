package agentenv

import (
	"encoding/json"
	"fmt"
)

// MaxLine bounds one line on FDLog and FDStatus, newline included. Longer lines
// are cut by the writer, with a mark.
const MaxLine = 64 << 10

// A State is how far an agent process has come.
type State string

// The states, in the order in which a process can report them.
const (
	StateStarting  State = "starting"
	StateReady     State = "ready"      // MCP answers, or the worker polls
	StateNotNeeded State = "not-needed" // a worker for an app without workflow classes: exits 0, do not restart
	StateFailed    State = "failed"     // could not start: exits 1
	StateDraining  State = "draining"
)

// A Kind is what sort of agent was found in the user's code.
type Kind string

// The kinds of agent.
const (
	KindMCPAgent Kind = "mcp-agent" // an MCPApp
	KindFastMCP  Kind = "fastmcp"   // a FastMCP server and nothing else
)

// Status is one line on FDStatus. The last one counts.
type Status struct {
	State State `json:"state"`

	// With StateReady.
	Kind           Kind     `json:"kind,omitempty"`
	AppName        string   `json:"app_name,omitempty"` // as the code says; may differ from the deployed name
	Instructions   string   `json:"instructions,omitempty"`
	Workflows      []string `json:"workflows,omitempty"`   // @app.workflow classes: they need a worker
	Tools          []string `json:"tools,omitempty"`       // @app.tool
	AsyncTools     []string `json:"async_tools,omitempty"` // @app.async_tool
	EngineDeclared string   `json:"engine_declared,omitempty"`
	HostMS         int64    `json:"host_ms,omitempty"`   // process start to this line
	ImportMS       int64    `json:"import_ms,omitempty"` // of which importing the user's module, SDK included

	// With StateFailed.
	Reason string `json:"reason,omitempty"` // a sentence a person can act on
	Detail string `json:"detail,omitempty"` // last lines of a traceback or of the output
}

// ParseStatus reads one line of FDStatus.
func ParseStatus(line []byte) (Status, error) {
	var s Status
	if err := json.Unmarshal(line, &s); err != nil {
		return Status{}, fmt.Errorf("parse status line: %w", err)
	}
	switch s.State {
	case StateStarting, StateReady, StateNotNeeded, StateFailed, StateDraining:
		return s, nil
	default:
		return Status{}, fmt.Errorf("parse status line: unknown state %q", s.State)
	}
}
