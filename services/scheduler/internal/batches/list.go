package batches

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	usualPage    = 100
	mostRows     = 1000
	toldFailures = 20
)

// GetBatch tells how a batch is, and why items failed.
func (s *Service) GetBatch(ctx context.Context, req *schedulerv1.GetBatchRequest) (*schedulerv1.GetBatchResponse, error) {
	b, err := s.batch(ctx, req.GetBatchId())
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.GetBatchResponse{Batch: tell(b)}
	if b.Failed == 0 {
		return res, nil
	}
	failures, err := s.deps.Store.Failures(ctx, b.ID, toldFailures)
	for _, f := range failures {
		res.Failures = append(res.Failures, &schedulerv1.BatchFailure{ErrorType: f.Type, ErrorMessage: f.Message, Items: f.Items})
	}
	return res, err
}

// ListBatches lists batches of the caller's organisation, newest first.
func (s *Service) ListBatches(ctx context.Context, req *schedulerv1.ListBatchesRequest) (*schedulerv1.ListBatchesResponse, error) {
	f := store.BatchFilter{OrgID: principal.From(ctx).OrgID, TargetID: req.GetTargetId(), Limit: page.Size(int(req.GetPageSize()), usualPage, mostRows)}
	if f.OrgID == "" {
		return nil, fault.Denied.Errorf("batches belong to an organisation; call as one of its users")
	}
	if req.GetState() != schedulerv1.BatchState_BATCH_STATE_UNSPECIFIED {
		state, ok := stored(batchStates, req.GetState())
		if !ok {
			return nil, fault.Invalid.Errorf("there is no batch state %d", req.GetState())
		}
		f.State = state
	}
	position, err := page.Decode(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	if millis, batchID, ok := strings.Cut(position, " "); ok {
		at, err := strconv.ParseInt(millis, 10, 64)
		if err != nil {
			return nil, fault.Invalid.Wrap(err, "the page token is damaged; start again without it")
		}
		f.Before, f.BeforeID = time.UnixMilli(at), batchID
	}
	batches, err := s.deps.Store.Batches(ctx, f)
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListBatchesResponse{}
	for _, b := range batches {
		res.Batches = append(res.Batches, tell(b))
	}
	if len(batches) == f.Limit {
		last := batches[len(batches)-1]
		res.NextPageToken = page.Encode(itoa(last.CreatedAt.UnixMilli()) + " " + last.ID)
	}
	return res, nil
}

// ListBatchItems lists the items of a batch in the order of the inputs.
func (s *Service) ListBatchItems(ctx context.Context, req *schedulerv1.ListBatchItemsRequest) (*schedulerv1.ListBatchItemsResponse, error) {
	b, err := s.batch(ctx, req.GetBatchId())
	if err != nil {
		return nil, err
	}
	states, err := wanted(req.GetState())
	if err != nil {
		return nil, err
	}
	first, err := position(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	limit := page.Size(int(req.GetPageSize()), usualPage, mostRows)
	items, err := s.deps.Store.Items(ctx, b.ID, first, limit, states...)
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListBatchItemsResponse{}
	for _, i := range items {
		res.Items = append(res.Items, tellItem(b.Name, i))
	}
	if len(items) == limit {
		res.NextPageToken = page.Encode(itoa(items[limit-1].Index + 1))
	}
	return res, nil
}

func wanted(state schedulerv1.BatchItemState) ([]store.ItemState, error) {
	if state == schedulerv1.BatchItemState_BATCH_ITEM_STATE_UNSPECIFIED {
		return nil, nil
	}
	one, ok := stored(itemStates, state)
	if !ok {
		return nil, fault.Invalid.Errorf("there is no item state %d", state)
	}
	return []store.ItemState{one}, nil
}

// position is the index at which a list goes on.
func position(token string) (int64, error) {
	text, err := page.Decode(token)
	if err != nil || text == "" {
		return 0, err
	}
	first, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fault.Invalid.Wrap(err, "the page token is damaged; start again without it")
	}
	return first, nil
}
