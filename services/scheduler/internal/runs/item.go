package runs

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// itemPriority is Temporal's priority of a batch's items, from 1 (first) to 5; those
// who wait for their own run come before.
const itemPriority = 4

// Inputs checks arguments for many runs of one workflow or tool.
type Inputs struct {
	Target store.Target
	params *parameters
}

// Inputs returns the check for what the live version of a target takes. It fails as a
// start would.
func (s *Service) Inputs(ctx context.Context, targetID, name string) (*Inputs, error) {
	run := start{name: name}
	known, err := s.resolve(ctx, targetID, "", &run)
	if err != nil {
		return nil, err
	}
	return &Inputs{Target: run.target, params: known.params}, nil
}

// Check returns arguments as one JSON object with every default filled in. It fails
// with fault.Invalid and says each problem.
func (i *Inputs) Check(argumentsJSON string) (json.RawMessage, error) {
	args, err := i.params.check(argumentsJSON)
	if err != nil {
		return nil, err
	}
	return object(args), nil
}

// Only is the name of the single parameter; ok is false when there are none or more.
func (i *Inputs) Only() (name string, ok bool) {
	if len(i.params.order) != 1 {
		return "", false
	}
	return i.params.order[0], true
}

// Has says whether there is such a parameter.
func (i *Inputs) Has(name string) bool { return i.params.open || slices.Contains(i.params.order, name) }

// Names are the names of all parameters, for people.
func (i *Inputs) Names() string { return strings.Join(i.params.order, ", ") }

// Text says whether a parameter takes any text as it is.
func (i *Inputs) Text(name string) bool { return i.params.textual[name] }

// Item is a run of a batch.
type Item struct {
	TargetID, Name string
	// WorkflowID is the same whenever the item is started, so that it runs once.
	WorkflowID    string
	ArgumentsJSON string
	BatchID       string
	Index         int64
}

// StartItem starts the run of an item, or finds it started.
func (s *Service) StartItem(ctx context.Context, item Item) (runID string, err error) {
	run, err := s.prepare(ctx, &schedulerv1.StartRunRequest{TargetId: item.TargetID, Name: item.Name, ArgumentsJson: item.ArgumentsJSON})
	if err != nil {
		return "", err
	}
	run.id, run.keyed, run.item = item.WorkflowID, true, &item
	started, err := s.begin(ctx, run, &schedulerv1.StartRunRequest{})
	return started.GetRunId(), err
}

// mark says of which batch a run is an item.
func (item *Item) mark(options *client.StartWorkflowOptions) {
	if item == nil {
		return
	}
	options.Memo[flow.MemoBatch], options.Memo[flow.MemoBatchIndex] = item.BatchID, item.Index
	options.Priority.PriorityKey = max(options.Priority.PriorityKey, itemPriority)
}

// CancelItem asks the run of an item to end, by force or not. One that is not there or
// has ended is none.
func (s *Service) CancelItem(ctx context.Context, orgID, workflowID string, force bool, reason string) error {
	c, err := s.deps.Namespaces.Client(ctx, orgID)
	if err != nil {
		return away(err)
	}
	if force {
		err = c.TerminateWorkflow(ctx, workflowID, "", reason)
	} else {
		err = c.CancelWorkflow(ctx, workflowID, "")
	}
	if missing(err) {
		return nil
	}
	return away(err)
}

// Await waits until a run has closed and tells its end. It costs Temporal one long
// poll, and nothing is kept here meanwhile.
func (s *Service) Await(ctx context.Context, run store.Run) (*schedulerv1.Run, error) {
	c, err := s.deps.Namespaces.Client(ctx, run.OrgID)
	if err != nil {
		return nil, away(err)
	}
	first := run.RunID
	for range maxChain {
		event, err := lastEvent(ctx, c, run)
		if err != nil {
			return nil, err
		}
		if err := s.deps.Record.Closed(ctx, run, endOf(event), event.GetEventTime().AsTime()); err != nil {
			return nil, err
		}
		next := event.GetWorkflowExecutionContinuedAsNewEventAttributes().GetNewExecutionRunId()
		if next != "" {
			run.RunID = next
			continue
		}
		told := &schedulerv1.Run{WorkflowId: run.WorkflowID, RunId: first, TargetId: run.TargetID, Status: statuses[closeStatus[event.GetEventType()]]}
		closeWith(told, event)
		return told, nil // a large result stays where it is
	}
	return nil, fault.TooLarge.Errorf("this run has continued as new more than %d times", maxChain)
}

func lastEvent(ctx context.Context, c client.Client, run store.Run) (*historypb.HistoryEvent, error) {
	events := c.GetWorkflowHistory(ctx, run.WorkflowID, run.RunID, true, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if !events.HasNext() {
		return nil, fmt.Errorf("the history of run %s has no end", run.RunID)
	}
	event, err := events.Next()
	if err != nil {
		return nil, noRunOr(err)
	}
	return event, nil
}

var closeStatus = map[enumspb.EventType]enumspb.WorkflowExecutionStatus{
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:        enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:           enumspb.WORKFLOW_EXECUTION_STATUS_FAILED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:         enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:       enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:        enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW,
}

func endOf(event *historypb.HistoryEvent) string { return outcomes[closeStatus[event.GetEventType()]] }
