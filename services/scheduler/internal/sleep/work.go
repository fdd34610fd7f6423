package sleep

import (
	"context"
	"fmt"
	"slices"
	"time"

	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// mostOpen is how many open runs are looked at; a role with more stays awake.
	mostOpen = 100
	// mostSchedules is how many an app may have.
	mostSchedules = 100
	askWithin     = 5 * time.Second
)

// busy says whether a role has work in hand, or will have soon. Runs that wait for a
// person, a timer or a child give their worker nothing to do.
func (s *Service) busy(ctx context.Context, v version, r agentenv.Role) (bool, error) {
	c, err := s.deps.Namespaces.Client(ctx, v.OrgID)
	if err != nil {
		return false, err
	}
	open, err := s.openRuns(ctx, v, r, mostOpen+1)
	if err != nil || len(open) > mostOpen {
		return true, err
	}
	for _, run := range open {
		if works, err := s.works(ctx, c, run, r); works || err != nil {
			return works, err
		}
	}
	return s.scheduled(ctx, c, v)
}

// openRuns are those that a role works on: runs of tools have their bodies in the server,
// all others are the worker's.
func (s *Service) openRuns(ctx context.Context, v version, r agentenv.Role, limit int) ([]store.Run, error) {
	all, err := s.deps.Store.OpenRunsOf(ctx, v.TargetID, v.ID, r == agentenv.RoleServer, limit)
	if err != nil {
		return nil, fmt.Errorf("find open runs of %s: %w", v.TargetID, err)
	}
	return all, nil
}

// works says whether a role has a step of a run in hand, or will have soon.
func (s *Service) works(ctx context.Context, c client.Client, run store.Run, r agentenv.Role) (bool, error) {
	d, err := describe(ctx, c, run)
	if err != nil {
		return true, err
	}
	if d.GetPendingWorkflowTask() != nil && r == agentenv.RoleWorker {
		return true, nil
	}
	soon := s.deps.Now().Add(s.deps.Limits.Lead)
	for _, a := range d.GetPendingActivities() {
		switch a.GetState() {
		case enumspb.PENDING_ACTIVITY_STATE_STARTED, enumspb.PENDING_ACTIVITY_STATE_CANCEL_REQUESTED:
			return true, nil
		case enumspb.PENDING_ACTIVITY_STATE_SCHEDULED: // now, or for its next try
			if a.GetScheduledTime().AsTime().Before(soon) {
				return true, nil
			}
		case enumspb.PENDING_ACTIVITY_STATE_UNSPECIFIED, enumspb.PENDING_ACTIVITY_STATE_PAUSED, enumspb.PENDING_ACTIVITY_STATE_PAUSE_REQUESTED:
		}
	}
	return false, nil
}

// describe tells how a run is; nil when Temporal has forgotten it.
func describe(ctx context.Context, c client.Client, run store.Run) (*workflowservice.DescribeWorkflowExecutionResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	d, err := c.DescribeWorkflowExecution(ctx, run.WorkflowID, run.RunID)
	if namespaces.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("describe run %s: %w", run.RunID, err)
	}
	return d, nil
}

// scheduled says whether a schedule is due soon.
func (s *Service) scheduled(ctx context.Context, c client.Client, v version) (bool, error) {
	all, err := s.deps.Store.SchedulesOf(ctx, nil, v.TargetID, "", mostSchedules, false)
	if err != nil {
		return true, err
	}
	soon := s.deps.Now().Add(s.deps.Limits.Lead)
	for _, one := range all {
		if one.State == store.ScheduleApplying {
			return true, nil
		}
		limited, cancel := context.WithTimeout(ctx, askWithin)
		d, err := c.WorkflowService().DescribeSchedule(limited, &workflowservice.DescribeScheduleRequest{
			Namespace: v.OrgID, ScheduleId: flow.ScheduleID(one.TargetID, one.Name),
		})
		cancel()
		if namespaces.IsNotFound(err) {
			continue // it is over for so long that Temporal has forgotten it
		}
		if err != nil {
			return true, fmt.Errorf("describe schedule %s: %w", one.Name, err)
		}
		next := d.GetInfo().GetFutureActionTimes()
		if !d.GetSchedule().GetState().GetPaused() && len(next) > 0 && next[0].AsTime().Before(soon) {
			return true, nil
		}
	}
	return false, nil
}

// ownTasksWait is tasksWait without the tasks of other versions: the queue of workflow
// classes is one for all of them. Temporal has to look closely for that, so it is asked for
// only when there are tasks at all.
func (s *Service) ownTasksWait(ctx context.Context, v version, r agentenv.Role) (bool, error) {
	waits, err := s.tasksWait(ctx, v, r)
	if !waits || err != nil || r == agentenv.RoleServer {
		return waits, err
	}
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	c, err := s.deps.Namespaces.Client(ctx, v.OrgID)
	if err != nil {
		return false, err
	}
	its, err := c.WorkflowService().DescribeWorkerDeploymentVersion(ctx, &workflowservice.DescribeWorkerDeploymentVersionRequest{
		Namespace: v.OrgID, DeploymentVersion: &deploymentpb.WorkerDeploymentVersion{DeploymentName: v.TargetID, BuildId: v.ID}, ReportTaskQueueStats: true,
	})
	if err != nil && !namespaces.IsNotFound(err) {
		return false, fmt.Errorf("describe queues of version %s: %w", v.ID, err)
	}
	return slices.ContainsFunc(its.GetVersionTaskQueues(), func(q *workflowservice.DescribeWorkerDeploymentVersionResponse_VersionTaskQueue) bool {
		return q.GetStats().GetApproximateBacklogCount() > 0
	}), nil
}

// lane is one kind of task in one queue.
type lane struct {
	queue string
	kind  enumspb.TaskQueueType
}

func lanes(v version, r agentenv.Role) []lane {
	if r == agentenv.RoleServer {
		return []lane{{agentenv.ToolsQueue(v.TargetID, v.ID), enumspb.TASK_QUEUE_TYPE_ACTIVITY}}
	}
	queue := agentenv.TaskQueue(v.TargetID)
	return []lane{{queue, enumspb.TASK_QUEUE_TYPE_WORKFLOW}, {queue, enumspb.TASK_QUEUE_TYPE_ACTIVITY}}
}

// tasksWait says whether there are tasks for a role that nobody takes.
func (s *Service) tasksWait(ctx context.Context, v version, r agentenv.Role) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, askWithin)
	defer cancel()
	c, err := s.deps.Namespaces.Client(ctx, v.OrgID)
	if err != nil {
		return false, err
	}
	for _, l := range lanes(v, r) {
		d, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
			Namespace: v.OrgID, TaskQueue: &taskqueuepb.TaskQueue{Name: l.queue}, TaskQueueType: l.kind, ReportStats: true,
		})
		if err != nil && !namespaces.IsNotFound(err) {
			return false, fmt.Errorf("describe queue %s: %w", l.queue, err)
		}
		if d.GetStats().GetApproximateBacklogCount() > 0 {
			return true, nil
		}
	}
	return false, nil
}
