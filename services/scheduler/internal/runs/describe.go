package runs

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"strings"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
)

// resultLost is the error type of a run whose large result is gone.
const resultLost = "ResultLost"

// newest events that are searched for why a workflow task fails.
const newestEvents = 20

var statuses = map[enumspb.WorkflowExecutionStatus]schedulerv1.RunStatus{
	enumspb.WORKFLOW_EXECUTION_STATUS_RUNNING:    schedulerv1.RunStatus_RUN_STATUS_RUNNING,
	enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:  schedulerv1.RunStatus_RUN_STATUS_COMPLETED,
	enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:     schedulerv1.RunStatus_RUN_STATUS_FAILED,
	enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:   schedulerv1.RunStatus_RUN_STATUS_CANCELED,
	enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED: schedulerv1.RunStatus_RUN_STATUS_TERMINATED,
	enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:  schedulerv1.RunStatus_RUN_STATUS_TIMED_OUT,
	enumspb.WORKFLOW_EXECUTION_STATUS_PAUSED:     schedulerv1.RunStatus_RUN_STATUS_PAUSED,
	// The chain goes on under another run id; whoever holds this one sees it open.
	enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: schedulerv1.RunStatus_RUN_STATUS_RUNNING,
}

// outcomes are the statuses of runs that are over.
var outcomes = map[enumspb.WorkflowExecutionStatus]string{
	enumspb.WORKFLOW_EXECUTION_STATUS_COMPLETED:        Completed,
	enumspb.WORKFLOW_EXECUTION_STATUS_FAILED:           Failed,
	enumspb.WORKFLOW_EXECUTION_STATUS_CANCELED:         Canceled,
	enumspb.WORKFLOW_EXECUTION_STATUS_TERMINATED:       Terminated,
	enumspb.WORKFLOW_EXECUTION_STATUS_TIMED_OUT:        TimedOut,
	enumspb.WORKFLOW_EXECUTION_STATUS_CONTINUED_AS_NEW: Completed,
}

// fromInfo is what Temporal's record of a run says, without its result.
func fromInfo(info *workflowpb.WorkflowExecutionInfo) *schedulerv1.Run {
	return &schedulerv1.Run{
		WorkflowId: info.GetExecution().GetWorkflowId(), RunId: info.GetExecution().GetRunId(),
		TargetId: keyword(info.GetSearchAttributes(), flow.TargetAttribute), VersionId: versionOf(info),
		Name: nameOf(info.GetType().GetName()), Type: info.GetType().GetName(), Status: statuses[info.GetStatus()],
		StartTime: info.GetStartTime(), ExecutionTime: info.GetExecutionTime(), CloseTime: info.GetCloseTime(),
		HistoryLength:    info.GetHistoryLength(),
		ParentWorkflowId: info.GetParentExecution().GetWorkflowId(), ParentRunId: info.GetParentExecution().GetRunId(),
		StartedBy: startedBy(info), Labels: labelsIn(info.GetSearchAttributes()),
		Priority: priorityOf(info),
		Share:    info.GetPriority().GetFairnessKey(), Weight: float64(info.GetPriority().GetFairnessWeight()),
	}
}

// startedBy is the user who started a run; runs from before there was the attribute say so
// in their memo.
func startedBy(info *workflowpb.WorkflowExecutionInfo) string {
	return cmp.Or(keyword(info.GetSearchAttributes(), flow.CallerAttribute), text(info.GetMemo().GetFields()[flow.MemoStartedBy]))
}

// priorityOf is Temporal's own where it tells it, which it does not in lists. Of a child
// it is its parent's, whose run a list may not have.
func priorityOf(info *workflowpb.WorkflowExecutionInfo) int32 {
	if p := info.GetPriority().GetPriorityKey(); p != 0 {
		return p
	}
	var p int32
	if memo := info.GetMemo().GetFields()[flow.MemoPriority]; memo != nil {
		_ = converter.GetDefaultDataConverter().FromPayload(memo, &p) // what is no number is not known
	} else if info.GetParentExecution() == nil {
		p = priorities.Usual
	}
	return p
}

