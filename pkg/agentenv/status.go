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
	// StateReplayed is an answer to one of Launch.Histories, and no state of the process:
	// the one before still holds.
	StateReplayed State = "replayed"
)

// A Verdict is what a replay found.
type Verdict string

// The verdicts.
const (
	VerdictOK        Verdict = "ok"                // the code asks for the same, in the same order
	VerdictDifferent Verdict = "non-deterministic" // it asks for something else
	VerdictFailed    Verdict = "failed"            // it could not be replayed
	VerdictMissing   Verdict = "missing"           // there is no such workflow class
)

// Replay is the outcome of one replayed history. Its texts hold no secrets.
type Replay struct {
	WorkflowID string  `json:"workflow_id"`
	RunID      string  `json:"run_id"`
	Verdict    Verdict `json:"verdict"`
	// With VerdictDifferent, when the place was found: the event that the history has
	// there, what it says, and what the code asks for now ("activity fetch", "timer").
	EventID  int64  `json:"event_id,omitempty"`
	Expected string `json:"expected,omitempty"`
	Got      string `json:"got,omitempty"`
	Message  string `json:"message,omitempty"` // in the SDK's words
	Detail   string `json:"detail,omitempty"`  // a traceback
	MS       int64  `json:"ms,omitempty"`      // how long it took
}

// A Kind is what sort of agent a project is.
type Kind string

// The kinds of agent.
const (
	KindMCPAgent Kind = "mcp-agent" // an MCPApp
	KindFastMCP  Kind = "fastmcp"   // a FastMCP server and nothing else
	KindNode     Kind = "node"      // a server in JavaScript or TypeScript
	KindCommand  Kind = "command"   // any command that speaks MCP
	KindImage    Kind = "image"     // an OCI image whose program speaks MCP
)

// Status is one line on FDStatus. The last one counts, those with StateReplayed left out.
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
	// RoundTrip says that a worker runs RoundTripWorkflow.
	RoundTrip bool `json:"round_trip,omitempty"`

	// With StateFailed.
	Reason string `json:"reason,omitempty"` // a sentence a person can act on
	Detail string `json:"detail,omitempty"` // last lines of a traceback or of the output

	Replay *Replay `json:"replay,omitempty"` // with StateReplayed
}

// ParseStatus reads one line of FDStatus.
func ParseStatus(line []byte) (Status, error) {
	var s Status
	if err := json.Unmarshal(line, &s); err != nil {
		return Status{}, fmt.Errorf("parse status line: %w", err)
	}
	switch s.State {
	case StateReplayed:
		if s.Replay == nil {
			return Status{}, fmt.Errorf("parse status line: a replay without its report")
		}
		return s, nil
	case StateStarting, StateReady, StateNotNeeded, StateFailed, StateDraining:
		return s, nil
	default:
		return Status{}, fmt.Errorf("parse status line: unknown state %q", s.State)
	}
}
