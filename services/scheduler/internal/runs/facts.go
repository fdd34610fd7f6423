package runs

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Paused records that somebody holds a run.
func (r *Recorder) Paused(ctx context.Context, a act, at time.Time) error {
	return r.store.Tx(ctx, func(tx *sqldb.Tx) error {
		return bus.Put(ctx, tx, &schedulerv1.RunPaused{
			RunId: a.runID, WorkflowId: a.workflowID, TargetId: a.target.ID, OrgId: a.target.OrgID,
			By: a.by, Reason: a.reason, Time: timestamppb.New(at),
		})
	})
}

// Unpaused records that a run goes on.
func (r *Recorder) Unpaused(ctx context.Context, a act, at time.Time) error {
	return r.store.Tx(ctx, func(tx *sqldb.Tx) error {
		return bus.Put(ctx, tx, &schedulerv1.RunUnpaused{
			RunId: a.runID, WorkflowId: a.workflowID, TargetId: a.target.ID, OrgId: a.target.OrgID,
			By: a.by, Reason: a.reason, Time: timestamppb.New(at),
		})
	})
}

// Terminated records who ended a run, and its end.
func (r *Recorder) Terminated(ctx context.Context, a act, at time.Time) error {
	err := r.store.Tx(ctx, func(tx *sqldb.Tx) error {
		if _, err := r.close(ctx, tx, a.fact(), Terminated, at); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.RunTerminated{
			RunId: a.runID, WorkflowId: a.workflowID, TargetId: a.target.ID, OrgId: a.target.OrgID,
			By: a.by, Reason: a.reason, Time: timestamppb.New(at),
		})
	})
	r.onClose(a.runID)
	return err
}

// Reset records that newRunID goes on from an event of a run. It belongs to whoever
// started that one.
func (r *Recorder) Reset(ctx context.Context, a act, newRunID string, eventID int64, at time.Time) error {
	err := r.store.Tx(ctx, func(tx *sqldb.Tx) error {
		if !closed(a.found) {
			if _, err := r.close(ctx, tx, a.fact(), Terminated, at); err != nil {
				return err
			}
		}
		next := a.fact()
		next.RunID, next.StartedAt = newRunID, at
		if err := r.begin(ctx, tx, r.heir(ctx, next, a.runID)); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.RunReset{
			RunId: a.runID, WorkflowId: a.workflowID, TargetId: a.target.ID, OrgId: a.target.OrgID,
			By: a.by, Reason: a.reason, Time: timestamppb.New(at), NewRunId: newRunID, EventId: eventID,
		})
	})
	r.onClose(a.runID)
	return err
}

// Resumed records a run that goes on from a point of another's history, whoever reset it.
func (r *Recorder) Resumed(ctx context.Context, run store.Run, baseRunID string) error {
	return r.Started(ctx, r.heir(ctx, run, baseRunID))
}

// heir gives run the starter and the session of the one that it goes on from, when that
// is known.
func (r *Recorder) heir(ctx context.Context, run store.Run, baseRunID string) store.Run {
	base, err := r.store.Run(ctx, baseRunID)
	if err != nil {
		return run // a run without a session is told to nobody; it runs all the same
	}
	run.SessionID, run.UserID, run.ProgressToken = base.SessionID, base.UserID, base.ProgressToken
	run.ParentWorkflowID, run.ParentRunID = base.ParentWorkflowID, base.ParentRunID
	return run
}

// begin writes a run down in tx with its event, once.
func (r *Recorder) begin(ctx context.Context, tx *sqldb.Tx, run store.Run) error {
	inserted, err := r.store.InsertRun(ctx, tx, run)
	if err != nil {
		return err
	}
	if !inserted {
		return r.store.DescribeRun(ctx, tx, run)
	}
	return bus.Put(ctx, tx, &schedulerv1.RunStarted{
		RunId: run.RunID, WorkflowId: run.WorkflowID, TargetId: run.TargetID, OrgId: run.OrgID,
		Name: nameOf(run.Type), Time: timestamppb.New(run.StartedAt),
	})
}

// close writes the end of a run down in tx with its event; false when that was known or
// the run is not, which is nobody's concern.
func (r *Recorder) close(ctx context.Context, tx *sqldb.Tx, run store.Run, outcome string, at time.Time) (bool, error) {
	closed, err := r.store.CloseRun(ctx, tx, run.RunID, outcome, at)
	if err != nil || !closed {
		return false, err
	}
	if err := r.withdraw(ctx, tx, run.RunID, at); err != nil {
		return false, err
	}
	return true, bus.Put(ctx, tx, &schedulerv1.RunClosed{
		RunId: run.RunID, WorkflowId: run.WorkflowID, TargetId: run.TargetID, OrgId: run.OrgID,
		Outcome: outcome, Time: timestamppb.New(at),
	})
}