func versionOf(info *workflowpb.WorkflowExecutionInfo) string {
	if v := info.GetVersioningInfo().GetDeploymentVersion().GetBuildId(); v != "" {
		return v
	}
	return keyword(info.GetSearchAttributes(), flow.VersionAttribute)
}

func targetOf(d *workflowservice.DescribeWorkflowExecutionResponse) string {
	return keyword(d.GetWorkflowExecutionInfo().GetSearchAttributes(), flow.TargetAttribute)
}

func keyword(attributes *commonpb.SearchAttributes, name string) string {
	return text(attributes.GetIndexedFields()[name])
}

// text reads a payload that holds a string; anything else is empty.
func text(p *commonpb.Payload) string {
	var s string
	if p == nil || converter.GetDefaultDataConverter().FromPayload(p, &s) != nil {
		return ""
	}
	return s
}

// addEnd adds result or failure of a closed run, but not a large result.
func addEnd(ctx context.Context, c client.Client, run *schedulerv1.Run) error {
	events := c.GetWorkflowHistory(ctx, run.GetWorkflowId(), run.GetRunId(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_CLOSE_EVENT)
	if !events.HasNext() {
		return nil
	}
	event, err := events.Next()
	if err != nil {
		return away(err)
	}
	closeWith(run, event)
	return nil
}

// complete is closeWith with a large result, or with the error that it is lost.
func (s *Service) complete(ctx context.Context, orgID string, run *schedulerv1.Run, event *historypb.HistoryEvent) error {
	if err := s.open(ctx, orgID, event); err != nil {
		return err
	}
	closeWith(run, event)
	if run.GetStatus() == schedulerv1.RunStatus_RUN_STATUS_COMPLETED && run.GetResultJson() == "" {
		run.ErrorType, run.ErrorMessage = resultLost, "the run ended well, but its result is not kept any more ("+payloads.LostReason+")"
	}
	return nil
}

// open fetches what an event keeps outside of the history. What is lost stays a claim.
func (s *Service) open(ctx context.Context, orgID string, event *historypb.HistoryEvent) error {
	err := s.deps.Payloads.In(ctx, orgID, &historypb.History{Events: []*historypb.HistoryEvent{event}})
	if fault.NotFound.Is(err) {
		return nil
	}
	return err
}

// closeWith puts a run's last event into words. A result that is a claim is left out;
// addEnd says which of these are lost.
func closeWith(run *schedulerv1.Run, event *historypb.HistoryEvent) {
	switch event.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_COMPLETED:
		run.ResultJson = resultJSON(event.GetWorkflowExecutionCompletedEventAttributes().GetResult())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_FAILED:
		explain(run, event.GetWorkflowExecutionFailedEventAttributes().GetFailure())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_CANCELED:
		cancelled(run)
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TERMINATED:
		terminated(run, event.GetWorkflowExecutionTerminatedEventAttributes().GetReason())
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_TIMED_OUT:
		run.ErrorType, run.ErrorMessage = "TimeoutError", "Workflow took too long"
	}
}

func cancelled(run *schedulerv1.Run) {
	run.ErrorType, run.ErrorMessage = "CancelledError", "Workflow was cancelled"
}

// terminated tells an end by force; our own is the last resort of a cancellation.
func terminated(run *schedulerv1.Run, reason string) {
	if reason == flow.StopReason {
		run.Status = schedulerv1.RunStatus_RUN_STATUS_CANCELED
		cancelled(run)
		return
	}
	run.ErrorType, run.ErrorMessage = "TerminatedError", "Workflow was terminated"
	if reason != "" {
		run.ErrorMessage += ": " + reason
	}
}

