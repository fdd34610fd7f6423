package runs

import (
	"context"
	"slices"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// mostNames bounds how many names a refusal lists.
const mostNames = 20

// ResetRun goes back to a point of a run's history.
func (o *Operations) ResetRun(ctx context.Context, req *schedulerv1.ResetRunRequest) (*schedulerv1.ResetRunResponse, error) {
	a, err := o.act(ctx, req)
	if err != nil {
		return nil, err
	}
	if err := o.versionStays(ctx, a.found); err != nil {
		return nil, err
	}
	past, err := pastOf(ctx, a.found)
	if err != nil {
		return nil, err
	}
	event, err := past.point(req.GetPoint())
	if err != nil {
		return nil, err
	}
	reset := &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: a.target.OrgID, WorkflowExecution: a.execution(), Reason: a.reason, Identity: a.by,
		WorkflowTaskFinishEventId: event, RequestId: o.deps.NewUUID(),
	}
	if req.GetWithoutSignals() {
		reset.ResetReapplyExcludeTypes = []enumspb.ResetReapplyExcludeType{enumspb.RESET_REAPPLY_EXCLUDE_TYPE_SIGNAL}
	}
	res, err := a.client.WorkflowService().ResetWorkflowExecution(ctx, reset)
	if err != nil {
		return nil, noRunOr(err)
	}
	answer := &schedulerv1.ResetRunResponse{WorkflowId: a.workflowID, RunId: res.GetRunId(), EventId: event}
	return answer, o.done(ctx, a.found, func(ctx context.Context) error {
		return o.deps.Record.Reset(ctx, a, res.GetRunId(), event, o.deps.Now())
	})
}

// versionStays fails with fault.Conflict when the code that the run is bound to does not
// run any more, so that it would wait for ever.
func (s *Service) versionStays(ctx context.Context, f found) error {
	versionID := versionOf(f.description.GetWorkflowExecutionInfo())
	if versionID == "" {
		return nil // a run that is bound to none
	}
	v, err := s.deps.Store.Version(ctx, versionID)
	if fault.NotFound.Is(err) {
		return fault.Conflict.Wrap(err, "the version on which this run began was deleted, and another version's code cannot go on with it; start a new run")
	}
	if err == nil && (v.State == store.Gone || v.State == store.Failed) {
		return fault.Conflict.Errorf("version %d, on which this run began, is gone, and another version's code cannot go on with it; start a new run", v.Number)
	}
	return err
}

// past is what a reset has to know of a history.
type past struct {
	// steps are the events that end a step of the code that went well, in order.
	steps []int64
	// activities are the first steps that asked for each activity, by its name.
	activities map[string]int64
}

func pastOf(ctx context.Context, f found) (past, error) {
	p := past{activities: map[string]int64{}}
	events := f.client.GetWorkflowHistory(ctx, f.workflowID, f.runID, false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return p, noRunOr(err)
		}
		p.add(event)
	}
	return p, nil
}

func (p *past) add(event *historypb.HistoryEvent) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
		p.steps = append(p.steps, event.GetEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		a := event.GetActivityTaskScheduledEventAttributes()
		if _, known := p.activities[a.GetActivityType().GetName()]; !known {
			p.activities[a.GetActivityType().GetName()] = a.GetWorkflowTaskCompletedEventId()
		}
	}
}

// point is the event to go back to.
func (p *past) point(wanted *schedulerv1.ResetPoint) (int64, error) {
	if len(p.steps) == 0 {
		return 0, fault.Conflict.Errorf("the run's code has not finished a first step yet; there is nothing to go back to")
	}
	switch at := wanted.GetPoint().(type) {
	case *schedulerv1.ResetPoint_FirstStep:
		return p.steps[0], nil
	case *schedulerv1.ResetPoint_EventId:
		return p.stepOf(at.EventId)
	case *schedulerv1.ResetPoint_BeforeActivity:
		return p.before(at.BeforeActivity)
	}
	return p.steps[len(p.steps)-1], nil
}

// stepOf is the last step that ended at an event or before it.
func (p *past) stepOf(eventID int64) (int64, error) {
	i, exact := slices.BinarySearch(p.steps, eventID)
	switch {
	case exact:
		return p.steps[i], nil
	case i == 0:
		return 0, fault.Invalid.Errorf("no step of the code had ended at event %d; the first ends at event %d", eventID, p.steps[0])
	}
	return p.steps[i-1], nil
}

func (p *past) before(activity string) (int64, error) {
	if step, ok := p.activities[activity]; ok {
		return step, nil
	}
	var names []string
	for name := range p.activities {
		names = append(names, name)
	}
	slices.Sort(names)
	switch {
	case len(names) == 0:
		return 0, fault.Invalid.Errorf("the run has asked for no activity yet")
	case len(names) > mostNames:
		names = append(names[:mostNames], "…")
	}
	return 0, fault.Invalid.Errorf("the run has asked for no activity %q; it has asked for: %s", activity, strings.Join(names, ", "))
}
