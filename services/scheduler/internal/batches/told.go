package batches

import (
	"context"
	"time"

	"github.com/google/uuid"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

var batchStates = map[store.BatchState]schedulerv1.BatchState{
	store.BatchRunning:    schedulerv1.BatchState_BATCH_STATE_RUNNING,
	store.BatchPaused:     schedulerv1.BatchState_BATCH_STATE_PAUSED,
	store.BatchCancelling: schedulerv1.BatchState_BATCH_STATE_CANCELLING,
	store.BatchCompleted:  schedulerv1.BatchState_BATCH_STATE_COMPLETED,
	store.BatchCancelled:  schedulerv1.BatchState_BATCH_STATE_CANCELLED,
}

var itemStates = map[store.ItemState]schedulerv1.BatchItemState{
	store.ItemPending:   schedulerv1.BatchItemState_BATCH_ITEM_STATE_PENDING,
	store.ItemRunning:   schedulerv1.BatchItemState_BATCH_ITEM_STATE_RUNNING,
	store.ItemCompleted: schedulerv1.BatchItemState_BATCH_ITEM_STATE_COMPLETED,
	store.ItemFailed:    schedulerv1.BatchItemState_BATCH_ITEM_STATE_FAILED,
	store.ItemCancelled: schedulerv1.BatchItemState_BATCH_ITEM_STATE_CANCELLED,
}

// stored is the inverse of a table above.
func stored[S, T comparable](table map[S]T, told T) (state S, ok bool) {
	for state, one := range table {
		if one == told {
			return state, true
		}
	}
	return state, false
}

func tell(b store.Batch) *schedulerv1.Batch {
	return &schedulerv1.Batch{
		BatchId: b.ID, TargetId: b.TargetID, Name: b.Name, State: batchStates[b.State], Concurrency: int32(b.Concurrency), //nolint:gosec // bounded at the start
		Total: b.Total, Pending: b.Pending, Running: b.Running, Completed: b.Completed, Failed: b.Failed, Cancelled: b.Cancelled,
		Skipped: b.Skipped, StartedBy: b.UserID, StartTime: stamp(b.StartedAt), EndTime: stamp(b.EndedAt),
	}
}

func tellItem(name string, i store.Item) *schedulerv1.BatchItem {
	return &schedulerv1.BatchItem{
		Index: i.Index, State: itemStates[i.State], WorkflowId: workflowID(name, i), RunId: i.RunID,
		Retries:   int32(i.Retries), //nolint:gosec // a person's clicks
		ErrorType: i.ErrorType, ErrorMessage: i.ErrorMessage, EndTime: stamp(i.EndedAt),
	}
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}

// itemSpace is the name space (RFC 9562, version 5) of items' ids.
var itemSpace = uuid.NewSHA1(uuid.NameSpaceOID, []byte("agentcloud.scheduler.batch.item"))

// workflowID is the same for the same try of the same item, so that Temporal starts it once.
func workflowID(name string, i store.Item) string {
	text := i.BatchID + "/" + itoa(i.Index) + "/" + itoa(i.Retries)
	return name + "-" + uuid.NewSHA1(itemSpace, []byte(text)).String()
}

func sees(ctx context.Context, orgID string) bool { return store.Sees(principal.From(ctx), orgID) }
