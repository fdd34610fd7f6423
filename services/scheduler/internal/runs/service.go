// Package runs starts workflow runs of live versions and tells about them.
//
// Temporal is the truth about a run; what is kept here beside it only says where a
// run belongs. It runs no user code, and it knows no other organisation than the
// caller's.
package runs

import (
	"context"
	"log/slog"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Namespaces gives Temporal clients.
type Namespaces interface {
	// Client makes the namespace when it is new.
	Client(ctx context.Context, namespace string) (client.Client, error)
	// Forget makes the next use look again whether the namespace is there.
	Forget(namespace string)
}

// Priorities says what callers get of the queues.
type Priorities interface {
	Of(ctx context.Context, p principal.Principal, t store.Target) (priorities.Share, error)
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store      *store.Store
	Namespaces Namespaces
	Record     *Recorder
	Priorities Priorities
	// Tools polls for runs of tools in an organisation's namespace from now on.
	Tools interface{ Ensure(orgID string) }
	// Payloads is what arguments and results pass.
	Payloads *payloads.Passage
	// Bell is rung for the agents that runs need.
	Bell *bell.Bell
	// Headroom lets urgent runs begin past others; nil: they wait at the front of a queue.
	Headroom *headroom.Headroom
	// Policy is how bodies of tools are run.
	Policy flow.ActivityPolicy
	// Stop is how a run ends that was asked to.
	Stop Patience
	// Retention is how long closed runs are remembered.
	Retention time.Duration
	// Draining is closed when calls that wait should end, for the process does.
	Draining <-chan struct{}
	Log      *slog.Logger
	Now      func() time.Time
	NewUUID  func() string
}

// Patience is how long a run may take to its end once it was asked to end.
type Patience struct {
	// Grace without anything new, and Longest in all.
	Grace, Longest time.Duration
}

// Service answers for runs; questions of runs are another's business.
type Service struct {
	schedulerv1.UnimplementedRunsServiceServer
	deps       Deps
	recent     *recent
	signatures *lru.Cache[[2]string, signature]
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service {
	s := &Service{deps: deps, recent: newRecent(deps.Now), signatures: newSignatures()}
	deps.Record.onClose = s.recent.forget
	return s
}

// client returns the Temporal client of a target's organisation.
func (s *Service) client(ctx context.Context, t store.Target) (client.Client, error) {
	c, err := s.deps.Namespaces.Client(ctx, t.OrgID)
	return c, away(err)
}

// away says in a caller's words that Temporal is away, when it is.
func away(err error) error { return namespaces.Fault(err, "Temporal does not answer") }
