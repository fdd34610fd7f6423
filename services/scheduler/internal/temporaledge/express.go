package temporaledge

import (
	"context"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/express"
)

// ask passes a request on to Temporal. A poll for runs waits for its turn, when it is of
// a worker that keeps a place for urgent ones.
func (p *passage) ask(ctx context.Context, req proto.Message, next grpc.UnaryHandler) (any, error) {
	poll, ok := req.(*workflowservice.PollWorkflowTaskQueueRequest)
	if !ok || !p.express {
		return next(ctx, req)
	}
	kind := express.Begin
	if poll.GetTaskQueue().GetKind() == enumspb.TASK_QUEUE_KIND_STICKY {
		kind = express.GoOn
	}
	pass, err := p.edge.deps.Express.Poll(ctx, p.who.TargetID, p.who.ID+" "+poll.GetIdentity(), kind)
	if err != nil {
		return nil, err
	}
	if pass == nil {
		return &workflowservice.PollWorkflowTaskQueueResponse{}, nil
	}
	answer, err := next(ctx, req)
	task, _ := answer.(*workflowservice.PollWorkflowTaskQueueResponse)
	pass.Took(task.GetWorkflowExecution().GetWorkflowId(), priorityOf(task))
	return answer, err
}

// priorityOf is the one that the run of a task was started with; 0: none, or it does not
// say.
func priorityOf(task *workflowservice.PollWorkflowTaskQueueResponse) int32 {
	events := task.GetHistory().GetEvents()
	if len(events) == 0 {
		return 0
	}
	return events[0].GetWorkflowExecutionStartedEventAttributes().GetPriority().GetPriorityKey()
}

// keepsPlace says whether a worker keeps a place for urgent runs.
func keepsPlace(ctx context.Context) bool {
	incoming, _ := metadata.FromIncomingContext(ctx)
	return len(incoming.Get(agentenv.ExpressHeader)) > 0
}

// got tells what may let others begin.
func (p *passage) got(req proto.Message, answer any) {
	lanes := p.edge.deps.Express
	switch r := req.(type) {
	case *workflowservice.RespondWorkflowTaskCompletedRequest:
		lanes.Done(p.who.TargetID, p.workflowID)
		for _, command := range r.GetCommands() {
			if _, over := endings[command.GetCommandType()]; over {
				lanes.Ended(p.who.TargetID, p.workflowID)
			}
		}
		for _, eager := range answer.(*workflowservice.RespondWorkflowTaskCompletedResponse).GetActivityTasks() {
			lanes.Stepped(p.who.TargetID, eager.GetWorkflowExecution().GetWorkflowId())
		}
	case *workflowservice.RespondWorkflowTaskFailedRequest:
		lanes.Done(p.who.TargetID, p.workflowID)
		lanes.Ended(p.who.TargetID, p.workflowID) // for now: it is tried again
	case *workflowservice.PollActivityTaskQueueRequest:
		if id := answer.(*workflowservice.PollActivityTaskQueueResponse).GetWorkflowExecution().GetWorkflowId(); id != "" {
			lanes.Stepped(p.who.TargetID, id)
		}
	}
}
