// Package histories reads whole histories of runs, for those who look at the past. It
// is the one place where that is done, so that whatever changes payloads on their way
// to Temporal has one place to change them back.
package histories

import (
	"context"
	"fmt"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
)

// Most bounds a history in bytes.
const Most = 16 << 20

// A Passage puts back what was kept outside of histories.
type Passage interface {
	In(ctx context.Context, orgID string, message proto.Message) error
}

// Of names a run.
type Of struct{ OrgID, WorkflowID, RunID string }

// Read returns the events of a run as the agent's worker gets them, payloads encoded by
// the agent. It fails with fault.NotFound, and with fault.TooLarge over Most.
func Read(ctx context.Context, c client.Client, passage Passage, run Of) (*historypb.History, error) {
	history, err := read(ctx, c, run.WorkflowID, run.RunID)
	if err != nil {
		return nil, err
	}
	if err := passage.In(ctx, run.OrgID, history); err != nil {
		return nil, err
	}
	if proto.Size(history) > Most {
		return nil, errTooLarge
	}
	return history, nil
}

var errTooLarge = fault.TooLarge.Errorf("the history of this run is over %d MiB", Most>>20)

func read(ctx context.Context, c client.Client, workflowID, runID string) (*historypb.History, error) {
	history, size := &historypb.History{}, 0
	events := c.GetWorkflowHistory(ctx, workflowID, runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if namespaces.IsNotFound(err) {
			return nil, fault.NotFound.Wrap(err, "the history of this run is not kept any more (scheduler: temporal.retention)")
		}
		if err != nil {
			return nil, namespaces.Fault(err, "Temporal does not answer")
		}
		if size += proto.Size(event); size > Most {
			return nil, errTooLarge
		}
		history.Events = append(history.Events, event)
	}
	if len(history.GetEvents()) == 0 {
		return nil, fmt.Errorf("run %s has no events", runID)
	}
	return history, nil
}
