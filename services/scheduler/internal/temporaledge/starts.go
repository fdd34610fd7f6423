package temporaledge

import (
	"context"
	"encoding/json"
	"strings"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// ours begins the search attributes that only the platform sets.
const ours = "AgentCloud"

func (p *passage) start(_ context.Context, req *workflowservice.StartWorkflowExecutionRequest) error {
	if len(req.GetCompletionCallbacks()) > 0 {
		return denied("agents may not ask for callbacks of Temporal")
	}
	if err := notOurs(req.GetWorkflowId(), req.GetWorkflowType().GetName()); err != nil {
		return err
	}
	req.SearchAttributes = p.mark(req.GetSearchAttributes())
	req.Priority = p.priority(req.GetPriority(), p.who.TargetID)
	return p.queue(req.GetTaskQueue())
}

func (p *passage) signalWithStart(_ context.Context, req *workflowservice.SignalWithStartWorkflowExecutionRequest) error {
	if err := notOurs(req.GetWorkflowId(), req.GetWorkflowType().GetName()); err != nil {
		return err
	}
	req.SearchAttributes = p.mark(req.GetSearchAttributes())
	req.Priority = p.priority(req.GetPriority(), p.who.TargetID)
	return p.queue(req.GetTaskQueue())
}

// notOurs leaves the cloud's own runs to the cloud: they are not on record.
func notOurs(names ...string) error {
	for _, name := range names {
		if agentenv.OfTheCloud(name) {
			return denied("runs named like %q are the platform's own", name)
		}
	}
	return nil
}

// priority leaves an agent the order of its own runs and steps, but not the choice of
// whose share they take: that is the share of the run they belong to, for which it stays
// unsaid, or the agent's own.
func (p *passage) priority(asked *commonpb.Priority, share string) *commonpb.Priority {
	if asked.GetPriorityKey() == 0 && share == "" {
		return nil
	}
	return &commonpb.Priority{PriorityKey: asked.GetPriorityKey(), FairnessKey: share}
}

// mark says whose run it is, whatever the agent says.
func (p *passage) mark(attributes *commonpb.SearchAttributes) *commonpb.SearchAttributes {
	fields := map[string]*commonpb.Payload{flow.TargetAttribute: keyword(p.who.TargetID)}
	for name, value := range attributes.GetIndexedFields() {
		if !strings.HasPrefix(name, ours) {
			fields[name] = value
		}
	}
	return &commonpb.SearchAttributes{IndexedFields: fields}
}

// keyword is a search attribute's value as Temporal stores it.
func keyword(value string) *commonpb.Payload {
	data, _ := json.Marshal(value) // a string always encodes
	return &commonpb.Payload{Metadata: map[string][]byte{"encoding": []byte("json/plain"), "type": []byte("Keyword")}, Data: data}
}

// completeWorkflowTask fences what a workflow's code wants done.
func (p *passage) completeWorkflowTask(ctx context.Context, req *workflowservice.RespondWorkflowTaskCompletedRequest) error {
	if err := p.unseal(req, req.GetTaskToken()); err != nil {
		return err
	}
	if err := p.deployment(req.GetDeploymentOptions()); err != nil {
		return err
	}
	if sticky := req.GetStickyAttributes().GetWorkerTaskQueue(); sticky.GetName() != "" {
		if err := p.queue(sticky); err != nil {
			return err
		}
	}
	for _, command := range req.GetCommands() {
		if err := p.command(ctx, command); err != nil {
			return err
		}
	}
	return nil
}

// command fences one command. Those that stay inside their own run are free.
func (p *passage) command(ctx context.Context, c *commandpb.Command) error {
	switch c.GetCommandType() {
	case enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK:
		if step := c.GetScheduleActivityTaskCommandAttributes(); step != nil {
			return p.step(step)
		}
	case enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION:
		return p.child(c.GetStartChildWorkflowExecutionCommandAttributes())
	case enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION:
		next := c.GetContinueAsNewWorkflowExecutionCommandAttributes()
		if err := notOurs("", next.GetWorkflowType().GetName()); err != nil {
			return err
		}
		labels := next.GetSearchAttributes().GetIndexedFields()[flow.LabelsAttribute]
		next.SearchAttributes = p.mark(next.GetSearchAttributes())
		if labels != nil {
			next.SearchAttributes.IndexedFields[flow.LabelsAttribute] = labels // its own work goes on
		}
		if next.GetTaskQueue().GetName() != "" {
			return p.queue(next.GetTaskQueue())
		}
	case enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION:
		signal := c.GetSignalExternalWorkflowExecutionCommandAttributes()
		return p.external(ctx, signal.GetNamespace(), signal.GetExecution()) //nolint:staticcheck // deprecated, and obeyed by the server
	case enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION:
		cancel := c.GetRequestCancelExternalWorkflowExecutionCommandAttributes()
		return p.external(ctx, cancel.GetNamespace(), &commonpb.WorkflowExecution{WorkflowId: cancel.GetWorkflowId(), RunId: cancel.GetRunId()}) //nolint:staticcheck // deprecated, and obeyed by the server
	case enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES:
		for name := range c.GetUpsertWorkflowSearchAttributesCommandAttributes().GetSearchAttributes().GetIndexedFields() {
			if strings.HasPrefix(name, ours) {
				return denied("search attribute %q is the platform's", name)
			}
		}
	case enumspb.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION:
		return denied("agents may not call Nexus operations")
	}
	return nil
}

// child fences a run that a run starts.
func (p *passage) child(child *commandpb.StartChildWorkflowExecutionCommandAttributes) error {
	if err := notOurs(child.GetWorkflowId(), child.GetWorkflowType().GetName()); err != nil {
		return err
	}
	child.SearchAttributes = p.mark(child.GetSearchAttributes())
	child.Priority = p.priority(child.GetPriority(), "")
	if child.GetTaskQueue().GetName() != "" {
		if err := p.queue(child.GetTaskQueue()); err != nil {
			return err
		}
	}
	return p.namespace(child.GetNamespace()) //nolint:staticcheck // deprecated, and obeyed by the server
}

// step fences an activity.
func (p *passage) step(step *commandpb.ScheduleActivityTaskCommandAttributes) error {
	step.Priority = p.priority(step.GetPriority(), "")
	if step.GetTaskQueue().GetName() == "" {
		return nil
	}
	return p.queue(step.GetTaskQueue())
}

func (p *passage) external(ctx context.Context, namespace string, e *commonpb.WorkflowExecution) error {
	if err := p.namespace(namespace); err != nil {
		return err
	}
	return p.owns(ctx, e)
}

// namespace allows the agent's own, by name or by saying nothing.
func (p *passage) namespace(name string) error {
	if name != "" && name != p.who.OrgID {
		return denied("namespace %q is not this agent's", name)
	}
	return nil
}
