// Package agentenv is the contract between a runtime and the agent process it
// starts: which file descriptors are inherited, what is written on them, and
// how the names of queues, activities and workflow types are made.
//
// It holds types and names only. It starts no process (the runtimes do) and
// runs no user code (package agenthost does).
package agentenv

// The file descriptors an agent process inherits. Descriptors 1 and 2 are
// ordinary output; the runtime wraps their lines with [OutputLine].
const (
	FDLaunch   = 3 // read side of a pipe: one Launch as JSON, then EOF
	FDListener = 4 // the listening TCP socket, for RoleServer only
	FDLog      = 5 // write side of a pipe: one LogLine as JSON a line
	FDStatus   = 6 // write side of a pipe: one Status as JSON a line
)

// Exit codes of an agent process. Anything else is a crash.
const (
	ExitDone   = 0 // drained, or not needed
	ExitFailed = 1 // it could not start; a Status with StateFailed said why
)

// HealthPath answers 200 {"ready":true} once an agent's server has started.
const HealthPath = "/__agentcloud/health"

// A Role is what an agent process does.
type Role string

// The roles. They never share a process: the engine of an agent's SDK is fixed
// when its decorators run, which is while the user's module is imported.
const (
	RoleServer Role = "server" // serves MCP, runs tools as activities; engine asyncio
	RoleWorker Role = "worker" // runs workflow classes; engine temporal
	// RoleReplay loads the code as a worker does, replays Launch.Histories and ends.
	RoleReplay Role = "replay"
)
