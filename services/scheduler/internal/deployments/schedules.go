package deployments

import (
	"context"
	"errors"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// schedules keeps the schedules of targets.
type schedules interface {
	// Check says what is wrong with the schedules that a version declares.
	Check(ctx context.Context, v store.Version) (projectfile.Mistakes, error)
	// Switched writes down what a version that goes live makes of them.
	Switched(ctx context.Context, tx *sqldb.Tx, v store.Version) error
	// Apply brings that to Temporal.
	Apply(ctx context.Context, targetID string) error
	// End takes them all away.
	End(ctx context.Context, targetID string) error
}

// CheckSchedules asks whether the version can run what it declares.
func (s *steps) CheckSchedules(ctx context.Context, in flow.Version) (*flow.Failure, error) {
	defer beat(ctx)()
	v, err := s.wanted(ctx, in.VersionID)
	if err != nil {
		return s.verdict(ctx, in, "check schedules", err)
	}
	mistakes, err := s.schedules.Check(ctx, v)
	if err != nil || len(mistakes) == 0 {
		return s.verdict(ctx, in, "check schedules", err)
	}
	return &flow.Failure{Reason: mistakes[0].String(), Detail: mistakes[1:].Error()}, nil
}

// ApplySchedules brings to Temporal what the switch has changed of the schedules.
func (s *steps) ApplySchedules(ctx context.Context, in flow.Version) error {
	defer s.begin(ctx, in, "schedules")()
	return s.sentence(ctx, in.TargetID, s.schedules.Apply(ctx, in.TargetID))
}

// EndSchedules ends the target's schedules.
func (s *steps) EndSchedules(ctx context.Context, in flow.Target) error {
	defer beat(ctx)()
	return s.sentence(ctx, in.TargetID, s.schedules.End(ctx, in.TargetID))
}

// sentence is what may be in a history of an error; the log has the rest.
func (s *steps) sentence(ctx context.Context, targetID string, err error) error {
	if err == nil {
		return nil
	}
	s.log.WarnContext(ctx, "the schedules of an app are not yet as they should be", "target", targetID, "error", err)
	return errors.New(fault.Message(err))
}
