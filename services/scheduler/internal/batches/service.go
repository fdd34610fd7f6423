// Package batches runs one workflow or tool for many inputs: it keeps the inputs and
// what became of each as rows, and a workflow of package flow steers.
//
// Items are ordinary runs; how a run starts and ends is the business of package runs.
package batches

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Bounds say how much is taken.
type Bounds struct {
	// Items and Bytes bound the inputs of one batch.
	Items, Bytes int64
	// Open bounds the batches of an organisation that have not ended.
	Open int
	// Concurrency bounds the open runs of one batch.
	Concurrency int
	// Runs bounds the open runs of all batches that this process watches.
	Runs int
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	Runs  interface {
		Inputs(ctx context.Context, targetID, name string) (*runs.Inputs, error)
		StartItem(ctx context.Context, item runs.Item) (runID string, err error)
		CancelItem(ctx context.Context, orgID, workflowID string, force bool, reason string) error
		Await(ctx context.Context, run store.Run) (*schedulerv1.Run, error)
		GetRun(ctx context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error)
	}
	// System gives the Temporal client of this service's own namespace.
	System func(ctx context.Context) (client.Client, error)
	Bounds Bounds
	// Retention is how long batches are kept after their end.
	Retention time.Duration
	// Draining is closed when what waits should end, for the process does.
	Draining <-chan struct{}
	Log      *slog.Logger
	Now      func() time.Time
	NewID    func() string
}

// Service answers for batches and brings them forward.
type Service struct {
	schedulerv1.UnimplementedBatchesServiceServer
	deps Deps
	// slots are the runs that may be watched at once.
	slots chan struct{}
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service {
	return &Service{deps: deps, slots: make(chan struct{}, deps.Bounds.Runs)}
}

// system returns the client of this service's own namespace.
func (s *Service) system(ctx context.Context) (client.Client, error) {
	c, err := s.deps.System(ctx)
	return c, namespaces.Fault(err, "Temporal does not answer")
}

// batch finds one that the caller may see. It fails with fault.NotFound.
func (s *Service) batch(ctx context.Context, batchID string) (store.Batch, error) {
	b, err := s.deps.Store.Batch(ctx, batchID)
	if err != nil {
		return b, err
	}
	if !sees(ctx, b.OrgID) || b.State == store.BatchFilling {
		return b, fault.NotFound.Errorf("no such batch: %s", batchID)
	}
	return b, nil
}
