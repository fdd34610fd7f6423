package queues

import (
	"context"
	"fmt"
	"maps"
	"math"
	"slices"

	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// leastRate is about one task in three hours.
	leastRate = 0.0001
	mostRate  = 1_000_000
	mostSlots = 10_000
	// leastWorkflows is what a worker needs at least: one slot for its own sticky queue and
	// one for the common one.
	leastWorkflows = 2
)

// identity is who changes a queue, as Temporal keeps it.
const identity = "agentcloud-scheduler"

var taskTypes = map[schedulerv1.QueueKind]enumspb.TaskQueueType{
	schedulerv1.QueueKind_QUEUE_KIND_WORKFLOWS: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
	schedulerv1.QueueKind_QUEUE_KIND_STEPS:     enumspb.TASK_QUEUE_TYPE_ACTIVITY,
	schedulerv1.QueueKind_QUEUE_KIND_TOOLS:     enumspb.TASK_QUEUE_TYPE_ACTIVITY,
}

// queuesOf names the queues of a target and its versions.
func queuesOf(targetID string, versions []store.Version) []*schedulerv1.Queue {
	all := []*schedulerv1.Queue{
		{Kind: schedulerv1.QueueKind_QUEUE_KIND_WORKFLOWS, Name: agentenv.TaskQueue(targetID)},
		{Kind: schedulerv1.QueueKind_QUEUE_KIND_STEPS, Name: agentenv.TaskQueue(targetID)},
	}
	for _, v := range versions {
		all = append(all, &schedulerv1.Queue{
			Kind: schedulerv1.QueueKind_QUEUE_KIND_TOOLS, Name: agentenv.ToolsQueue(targetID, v.ID), VersionId: v.ID,
		})
	}
	return all
}

// Bounded names the queues of a target that can have a rate: those of activities.
func Bounded(targetID string, versions ...store.Version) []string {
	names := []string{agentenv.TaskQueue(targetID)}
	for _, v := range versions {
		names = append(names, agentenv.ToolsQueue(targetID, v.ID))
	}
	return names
}

// Bound tells Temporal how fast tasks of a queue of activities may be taken.
func Bound(ctx context.Context, c client.Client, namespace, queue string, limits store.QueueLimits) error {
	_, err := c.WorkflowService().UpdateTaskQueueConfig(ctx, &workflowservice.UpdateTaskQueueConfigRequest{
		Namespace: namespace, Identity: identity, TaskQueue: queue, TaskQueueType: enumspb.TASK_QUEUE_TYPE_ACTIVITY,
		UpdateQueueRateLimit:              rate(limits.Rate),
		UpdateFairnessKeyRateLimitDefault: rate(limits.ShareRate),
	})
	if err != nil {
		return fmt.Errorf("bound queue %s: %w", queue, err)
	}
	return nil
}

// rate is an update to a rate; to none for 0.
func rate(perSecond float64) *workflowservice.UpdateTaskQueueConfigRequest_RateLimitUpdate {
	update := &workflowservice.UpdateTaskQueueConfigRequest_RateLimitUpdate{Reason: "agentcloud queues set"}
	if perSecond > 0 {
		update.RateLimit = &taskqueuepb.RateLimit{RequestsPerSecond: float32(perSecond)}
	}
	return update
}

// describe fills in what Temporal says of a queue.
func describe(ctx context.Context, c client.Client, namespace string, q *schedulerv1.Queue) error {
	told, err := c.WorkflowService().DescribeTaskQueue(ctx, &workflowservice.DescribeTaskQueueRequest{
		Namespace: namespace, TaskQueue: &taskqueuepb.TaskQueue{Name: q.GetName(), Kind: enumspb.TASK_QUEUE_KIND_NORMAL},
		TaskQueueType: taskTypes[q.GetKind()], ReportStats: true, ReportConfig: true,
	})
	if err != nil {
		return err
	}
	stats := told.GetStats()
	q.Backlog, q.BacklogAge = stats.GetApproximateBacklogCount(), stats.GetApproximateBacklogAge()
	q.AddRate, q.DispatchRate = float64(stats.GetTasksAddRate()), float64(stats.GetTasksDispatchRate())
	q.Rate = float64(told.GetConfig().GetQueueRateLimit().GetRateLimit().GetRequestsPerSecond())
	q.ShareRate = float64(told.GetConfig().GetFairnessKeysRateLimitDefault().GetRateLimit().GetRequestsPerSecond())
	q.BacklogByPriority = map[int32]int64{}
	for _, priority := range slices.Collect(maps.Keys(told.GetStatsByPriorityKey())) {
		if n := told.GetStatsByPriorityKey()[priority].GetApproximateBacklogCount(); n > 0 {
			q.BacklogByPriority[priority] = n
		}
	}
	for _, p := range told.GetPollers() {
		q.Pollers = append(q.Pollers, &schedulerv1.QueuePoller{Identity: p.GetIdentity(), LastAccess: p.GetLastAccessTime()})
	}
	return nil
}

// check says what is wrong with limits.
func check(l store.QueueLimits) error {
	for name, r := range map[string]float64{"rate": l.Rate, "shareRate": l.ShareRate} {
		if math.IsNaN(r) || r != 0 && (r < leastRate || r > mostRate) {
			return fault.Invalid.Errorf("%s is tasks a second, between %g and %d; 0 means any", name, leastRate, mostRate)
		}
	}
	for name, n := range map[string]int32{"workflows": l.Workflows, "steps": l.Steps, "tools": l.Tools} {
		if n < 0 || n > mostSlots {
			return fault.Invalid.Errorf("%s is how many at once, at most %d; 0 means as many as usual", name, mostSlots)
		}
	}
	if l.Workflows > 0 && l.Workflows < leastWorkflows {
		return fault.Invalid.Errorf("workflows is at least %d", leastWorkflows)
	}
	return nil
}

func fromProto(l *schedulerv1.QueueLimits) store.QueueLimits {
	return store.QueueLimits{Rate: l.GetRate(), ShareRate: l.GetShareRate(), Workflows: l.GetWorkflows(), Steps: l.GetSteps(), Tools: l.GetTools()}
}

func toProto(l store.QueueLimits) *schedulerv1.QueueLimits {
	return &schedulerv1.QueueLimits{Rate: l.Rate, ShareRate: l.ShareRate, Workflows: l.Workflows, Steps: l.Steps, Tools: l.Tools}
}

// away says in a caller's words that Temporal is away, when it is.
func away(err error) error { return namespaces.Fault(err, "Temporal does not answer") }
