package headroom

import (
	"context"
	"time"

	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
)

// giveBackWithin bounds how long a task is given back to Temporal that nobody has taken.
const giveBackWithin = 5 * time.Second

type key struct{}

// With has the run that is started with ctx hand its first move to a seat.
func With(ctx context.Context, seat *Seat) context.Context {
	if seat == nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, seat)
}

// Start is an interceptor for a connection to Temporal. It starts runs that have a seat
// eagerly: Temporal gives their first move with its answer, and no queue sees it. See
// request_eager_execution of Temporal's API.
func Start(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	seat, _ := ctx.Value(key{}).(*Seat)
	start, ok := req.(*workflowservice.StartWorkflowExecutionRequest)
	if !ok || !seat.Open() {
		return next(ctx, method, req, reply, cc, opts...)
	}
	start.RequestEagerExecution = true
	start.EagerWorkerDeploymentOptions = &deploymentpb.WorkerDeploymentOptions{
		DeploymentName: seat.TargetID, BuildId: seat.VersionID, WorkerVersioningMode: enumspb.WORKER_VERSIONING_MODE_VERSIONED,
	}
	if err := next(ctx, method, req, reply, cc, opts...); err != nil {
		return err // whoever has the seat may try again with it
	}
	started := reply.(*workflowservice.StartWorkflowExecutionResponse)
	task := started.EagerWorkflowTask
	started.EagerWorkflowTask = nil // the SDK has no use for it
	if task != nil && !seat.Give(task) {
		giveBack(ctx, start.GetNamespace(), task, cc, next)
	}
	return nil
}

// giveBack has Temporal put a task into its queue that no worker waits for any more. If
// it does not work, Temporal does so itself after the task's timeout.
func giveBack(ctx context.Context, namespace string, task *workflowservice.PollWorkflowTaskQueueResponse, cc *grpc.ClientConn, next grpc.UnaryInvoker) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), giveBackWithin)
	defer cancel()
	failed := &workflowservice.RespondWorkflowTaskFailedRequest{
		Namespace: namespace, TaskToken: task.GetTaskToken(), Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_FORCE_CLOSE_COMMAND,
	}
	_ = next(ctx, workflowservice.WorkflowService_RespondWorkflowTaskFailed_FullMethodName, failed, &workflowservice.RespondWorkflowTaskFailedResponse{}, cc)
}
