package deployments

import (
	"context"

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
	// Document is complete but for the role, which the runtime sets.
	Document agentenv.Launch
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
	// Report is what it last said of itself.
	Report agentenv.Status
}

// Look is how a version's processes are at one moment.
type Look struct {
	// ServerURL is where its server answers, also before it is ready.
	ServerURL      string
	Server, Worker Process
}

// Runtime starts and ends the processes of versions. It restarts them by itself, with
// the same Launch, and forgets them only when told.
type Runtime interface {
	// Apply starts a version, or does nothing when it runs already.
	Apply(ctx context.Context, l Launch) error
	// Stop drains and ends one role of a version; it returns when that has ended.
	Stop(ctx context.Context, targetID, versionID string, role agentenv.Role) error
	// Remove ends all of a version and forgets it.
	Remove(ctx context.Context, targetID, versionID string) error
	// Look tells how a version is; false when the runtime does not know it.
	Look(targetID, versionID string) (Look, bool)
	// Agents lists the processes of a target, newest first.
	Agents(targetID string) []*schedulerv1.Agent
	// Watch calls changed after each change of a version's processes until ctx ends.
	Watch(ctx context.Context, changed func(targetID, versionID string)) error
}

// Prober shakes hands with an agent's server and records what it offers.
type Prober interface {
	Capture(ctx context.Context, serverURL string) (store.Capture, error)
}
