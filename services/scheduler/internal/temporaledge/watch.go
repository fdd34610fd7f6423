package temporaledge

import (
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// A Watch is told, in the calls' own goroutines, what shows how workers and runs are.
// It must not wait, and may keep strings only.
type Watch interface {
	// PollBegan and PollEnded are the two ends of a wait for tasks of a normal queue.
	PollBegan(who *store.Instance, queue string, activities bool)
	PollEnded(who *store.Instance, queue string, activities bool)
	// StepTaken tells that a worker got a step of a run's code, for the attempt-th time.
	StepTaken(who *store.Instance, workflowID, runID string, attempt int32)
	// StepFailed tells that the worker could not do it, StepDone that it could.
	StepFailed(who *store.Instance, workflowID, runID string, cause enumspb.WorkflowTaskFailedCause, why *failurepb.Failure)
	StepDone(runID string)
	// ActivityTaken tells that a worker got an activity, which its task token names.
	ActivityTaken(who *store.Instance, workflowID, runID string, token []byte, attempt int32)
	// ActivityAlive is its sign of life, ActivityOver its end, good or bad.
	ActivityAlive(token []byte)
	ActivityOver(token []byte)
}

// wait tells the watch that a worker waits for tasks, until waited does.
func (p *passage) wait(req proto.Message) {
	switch r := req.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest:
		p.polls = normal(r.GetTaskQueue())
	case *workflowservice.PollActivityTaskQueueRequest:
		p.polls, p.activities = normal(r.GetTaskQueue()), true
	}
	if p.polls != "" {
		p.edge.deps.Watch.PollBegan(&p.who.Instance, p.polls, p.activities)
	}
}

func (p *passage) waited() {
	if p.polls != "" {
		p.edge.deps.Watch.PollEnded(&p.who.Instance, p.polls, p.activities)
	}
}

// normal is the name of a queue that others fill; sticky ones are a worker's own.
func normal(q *taskqueuepb.TaskQueue) string {
	if q.GetKind() == enumspb.TASK_QUEUE_KIND_STICKY {
		return ""
	}
	return q.GetName()
}

// seen tells the watch what Temporal has accepted. It runs before tasks are sealed.
func (p *passage) seen(req proto.Message, answer any) {
	watch := p.edge.deps.Watch
	switch r := req.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest:
		p.stepTaken(answer.(*workflowservice.PollWorkflowTaskQueueResponse))
	case *workflowservice.PollActivityTaskQueueRequest:
		p.activityTaken(answer.(*workflowservice.PollActivityTaskQueueResponse))
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		a := answer.(*workflowservice.RespondWorkflowTaskCompletedResponse)
		watch.StepDone(p.runID)
		p.stepTaken(a.GetWorkflowTask())
		for _, eager := range a.GetActivityTasks() {
			p.activityTaken(eager)
		}
	case *workflowservice.RespondWorkflowTaskFailedRequest:
		if agentenv.OfTheCloud(p.workflowID) {
			return
		}
		watch.StepFailed(&p.who.Instance, p.workflowID, p.runID, r.GetCause(), r.GetFailure())
	case *workflowservice.RecordActivityTaskHeartbeatRequest:
		watch.ActivityAlive(r.GetTaskToken())
	case *workflowservice.RespondActivityTaskCompletedRequest:
		watch.ActivityOver(r.GetTaskToken())
	case *workflowservice.RespondActivityTaskFailedRequest:
		watch.ActivityOver(r.GetTaskToken())
	case *workflowservice.RespondActivityTaskCanceledRequest:
		watch.ActivityOver(r.GetTaskToken())
	}
}

func (p *passage) stepTaken(t *workflowservice.PollWorkflowTaskQueueResponse) {
	if e := t.GetWorkflowExecution(); len(t.GetTaskToken()) > 0 && t.GetQuery() == nil && !agentenv.OfTheCloud(e.GetWorkflowId()) {
		p.edge.deps.Watch.StepTaken(&p.who.Instance, e.GetWorkflowId(), e.GetRunId(), t.GetAttempt())
	}
}

func (p *passage) activityTaken(t *workflowservice.PollActivityTaskQueueResponse) {
	if e := t.GetWorkflowExecution(); len(t.GetTaskToken()) > 0 {
		p.edge.deps.Watch.ActivityTaken(&p.who.Instance, e.GetWorkflowId(), e.GetRunId(), t.GetTaskToken(), t.GetAttempt())
	}
}
