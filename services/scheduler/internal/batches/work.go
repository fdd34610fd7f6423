package batches

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	recordLimit = 30 * time.Second
	firstPause  = 100 * time.Millisecond
	maxPause    = 10 * time.Second
	// internalTries bounds how often a start is tried that fails by our mistake.
	internalTries = 5
	// keptResult bounds the result that is kept with an item, bytes; a larger one is
	// read from the run.
	keptResult   = 64 << 10
	keptMessage  = 4 << 10
	cancelReason = "the batch was cancelled"
)

// work starts the run of an item, unless it is open, waits for its end, and tells both.
func (w *window) work(ctx context.Context, item store.Item) {
	var err error
	if item.RunID == "" {
		if item.RunID, err = w.startItem(ctx, item); err != nil {
			w.fail(ctx, item, err)
			return
		}
		w.facts <- with(item, store.ItemRunning)
	}
	if w.batch.State == store.BatchCancelling {
		w.cancel(ctx, item)
	}
	var end *schedulerv1.Run
	err = w.insist(ctx, func(ctx context.Context) error {
		end, err = w.deps.Runs.Await(ctx, store.Run{RunID: item.RunID, WorkflowID: workflowID(w.batch.Name, item), TargetID: w.batch.TargetID, OrgID: w.batch.OrgID})
		return err
	})
	if err != nil {
		w.fail(ctx, item, err)
		return
	}
	w.facts <- w.ended(item, end)
}

func with(item store.Item, state store.ItemState) store.Item {
	item.State = state
	return item
}

// startItem starts the run in the name of who started the batch.
func (w *window) startItem(ctx context.Context, item store.Item) (runID string, err error) {
	ctx = principal.With(ctx, principal.Principal{Kind: principal.User, UserID: w.batch.UserID, OrgID: w.batch.OrgID})
	err = w.insist(ctx, func(ctx context.Context) error {
		runID, err = w.deps.Runs.StartItem(ctx, runs.Item{
			TargetID: w.batch.TargetID, Name: w.batch.Name, WorkflowID: workflowID(w.batch.Name, item),
			ArgumentsJSON: item.Input, BatchID: w.batch.ID, Index: item.Index,
		})
		return err
	})
	return runID, err
}

// insist does something again until it works, fails for good, or ctx ends.
func (w *window) insist(ctx context.Context, do func(context.Context) error) error {
	mistakes := 0
	for pause := firstPause; ; pause = min(2*pause, maxPause) {
		err := do(ctx)
		switch fault.KindOf(err) {
		case fault.None, fault.Invalid, fault.NotFound, fault.TooLarge, fault.Conflict, fault.Denied, fault.Unimplemented:
			return err
		case fault.Internal:
			if mistakes++; mistakes == internalTries {
				w.deps.Log.ErrorContext(ctx, "an item of a batch is given up", "batch", w.batch.ID, "error", err)
				return err
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(pause):
		}
	}
}

// fail tells that an item has no run, or one that is lost; the end of the window is no
// failure.
func (w *window) fail(ctx context.Context, item store.Item, err error) {
	if ctx.Err() != nil {
		return
	}
	item.State, item.ErrorType, item.ErrorMessage, item.EndedAt = store.ItemFailed, "NotStarted", cut(fault.Message(err)), w.deps.Now()
	if item.RunID != "" {
		item.ErrorType = "RunLost"
	}
	w.facts <- item
}

var ends = map[schedulerv1.RunStatus]store.ItemState{
	schedulerv1.RunStatus_RUN_STATUS_COMPLETED: store.ItemCompleted,
	schedulerv1.RunStatus_RUN_STATUS_CANCELED:  store.ItemCancelled,
}

// ended is an item whose run has closed.
func (w *window) ended(item store.Item, run *schedulerv1.Run) store.Item {
	state, ok := ends[run.GetStatus()]
	if !ok {
		state = store.ItemFailed
	}
	if w.batch.State == store.BatchCancelling && state == store.ItemFailed && run.GetStatus() == schedulerv1.RunStatus_RUN_STATUS_TERMINATED {
		state = store.ItemCancelled
	}
	item.State, item.EndedAt = state, w.deps.Now()
	item.ErrorType, item.ErrorMessage = run.GetErrorType(), cut(run.GetErrorMessage())
	if result := run.GetResultJson(); len(result) <= keptResult {
		item.Result = result
	}
	return item
}

// cut bounds a message; Postgres takes no zero bytes.
func cut(text string) string {
	text = strings.ReplaceAll(text, "\x00", "")
	if len(text) > keptMessage {
		text = strings.ToValidUTF8(text[:keptMessage], "") + "…"
	}
	return text
}

// prepare cancels what waits when the batch is cancelled. An item may have been started
// by a process that died before it could say so: those that could be are cancelled, too.
func (w *window) prepare(ctx context.Context) error {
	if w.batch.State != store.BatchCancelling {
		return nil
	}
	next, err := w.deps.Store.Items(ctx, w.batch.ID, 0, w.batch.Concurrency+2*groupItems, store.ItemPending)
	if err != nil {
		return err
	}
	for _, item := range next {
		w.cancel(ctx, item)
	}
	return w.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		b, err := w.deps.Store.CancelItems(ctx, tx, w.batch.ID, w.deps.Now())
		if err != nil {
			return err
		}
		return w.settle(ctx, tx, b)
	})
}

