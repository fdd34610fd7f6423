package runs

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Outcomes of closed runs, as events carry them.
const (
	Completed  = "completed"
	Failed     = "failed"
	Canceled   = "canceled"
	Terminated = "terminated"
	TimedOut   = "timed_out"
)

// Recorder writes down facts about runs, each once, with its event.
type Recorder struct {
	store   *store.Store
	onClose func(runID string)
}

// NewRecorder returns a Recorder on s.
func NewRecorder(s *store.Store) *Recorder { return &Recorder{store: s, onClose: func(string) {}} }

// Started records a run that Temporal has accepted. A run that is known already only
// gets the name of who started it.
func (r *Recorder) Started(ctx context.Context, run store.Run) error {
	return r.store.Tx(ctx, func(tx *sqldb.Tx) error {
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
	})
}

// Closed records that a run ended; a run that is not known is nobody's concern.
func (r *Recorder) Closed(ctx context.Context, run store.Run, outcome string, at time.Time) error {
	news := false
	err := r.store.Tx(ctx, func(tx *sqldb.Tx) error {
		closed, err := r.store.CloseRun(ctx, tx, run.RunID, outcome, at)
		if err != nil || !closed {
			return err
		}
		news = true
		return bus.Put(ctx, tx, &schedulerv1.RunClosed{
			RunId: run.RunID, WorkflowId: run.WorkflowID, TargetId: run.TargetID, OrgId: run.OrgID,
			Outcome: outcome, Time: timestamppb.New(at),
		})
	})
	if news {
		r.onClose(run.RunID)
	}
	return err
}

// nameOf is the name by which the app registers a workflow type.
func nameOf(workflowType string) string {
	if tool, ok := agentenv.ToolOfWorkflow(workflowType); ok {
		return tool
	}
	return workflowType
}

// Ended records that a run ended just now.
func (r *Recorder) Ended(ctx context.Context, run store.Run, outcome string) error {
	return r.Closed(ctx, run, outcome, time.Now())
}
