package temporaledge

import (
	"context"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	deploymentpb "go.temporal.io/api/deployment/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// A rule fences one method. It may change the request, which is this call's own.
type rule func(ctx context.Context, p *passage, req proto.Message) error

// rules are the methods that a worker needs, and the few that its workflows' code may
// use on the agent's own runs. What is not here is refused. Every request that names
// a namespace has been checked before its rule is asked.
var rules = map[string]rule{
	"GetSystemInfo":                    open,
	"DescribeNamespace":                of((*passage).describeNamespace),
	"RecordWorkerHeartbeat":            open,
	"ShutdownWorker":                   of((*passage).shutdownWorker),
	"DescribeTaskQueue":                of((*passage).describeTaskQueue),
	"PollWorkflowTaskQueue":            of((*passage).pollWorkflow),
	"PollActivityTaskQueue":            of((*passage).pollActivity),
	"RespondWorkflowTaskCompleted":     of((*passage).completeWorkflowTask),
	"RespondWorkflowTaskFailed":        task((*workflowservice.RespondWorkflowTaskFailedRequest).GetTaskToken),
	"RespondActivityTaskCompleted":     task((*workflowservice.RespondActivityTaskCompletedRequest).GetTaskToken),
	"RespondActivityTaskFailed":        task((*workflowservice.RespondActivityTaskFailedRequest).GetTaskToken),
	"RespondActivityTaskCanceled":      task((*workflowservice.RespondActivityTaskCanceledRequest).GetTaskToken),
	"RecordActivityTaskHeartbeat":      task((*workflowservice.RecordActivityTaskHeartbeatRequest).GetTaskToken),
	"RespondQueryTaskCompleted":        task((*workflowservice.RespondQueryTaskCompletedRequest).GetTaskToken),
	"StartWorkflowExecution":           of((*passage).start),
	"SignalWithStartWorkflowExecution": of((*passage).signalWithStart),
	"SignalWorkflowExecution":          execution((*workflowservice.SignalWorkflowExecutionRequest).GetWorkflowExecution),
	"RequestCancelWorkflowExecution":   execution((*workflowservice.RequestCancelWorkflowExecutionRequest).GetWorkflowExecution),
	"DescribeWorkflowExecution":        execution((*workflowservice.DescribeWorkflowExecutionRequest).GetExecution),
	"GetWorkflowExecutionHistory":      execution((*workflowservice.GetWorkflowExecutionHistoryRequest).GetExecution),
	"QueryWorkflow":                    execution((*workflowservice.QueryWorkflowRequest).GetExecution),
	"ResetStickyTaskQueue":             execution((*workflowservice.ResetStickyTaskQueueRequest).GetExecution),
	"ListWorkflowExecutions":           of((*passage).list),
}

func open(context.Context, *passage, proto.Message) error { return nil }

// of makes a rule of a method on one kind of request.
func of[R proto.Message](check func(*passage, context.Context, R) error) rule {
	return func(ctx context.Context, p *passage, req proto.Message) error {
		typed, ok := req.(R)
		if !ok {
			return denied("this request has the wrong type")
		}
		return check(p, ctx, typed)
	}
}

// execution makes a rule for a request about one run.
func execution[R proto.Message](get func(R) *commonpb.WorkflowExecution) rule {
	return of(func(p *passage, ctx context.Context, req R) error { return p.owns(ctx, get(req)) })
}

// task makes a rule for a request that hands in a task.
func task[R proto.Message](get func(R) []byte) rule {
	return of(func(p *passage, _ context.Context, req R) error { return p.unseal(req, get(req)) })
}

func denied(format string, args ...any) error {
	return status.Errorf(codes.PermissionDenied, format, args...)
}

// queue says whether a queue is the agent's own. Names of sticky queues are the
// worker's choice, so the normal queue behind must be its own, and the name must not
// be that of anybody's normal queue.
func (p *passage) queue(q *taskqueuepb.TaskQueue) error {
	name := q.GetName()
	switch q.GetKind() {
	case enumspb.TASK_QUEUE_KIND_UNSPECIFIED, enumspb.TASK_QUEUE_KIND_NORMAL:
		if p.ownQueue(name) {
			return nil
		}
	case enumspb.TASK_QUEUE_KIND_STICKY:
		if p.ownQueue(q.GetNormalName()) && name != "" && !reserved(name, p.who.TargetID) {
			return nil
		}
	}
	return denied("task queue %q is not this agent's", name)
}

func (p *passage) ownQueue(name string) bool {
	return name == agentenv.TaskQueue(p.who.TargetID) || name == agentenv.ToolsQueue(p.who.TargetID, p.who.VersionID)
}

// reserved says whether a name could be a normal queue: of this or another target, of
// the scheduler, or of Temporal itself.
func reserved(name, ownTarget string) bool {
	if rest, ok := strings.CutPrefix(name, ownTarget); ok {
		return rest == "" || strings.HasSuffix(rest, "/tools")
	}
	for _, prefix := range []string{"app_", "apcnf_", "agentcloud-", "/_sys/", "temporal-sys-"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// deployment says whether a worker speaks for its own version.
func (p *passage) deployment(o *deploymentpb.WorkerDeploymentOptions) error {
	if o.GetWorkerVersioningMode() != enumspb.WORKER_VERSIONING_MODE_VERSIONED {
		return nil
	}
	if o.GetDeploymentName() != p.who.TargetID || o.GetBuildId() != p.who.VersionID {
		return denied("worker deployment %q, build %q is not this agent's", o.GetDeploymentName(), o.GetBuildId())
	}
	return nil
}

// owns says whether a run is one of the agent's own.
func (p *passage) owns(ctx context.Context, e *commonpb.WorkflowExecution) error {
	if e.GetWorkflowId() == "" {
		return denied("name the run by its workflow id")
	}
	known, err := p.edge.deps.Runs.Run(ctx, e.GetRunId())
	if err == nil && known.TargetID == p.who.TargetID && known.WorkflowID == e.GetWorkflowId() {
		return nil
	}
	if err != nil && !fault.NotFound.Is(err) {
		return status.Error(codes.Unavailable, "runs cannot be looked up just now")
	}
	described, err := p.edge.client.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: p.who.OrgID, Execution: e})
	if err != nil {
		return err
	}
	attributes := described.GetWorkflowExecutionInfo().GetSearchAttributes().GetIndexedFields()
	if string(attributes[flow.TargetAttribute].GetData()) != string(keyword(p.who.TargetID).GetData()) {
		return status.Error(codes.NotFound, "no such run")
	}
	return nil
}

func (p *passage) describeNamespace(_ context.Context, req *workflowservice.DescribeNamespaceRequest) error {
	if req.GetId() != "" {
		return denied("name the namespace by its name")
	}
	return nil
}

func (p *passage) shutdownWorker(_ context.Context, req *workflowservice.ShutdownWorkerRequest) error {
	if q := req.GetTaskQueue(); q != "" && !p.ownQueue(q) {
		return denied("task queue %q is not this agent's", q)
	}
	if q := req.GetStickyTaskQueue(); q != "" && reserved(q, p.who.TargetID) {
		return denied("task queue %q is not this agent's", q)
	}
	return nil
}

func (p *passage) describeTaskQueue(_ context.Context, req *workflowservice.DescribeTaskQueueRequest) error {
	return p.queue(req.GetTaskQueue())
}

func (p *passage) pollWorkflow(_ context.Context, req *workflowservice.PollWorkflowTaskQueueRequest) error {
	if err := p.queue(req.GetTaskQueue()); err != nil {
		return err
	}
	return p.deployment(req.GetDeploymentOptions())
}

func (p *passage) pollActivity(_ context.Context, req *workflowservice.PollActivityTaskQueueRequest) error {
	if err := p.queue(req.GetTaskQueue()); err != nil {
		return err
	}
	return p.deployment(req.GetDeploymentOptions())
}

// list gives the agent's own runs. A query of the agent's would have to be parsed to
// be fenced safely, so none is taken.
func (p *passage) list(_ context.Context, req *workflowservice.ListWorkflowExecutionsRequest) error {
	if strings.TrimSpace(req.GetQuery()) != "" {
		return denied("agents list their own runs without a query")
	}
	req.Query = flow.TargetAttribute + " = '" + p.who.TargetID + "'"
	return nil
}