// cancel asks the run of an item to end; that it ended is waited for elsewhere.
func (w *window) cancel(ctx context.Context, item store.Item) {
	force := w.late.Load()
	err := w.deps.Runs.CancelItem(ctx, w.batch.OrgID, workflowID(w.batch.Name, item), force, cancelReason)
	if err != nil && ctx.Err() == nil {
		w.deps.Log.WarnContext(ctx, "a run of a batch was not cancelled", "batch", w.batch.ID, "index", item.Index, "error", err)
	}
}

// force ends the runs of a cancelled batch that did not end by themselves.
func (w *window) force(ctx context.Context) {
	if w.batch.State != store.BatchCancelling {
		return
	}
	for first := int64(0); ; {
		items, err := w.deps.Store.Items(ctx, w.batch.ID, first, feedPage, store.ItemRunning)
		if err != nil || len(items) == 0 {
			return
		}
		for _, item := range items {
			w.cancel(ctx, item)
		}
		first = items[len(items)-1].Index + 1
	}
}

func tenths(b store.Batch) int64 { return 10 * b.Ended() / max(b.Total, 1) }

// settle tells in tx how far a batch is, and ends it when nothing is left.
func (s *Service) settle(ctx context.Context, tx *sqldb.Tx, b store.Batch) error {
	now := s.deps.Now()
	if b.Pending+b.Running == 0 {
		return s.close(ctx, tx, b, now)
	}
	if tenths(b) <= b.Tenths {
		return nil
	}
	if err := s.deps.Store.TellTenths(ctx, tx, b.ID, tenths(b)); err != nil {
		return err
	}
	return bus.Put(ctx, tx, &schedulerv1.BatchProgressed{
		BatchId: b.ID, TargetId: b.TargetID, OrgId: b.OrgID, Total: b.Total, Completed: b.Completed, Failed: b.Failed, Cancelled: b.Cancelled,
		Time: timestamppb.New(now),
	})
}

// close ends a batch once.
func (s *Service) close(ctx context.Context, tx *sqldb.Tx, b store.Batch, now time.Time) error {
	end, event := store.BatchCompleted, proto.Message(&schedulerv1.BatchCompleted{
		BatchId: b.ID, TargetId: b.TargetID, OrgId: b.OrgID, Completed: b.Completed, Failed: b.Failed, Cancelled: b.Cancelled, Time: timestamppb.New(now),
	})
	switch b.State {
	case store.BatchCompleted, store.BatchCancelled:
		return nil
	case store.BatchCancelling:
		end, event = store.BatchCancelled, &schedulerv1.BatchCancelled{
			BatchId: b.ID, TargetId: b.TargetID, OrgId: b.OrgID, Completed: b.Completed, Failed: b.Failed, Cancelled: b.Cancelled, Time: timestamppb.New(now),
		}
	}
	if err := s.deps.Store.EndBatch(ctx, tx, b.ID, end, now); err != nil {
		return err
	}
	return bus.Put(ctx, tx, event)
}
