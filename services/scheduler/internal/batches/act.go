package batches

import (
	"context"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// PauseBatch lets open runs end and starts no more.
func (s *Service) PauseBatch(ctx context.Context, req *schedulerv1.PauseBatchRequest) (*schedulerv1.PauseBatchResponse, error) {
	b, err := s.turn(ctx, req.GetBatchId(), store.BatchPaused, store.BatchRunning, store.BatchPaused)
	return &schedulerv1.PauseBatchResponse{Batch: tell(b)}, err
}

// ResumeBatch goes on with a batch that was paused.
func (s *Service) ResumeBatch(ctx context.Context, req *schedulerv1.ResumeBatchRequest) (*schedulerv1.ResumeBatchResponse, error) {
	b, err := s.turn(ctx, req.GetBatchId(), store.BatchRunning, store.BatchPaused, store.BatchRunning)
	return &schedulerv1.ResumeBatchResponse{Batch: tell(b)}, err
}

// CancelBatch starts no more runs and cancels those that are open.
func (s *Service) CancelBatch(ctx context.Context, req *schedulerv1.CancelBatchRequest) (*schedulerv1.CancelBatchResponse, error) {
	b, err := s.turn(ctx, req.GetBatchId(), store.BatchCancelling, store.BatchRunning, store.BatchPaused, store.BatchCancelling)
	return &schedulerv1.CancelBatchResponse{Batch: tell(b)}, err
}

// turn writes a new state down, which is what counts, and wakes who steers.
func (s *Service) turn(ctx context.Context, batchID string, to store.BatchState, from ...store.BatchState) (b store.Batch, err error) {
	if _, err = s.batch(ctx, batchID); err != nil {
		return b, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		b, err = s.deps.Store.TurnBatch(ctx, tx, batchID, to, from...)
		return err
	})
	if err == nil {
		s.wake(ctx, batchID)
	}
	return b, err
}

// RetryBatch runs the items again that ended without a result.
func (s *Service) RetryBatch(ctx context.Context, req *schedulerv1.RetryBatchRequest) (*schedulerv1.RetryBatchResponse, error) {
	if _, err := s.batch(ctx, req.GetBatchId()); err != nil {
		return nil, err
	}
	res := &schedulerv1.RetryBatchResponse{}
	err := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) (err error) {
		b, err := s.retry(ctx, tx, req, res)
		if err != nil || res.GetItems() == 0 {
			res.Batch = tell(b)
			return err
		}
		if err := s.deps.Store.TellTenths(ctx, tx, b.ID, tenths(b)); err != nil {
			return err
		}
		res.Batch = tell(b)
		return bus.Put(ctx, tx, s.startedEvent(b))
	})
	if err != nil {
		return nil, err
	}
	s.wake(ctx, req.GetBatchId())
	return res, nil
}

func (s *Service) retry(ctx context.Context, tx *sqldb.Tx, req *schedulerv1.RetryBatchRequest, res *schedulerv1.RetryBatchResponse) (store.Batch, error) {
	states := []store.ItemState{store.ItemFailed}
	if req.GetCancelled() {
		states = append(states, store.ItemCancelled)
	}
	res.Items = 0 // the transaction may run again
	for _, state := range states {
		moved, err := s.deps.Store.RetryItems(ctx, tx, req.GetBatchId(), state)
		if err != nil {
			return store.Batch{}, err
		}
		res.Items += moved
	}
	if res.GetItems() == 0 {
		return store.Batch{}, fault.Conflict.Errorf("no item of this batch has failed, so there is nothing to retry")
	}
	b, err := s.deps.Store.TurnBatch(ctx, tx, req.GetBatchId(), store.BatchRunning, store.BatchRunning, store.BatchPaused, store.BatchCompleted, store.BatchCancelled)
	b.EndedAt = store.Batch{}.EndedAt
	return b, err
}

func (s *Service) startedEvent(b store.Batch) *schedulerv1.BatchStarted {
	return &schedulerv1.BatchStarted{
		BatchId: b.ID, TargetId: b.TargetID, OrgId: b.OrgID, Name: b.Name, Pending: b.Pending, Time: timestamppb.New(s.deps.Now()),
	}
}

// wake has the workflow look at the rows. When Temporal is away, whoever looks after
// the batches does it later.
func (s *Service) wake(ctx context.Context, batchID string) {
	c, err := s.system(ctx)
	if err == nil {
		_, err = c.SignalWithStartWorkflow(ctx, flow.BatchID(batchID), flow.BatchWake, nil, steering(batchID), flow.BatchWorkflow, batchID)
	}
	if err != nil {
		s.deps.Log.WarnContext(ctx, "a batch waits to be steered", "batch", batchID, "error", err)
	}
}

func steering(batchID string) client.StartWorkflowOptions {
	return client.StartWorkflowOptions{
		ID: flow.BatchID(batchID), TaskQueue: flow.BatchesQueue,
		WorkflowIDConflictPolicy: enumspb.WORKFLOW_ID_CONFLICT_POLICY_USE_EXISTING,
		WorkflowIDReusePolicy:    enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	}
}
