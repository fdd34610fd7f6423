package runs

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"github.com/mcpagentcloud/agentcloud/pkg/page"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
)

const historyPage = 1000

// GetRunTimeline tells what has happened in a run. The history is read from its
// beginning, since what ends a step names only the event that began it.
func (o *Operations) GetRunTimeline(ctx context.Context, req *schedulerv1.GetRunTimelineRequest) (*schedulerv1.GetRunTimelineResponse, error) {
	f, err := o.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	wait, cancel := o.waiting(ctx, req.GetWait().AsDuration())
	defer cancel()
	t := &teller{after: req.GetAfterEventId(), most: page.Size(int(req.GetPageSize()), mostRuns, mostRuns), began: map[int64]began{}}
	if err := t.read(ctx, wait, f, req.GetWait().AsDuration() > 0); err != nil {
		return nil, err
	}
	if t.status == schedulerv1.RunStatus_RUN_STATUS_TERMINATED {
		// A reset ends an open run, too, and only the run's record says so.
		now, err := o.find(ctx, f.target.ID, f.workflowID, f.runID)
		if err != nil {
			return nil, err
		}
		t.next = now.description.GetWorkflowExtendedInfo().GetResetRunId()
	}
	return t.answer(), nil
}

// read goes through the history, and with follow waits at its end for something new.
func (t *teller) read(ctx, wait context.Context, f found, follow bool) error {
	for token := []byte(nil); ; {
		asking := ctx
		if follow {
			asking = wait
		}
		res, err := f.client.WorkflowService().GetWorkflowExecutionHistory(asking, &workflowservice.GetWorkflowExecutionHistoryRequest{
			Namespace: f.target.OrgID, Execution: f.execution(), MaximumPageSize: historyPage, NextPageToken: token, WaitNewEvent: follow,
		})
		if err != nil && follow && endOfWait(wait, err) {
			return ctx.Err() // which is no failure by itself
		}
		if err != nil {
			return noRunOr(err)
		}
		events := res.GetHistory().GetEvents()
		for _, event := range events {
			if t.full() {
				return nil
			}
			t.tell(event)
		}
		token = res.GetNextPageToken()
		if len(token) == 0 || t.full() || follow && len(t.entries) > 0 && len(events) < historyPage {
			return nil
		}
	}
}

// endOfWait says whether a call ended with the wait; Temporal may notice it first.
func endOfWait(wait context.Context, err error) bool {
	code := namespaces.Code(err)
	return wait.Err() != nil || code == codes.DeadlineExceeded || code == codes.Canceled
}

// teller puts a history into words.
type teller struct {
	after   int64
	most    int
	entries []*schedulerv1.TimelineEntry
	began   map[int64]began
	start   time.Time
	last    int64
	status  schedulerv1.RunStatus
	over    bool
	next    string // run id of the run that goes on
}

// began is the beginning of something that ends later.
type began struct {
	name    string
	at      time.Time
	attempt int32
}

func (t *teller) full() bool { return len(t.entries) >= t.most }

func (t *teller) answer() *schedulerv1.GetRunTimelineResponse {
	if t.status == schedulerv1.RunStatus_RUN_STATUS_UNSPECIFIED {
		t.status = schedulerv1.RunStatus_RUN_STATUS_RUNNING
	}
	return &schedulerv1.GetRunTimelineResponse{
		Entries: t.entries, LastEventId: max(t.last, t.after), Status: t.status, Complete: t.over, NextRunId: t.next,
	}
}

// turns are the events after which a run is in another state.
var turns = map[enumspb.EventType]schedulerv1.RunStatus{
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_PAUSED:           schedulerv1.RunStatus_RUN_STATUS_PAUSED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_UNPAUSED:         schedulerv1.RunStatus_RUN_STATUS_RUNNING,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:        schedulerv1.RunStatus_RUN_STATUS_COMPLETED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:           schedulerv1.RunStatus_RUN_STATUS_FAILED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:         schedulerv1.RunStatus_RUN_STATUS_CANCELED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:       schedulerv1.RunStatus_RUN_STATUS_TERMINATED,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:        schedulerv1.RunStatus_RUN_STATUS_TIMED_OUT,
	enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CONTINUED_AS_NEW: schedulerv1.RunStatus_RUN_STATUS_RUNNING,
}
