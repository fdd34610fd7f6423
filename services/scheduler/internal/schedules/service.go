// Package schedules starts runs by the clock: it keeps what people and projects want,
// and sees to it that Temporal's schedules are like that.
//
// Firing is Temporal's business alone: nothing here has to be up for it. What a
// schedule starts is said by package runs.
package schedules

import (
	"context"
	"log/slog"
	"time"

	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/locks"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// mostSchedules bounds the schedules of one app.
	mostSchedules = 200
	// applyWithin is how long a caller waits for Temporal; what is not there by then is
	// pending.
	applyWithin = 5 * time.Second
	applyEvery  = 5 * time.Second
	applyBatch  = 100
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	// Namespaces gives Temporal clients.
	Namespaces interface {
		Client(ctx context.Context, namespace string) (client.Client, error)
	}
	// Runs says how a schedule starts runs. It fails with fault.NotFound when the version
	// has no such workflow, with fault.Invalid when arguments or priority do not fit, and
	// with fault.Denied when the priority is not allowed.
	Runs interface {
		Action(t store.Target, v store.Version, what runs.Scheduled) (runs.Action, error)
	}
	// Priorities says what users get of the queues.
	Priorities runs.Priorities
	Log        *slog.Logger
	Now        func() time.Time
}

// Service answers for schedules.
type Service struct {
	schedulerv1.UnimplementedSchedulesServiceServer
	deps Deps
	// applying makes the changes of one schedule reach Temporal one after another.
	applying locks.Locks
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// Run brings to Temporal what could not be brought at once, until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	ticker := time.NewTicker(applyEvery)
	defer ticker.Stop()
	for {
		s.applyLate(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

func (s *Service) applyLate(ctx context.Context) {
	rows, err := s.deps.Store.SchedulesToApply(ctx, applyBatch)
	s.warn(ctx, "", "", err)
	for _, row := range rows {
		err := s.apply(ctx, row.TargetID, row.Name)
		s.warn(ctx, row.TargetID, row.Name, err)
		if fault.Unavailable.Is(err) {
			return // the others would wait for the same
		}
	}
}

func (s *Service) warn(ctx context.Context, targetID, name string, err error) {
	if err != nil && ctx.Err() == nil {
		s.deps.Log.WarnContext(ctx, "a schedule is not yet as it should be", "target", targetID, "schedule", name, "error", err)
	}
}

// handle is Temporal's schedule behind a row.
func (s *Service) handle(ctx context.Context, row store.Schedule) (client.Client, client.ScheduleHandle, error) {
	c, err := s.deps.Namespaces.Client(ctx, row.OrgID)
	if err != nil {
		return nil, nil, away(err)
	}
	return c, c.ScheduleClient().GetHandle(ctx, flow.ScheduleID(row.TargetID, row.Name)), nil
}

// away says in a caller's words that Temporal is away, when it is.
func away(err error) error { return namespaces.Fault(err, "Temporal does not answer") }