// resultJSON is the first payload as JSON.
func resultJSON(all *commonpb.Payloads) string {
	if len(all.GetPayloads()) == 0 {
		return "null"
	}
	p := all.GetPayloads()[0]
	encoding := string(p.GetMetadata()[converter.MetadataEncoding])
	switch {
	case strings.HasPrefix(encoding, "json/"):
		return string(p.GetData())
	case encoding == converter.MetadataEncodingNil:
		return "null"
	case payloads.IsClaim(p):
		return ""
	}
	encoded, _ := json.Marshal(base64.StdEncoding.EncodeToString(p.GetData())) // a string always encodes
	return string(encoded)
}

// explain tells the failure that the author of the code would know: wrappers that say
// in which activity or child it happened are taken off.
func explain(run *schedulerv1.Run, f *failurepb.Failure) {
	for f.GetCause() != nil && (f.GetActivityFailureInfo() != nil || f.GetChildWorkflowExecutionFailureInfo() != nil) {
		f = f.GetCause()
	}
	run.ErrorMessage, run.ErrorType, run.ErrorDetail = f.GetMessage(), failureType(f), traceback(f)
	run.ProtocolError = protocolError(f)
}

// protocolErrorType is the type of failure by which an agent's host carries an error
// that the code means for the protocol: class McpError of the Python SDK.
const protocolErrorType = "McpError"

// protocolError is the JSON-RPC error that a failure carries in its details; nil when it
// is none, or says no code.
func protocolError(f *failurepb.Failure) *schedulerv1.ProtocolError {
	details := f.GetApplicationFailureInfo().GetDetails()
	if failureType(f) != protocolErrorType || len(details.GetPayloads()) == 0 {
		return nil
	}
	var said struct {
		Code *int32          `json:"code"`
		Data json.RawMessage `json:"data"`
	}
	if json.Unmarshal([]byte(resultJSON(details)), &said) != nil || said.Code == nil {
		return nil
	}
	e := &schedulerv1.ProtocolError{Code: *said.Code}
	if string(said.Data) != "null" {
		e.DataJson = string(said.Data)
	}
	return e
}

func failureType(f *failurepb.Failure) string {
	switch {
	case f.GetApplicationFailureInfo().GetType() != "":
		return f.GetApplicationFailureInfo().GetType()
	case f.GetTimeoutFailureInfo() != nil:
		return "TimeoutError"
	case f.GetCanceledFailureInfo() != nil:
		return "CancelledError"
	case f.GetTerminatedFailureInfo() != nil:
		return "TerminatedError"
	}
	return "WorkflowFailureError"
}

// traceback is the first there is, from the failure down its causes. The host may
// give it as the message of a cause.
func traceback(f *failurepb.Failure) string {
	for one, depth := f, 0; one != nil && depth < 10; one, depth = one.GetCause(), depth+1 {
		if one.GetStackTrace() != "" {
			return one.GetStackTrace()
		}
	}
	return f.GetCause().GetMessage()
}

// addPending tells why the next step of an open run fails again and again. The run is
// not over: a new version of the code or a neighbour that comes back may help it.
func addPending(ctx context.Context, f found, run *schedulerv1.Run) error {
	if f.description.GetPendingWorkflowTask().GetAttempt() < 2 {
		return nil
	}
	page, err := f.client.WorkflowService().GetWorkflowExecutionHistoryReverse(ctx, &workflowservice.GetWorkflowExecutionHistoryReverseRequest{
		Namespace: f.target.OrgID, MaximumPageSize: newestEvents,
		Execution: &commonpb.WorkflowExecution{WorkflowId: run.GetWorkflowId(), RunId: run.GetRunId()},
	})
	if err != nil {
		return away(err)
	}
	for _, event := range page.GetHistory().GetEvents() {
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
			explain(run, event.GetWorkflowTaskFailedEventAttributes().GetFailure())
			return nil
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
			run.ErrorType, run.ErrorMessage = "WorkflowTaskTimedOut", "the agent's worker did not finish a step in time; it is tried again"
			return nil
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			return nil
		}
	}
	return nil
}
