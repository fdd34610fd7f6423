package deployments

import (
	"context"
	"encoding/json"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Launch is one start of a version: what to run, and the document that tells it how.
// It carries secrets in the clear, so it is never stored or logged.
type Launch struct {
	TargetID, AppID, OrgID, VersionID string

	Artifact *builderv1.Artifact
	// Roles are those to be started, empty: all; Runtime.Start starts another later.
	Roles []agentenv.Role
	// Count is how many processes each role gets; 0: one.
	Count int
	// Document is complete but for the role and the way to the sidecars, which the runtime
	// sets.
	Document agentenv.Launch
	// Sidecars are the stdio servers that its settings name.
	Sidecars map[string]Sidecar
}

// Sidecar is a stdio MCP server beside the processes of a version.
type Sidecar struct {
	agentenv.Command
	// Dir is where it begins; empty: the app's folder.
	Dir string
	// Shared says that the version's processes have one of it.
	Shared bool
	// MemoryBytes, CPUs and Processes are what the project asks for; 0: it does not say.
	MemoryBytes, Processes int64
	CPUs                   float64
	// Written is the command as the settings have it.
	Written agentenv.Command
}

// Process is how one role of a version is.
type Process struct {
	State schedulerv1.AgentState
	// Failed says that it will not become ready by itself: the start failed or it ends
	// again and again.
	Failed bool
	// NotNeeded says that the version has no use for this role.
	NotNeeded bool
	// Reason and Detail tell why it failed, for people.
	Reason, Detail string
	// Exit is how it ended the last time ("exit code 3"), empty once another is ready;
	// PeakMemory is the most bytes it had used until then, 0: not known.
	Exit       string
	PeakMemory int64
	// Output are the last lines of what it has said.
	Output string
	// Report is what it last said of itself.
	Report agentenv.Status
	// Replays are its answers to Document.Histories, so far.
	Replays []agentenv.Replay
	// Replaying is how many answers are still to come; none does any more when the
	// process ended meanwhile.
	Replaying int
}

// Runtime starts and ends the processes of versions. It restarts them by itself, with
// the same Launch, and forgets them only when told.
type Runtime interface {
	// Apply starts roles of a version, or does nothing when any of it runs already.
	Apply(ctx context.Context, l Launch) error
	// Start starts processes of one role of a version that runs, with the same Launch,
	// until there are count.
	Start(ctx context.Context, targetID, versionID string, role agentenv.Role, count int) error
	// Stop drains and ends one role of a version; it returns when that has ended.
	Stop(ctx context.Context, targetID, versionID string, role agentenv.Role) error
	// StopOne drains and ends one of several processes of a role, which is no more after
	// that; it returns when it has ended.
	StopOne(ctx context.Context, targetID, versionID string, role agentenv.Role, instanceID string) error
	// Remove ends all of a version and forgets it.
	Remove(ctx context.Context, targetID, versionID string) error
	// Look tells how a version is; false when the runtime does not know it.
	Look(targetID, versionID string) (Look, bool)
	// Agents lists the processes of a target, newest first.
	Agents(targetID string) []*schedulerv1.Agent
	// Replay starts a process that answers the launch's Histories and nothing else, and
	// waits for its end or that of ctx, which ends it. It returns the answers there are.
	// What went wrong is a fault.Conflict with a sentence for people.
	Replay(ctx context.Context, l Launch) ([]agentenv.Replay, error)
	// Watch calls changed after each change of a version's processes until ctx ends.
	Watch(ctx context.Context, changed func(targetID, versionID string)) error
}

// Prober shakes hands with an agent's server, records what it offers and calls its tools.
type Prober interface {
	Capture(ctx context.Context, serverURL string) (store.Capture, error)
	// GreetSSE shakes hands by HTTP with SSE.
	GreetSSE(ctx context.Context, serverURL string) error
	// Call calls a tool and returns the result, which may be one that says that it is an
	// error. It fails when there is none.
	Call(ctx context.Context, serverURL, tool string, arguments json.RawMessage) (json.RawMessage, error)
}
