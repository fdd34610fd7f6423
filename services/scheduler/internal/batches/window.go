package batches

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/activity"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// windowTime ends a window. Runs that are open go on, and are met again in the next.
	windowTime = 10 * time.Minute
	lookEvery  = time.Second
	// feedPage bounds the inputs that are read ahead.
	feedPage = 50
	// groupItems bounds what is written in one transaction.
	groupItems = 100
	// grace is how long cancelled runs may take to end.
	grace = 30 * time.Second
)

var (
	errTurned   = errors.New("the batch is not what it was when the window began")
	errDraining = errors.New("this process ends; another goes on with the batch")
)

// Advance is the activity flow.AdvanceBatch. It may be run again, or twice at once: an
// item starts once, for its workflow id is always the same, and its end is written once.
func (s *Service) Advance(ctx context.Context, batchID string) (flow.BatchStep, error) {
	b, err := s.deps.Store.Batch(ctx, batchID)
	if fault.NotFound.Is(err) {
		return flow.BatchStep{Done: true}, nil // the app was deleted
	}
	if err != nil {
		return flow.BatchStep{}, plain(err)
	}
	if step, still := rest(b); still {
		return step, nil
	}
	w := &window{Service: s, batch: b}
	if err := w.run(ctx); err != nil {
		return flow.BatchStep{}, plain(err)
	}
	b, err = s.deps.Store.Batch(ctx, batchID)
	if fault.NotFound.Is(err) {
		return flow.BatchStep{Done: true}, nil
	}
	step, _ := rest(b)
	return step, plain(err)
}

// rest says whether there is nothing to do for a batch now.
func rest(b store.Batch) (step flow.BatchStep, still bool) {
	switch b.State {
	case store.BatchCompleted, store.BatchCancelled, store.BatchFilling:
		return flow.BatchStep{Done: true}, true
	case store.BatchPaused:
		return flow.BatchStep{Paused: b.Running == 0}, b.Running == 0
	}
	return flow.BatchStep{}, false
}

// plain keeps causes, which may quote inputs, out of Temporal's histories.
func plain(err error) error {
	if err == nil {
		return nil
	}
	return errors.New(fault.Message(err))
}

// window brings one batch forward for a while.
type window struct {
	*Service
	batch store.Batch
	// facts are items that changed, on their way into the database.
	facts chan store.Item
	// late says that cancelled runs have had their time.
	late atomic.Bool
}

func (w *window) run(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	ctx, cancel := context.WithTimeout(ctx, windowTime)
	defer cancel()
	w.facts = make(chan store.Item, groupItems)
	writer := &errgroup.Group{}
	writer.Go(func() error { return w.write(end) })
	writer.Go(func() error { w.look(ctx, end); return nil })
	err := w.feed(ctx)
	over := ctx.Err() != nil // time is over, or the batch has turned: another window goes on
	close(w.facts)
	cancel() // look has nothing more to look at
	if failed := writer.Wait(); failed != nil {
		return failed
	}
	if cause := context.Cause(ctx); errors.Is(cause, errDraining) {
		return cause
	}
	if over {
		return nil
	}
	return err
}

// look tells Temporal that the window lives, and ends it when the batch has turned or
// the process drains.
func (w *window) look(ctx context.Context, end context.CancelCauseFunc) {
	ticker := time.NewTicker(lookEvery)
	defer ticker.Stop()
	for began := w.deps.Now(); ; {
		activity.RecordHeartbeat(ctx)
		select {
		case <-ctx.Done():
			return
		case <-w.deps.Draining:
			end(errDraining)
		case <-ticker.C:
			now, err := w.deps.Store.Batch(ctx, w.batch.ID)
			if err == nil && now.State != w.batch.State || fault.NotFound.Is(err) {
				end(errTurned)
			}
			if w.deps.Now().Sub(began) > grace && !w.late.Swap(true) {
				w.force(ctx)
			}
		}
	}
}

// feed gives items to as many workers as the batch may have, and waits for them: first
// those that are open, then, while the batch runs, those that wait.
func (w *window) feed(ctx context.Context) error {
	workers := &errgroup.Group{}
	workers.SetLimit(w.batch.Concurrency)
	err := w.prepare(ctx)
	states := []store.ItemState{store.ItemRunning}
	if w.batch.State == store.BatchRunning {
		states = append(states, store.ItemPending)
	}
	for _, state := range states {
		if err == nil {
			err = w.feedState(ctx, workers, state)
		}
	}
	_ = workers.Wait() // workers tell by facts
	return err
}

func (w *window) feedState(ctx context.Context, workers *errgroup.Group, state store.ItemState) error {
	for first := int64(0); ; {
		items, err := w.deps.Store.Items(ctx, w.batch.ID, first, feedPage, state)
		if err != nil || len(items) == 0 {
			return err
		}
		for _, item := range items {
			select {
			case w.slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			workers.Go(func() error {
				defer func() { <-w.slots }()
				w.work(ctx, item)
				return nil
			})
		}
		first = items[len(items)-1].Index + 1
	}
}

// write records facts until there are no more, many in one transaction when they come
// fast.
func (w *window) write(end context.CancelCauseFunc) error {
	var failed error
	for fact := range w.facts {
		group := []store.Item{fact}
		for more := true; more && len(group) < groupItems; {
			select {
			case next, ok := <-w.facts:
				if more = ok; ok {
					group = append(group, next)
				}
			default:
				more = false
			}
		}
		if failed != nil {
			continue // the next window finds out again
		}
		if failed = w.record(group); failed != nil {
			end(failed)
		}
	}
	return failed
}

// record is not cut short by the window's end: what is known is written.
func (w *window) record(group []store.Item) error {
	ctx, cancel := context.WithTimeout(context.Background(), recordLimit)
	defer cancel()
	return w.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		b, err := w.deps.Store.ChangeItems(ctx, tx, w.batch.ID, group)
		if fault.NotFound.Is(err) {
			return nil // the app was deleted
		}
		if err != nil {
			return err
		}
		return w.settle(ctx, tx, b)
	})
}
