package runs

import (
	"context"
	"time"

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
	starts  joint
}

// NewRecorder returns a Recorder on s.
func NewRecorder(s *store.Store) *Recorder {
	r := &Recorder{store: s, onClose: func(string) {}}
	r.starts.commit = r.startedAll
	return r
}

// Started records a run that Temporal has accepted. A run that is known already only
// gets the name of who started it.
func (r *Recorder) Started(ctx context.Context, run store.Run) error {
	return r.starts.add(ctx, run)
}

func (r *Recorder) startedAll(ctx context.Context, runs []store.Run) error {
	return r.store.TxAhead(ctx, func(tx *sqldb.Tx) error {
		for _, run := range runs {
			if err := r.begin(ctx, tx, run); err != nil {
				return err
			}
		}
		return nil
	})
}

// Closed records that a run ended; a run that is not known is nobody's concern.
func (r *Recorder) Closed(ctx context.Context, run store.Run, outcome string, at time.Time) error {
	news := false
	err := r.store.Tx(ctx, func(tx *sqldb.Tx) (err error) {
		news, err = r.close(ctx, tx, run, outcome, at)
		return err
	})
	if news {
		r.onClose(run.RunID)
	}
	return err
}

// withdraw takes back in tx what a run has asked and nobody has answered.
func (r *Recorder) withdraw(ctx context.Context, tx *sqldb.Tx, runID string, at time.Time) error {
	open, err := r.store.WithdrawQuestions(ctx, tx, runID, at)
	if err != nil {
		return err
	}
	for _, q := range open {
		err := bus.Put(ctx, tx, &schedulerv1.QuestionWithdrawn{QuestionId: q.ID, TargetId: q.TargetID, OrgId: q.OrgID, RunId: q.RunID})
		if err != nil {
			return err
		}
	}
	return nil
}

// Withdraw takes back what a run has asked and nobody has answered.
func (r *Recorder) Withdraw(ctx context.Context, runID string, at time.Time) error {
	return r.store.Tx(ctx, func(tx *sqldb.Tx) error { return r.withdraw(ctx, tx, runID, at) })
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
