package temporaledge

import (
	"context"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
)

// keepsRoom says whether a worker has a place for urgent runs beside the one in which
// runs begin in order.
func keepsRoom(ctx context.Context) bool {
	incoming, _ := metadata.FromIncomingContext(ctx)
	return len(incoming.Get(agentenv.HeadroomHeader)) > 0
}

func (p *passage) worker() headroom.Worker {
	return headroom.Worker{TargetID: p.who.TargetID, VersionID: p.who.VersionID, ID: p.who.ID}
}

// ask passes a request on to Temporal. A poll for runs waits for its turn, or gets what
// is more urgent.
func (p *passage) ask(ctx context.Context, req proto.Message, next grpc.UnaryHandler) (any, error) {
	room := p.edge.deps.Headroom
	switch req.(type) {
	case *workflowservice.PollWorkflowTaskQueueRequest:
		if p.polls == "" || !p.keepsRoom {
			break
		}
		if urgent := room.Poll(ctx, p.worker()); urgent != nil {
			return urgent, nil
		}
		answer, err := next(ctx, req)
		if task, ok := answer.(*workflowservice.PollWorkflowTaskQueueResponse); ok && err == nil && len(task.GetHistory().GetEvents()) > 0 && task.GetQuery() == nil {
			first := task.GetHistory().GetEvents()[0].GetWorkflowExecutionStartedEventAttributes()
			room.Took(p.worker(), task.GetWorkflowExecution().GetRunId(), first.GetPriority().GetPriorityKey())
		}
		return answer, err
	case *workflowservice.RespondWorkflowTaskCompletedRequest, *workflowservice.RespondWorkflowTaskFailedRequest:
		defer room.Over(p.worker(), p.runID)
	}
	return next(ctx, req)
}
