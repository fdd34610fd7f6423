package runs

import (
	"cmp"
	"context"
	"encoding/json"
	"regexp"
	"strings"

	batchpb "go.temporal.io/api/batch/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/grpc/codes"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
)

const (
	bulkPrefix = "bulk-"
	// mostPerSecond is Temporal's own default, and what it takes for more.
	mostPerSecond = 50
	openOnly      = "ExecutionStatus IN ('Running', 'Paused')"
)

// bulkID keeps callers from asking Temporal about other workflows as operations.
var bulkID = regexp.MustCompile(`^` + bulkPrefix + `[0-9a-f-]{36}$`)

var errNoBulk = fault.NotFound.Errorf("no such bulk operation")

// StartBulkOperation does one thing to every run that a filter finds.
func (o *Operations) StartBulkOperation(ctx context.Context, req *schedulerv1.StartBulkOperationRequest) (*schedulerv1.StartBulkOperationResponse, error) {
	batch, err := o.batch(ctx, req)
	if err != nil {
		return nil, err
	}
	sc, query, err := o.bulkQuery(ctx, req)
	if err != nil || sc.client == nil {
		return &schedulerv1.StartBulkOperationResponse{}, err
	}
	counted, err := sc.client.CountWorkflow(ctx, &workflowservice.CountWorkflowExecutionsRequest{Query: query})
	if err != nil {
		return nil, away(err)
	}
	answer := &schedulerv1.StartBulkOperationResponse{Found: counted.GetCount()}
	if req.GetDryRun() {
		return answer, nil
	}
	if counted.GetCount() == 0 {
		return nil, fault.NotFound.Errorf("no run fits the filter")
	}
	batch.Namespace, batch.VisibilityQuery, batch.JobId = sc.orgID, query, bulkPrefix+o.deps.NewUUID()
	_, err = sc.client.WorkflowService().StartBatchOperation(ctx, batch)
	if namespaces.Code(err) == codes.ResourceExhausted && strings.Contains(err.Error(), "concurrent batch") {
		return nil, fault.Conflict.Wrap(err, "another bulk operation of the organisation is at work; wait for its end or stop it")
	}
	answer.BulkId = batch.GetJobId()
	return answer, away(err)
}

// bulkQuery is the condition for the runs; operations on open runs find only those.
func (o *Operations) bulkQuery(ctx context.Context, req *schedulerv1.StartBulkOperationRequest) (scope, string, error) {
	filter := req.GetFilter()
	conditions, err := o.conditions(ctx, filter)
	if err != nil {
		return scope{}, "", err
	}
	if filter.GetTargetId() == "" && len(conditions) == 0 && !req.GetAll() {
		return scope{}, "", fault.Invalid.Errorf("this would be all runs of the organisation: name an app or another condition, or set all")
	}
	if req.GetReset_() == nil {
		conditions = append(conditions, openOnly)
	}
	sc, err := o.scope(ctx, filter.GetTargetId())
	return sc, queryOf(sc, conditions), err
}

// batch is the operation in Temporal's words, without the runs.
func (o *Operations) batch(ctx context.Context, req *schedulerv1.StartBulkOperationRequest) (*workflowservice.StartBatchOperationRequest, error) {
	reason, err := reasonOf(req.GetReason())
	if err != nil {
		return nil, err
	}
	rate := req.GetRunsPerSecond()
	if !(rate >= 0 && rate <= mostPerSecond) { // also when it is no number
		return nil, fault.Invalid.Errorf("a bulk operation does at most %d runs per second", mostPerSecond)
	}
	if rate == 0 {
		rate = mostPerSecond
	}
	if reason == "" {
		reason = "bulk operation" // Temporal wants one
	}
	batch := &workflowservice.StartBatchOperationRequest{Reason: reason, MaxOperationsPerSecond: rate}
	return batch, operate(batch, req, principal.From(ctx).UserID)
}

func operate(batch *workflowservice.StartBatchOperationRequest, req *schedulerv1.StartBulkOperationRequest, by string) error {
	switch op := req.GetOperation().(type) {
	case *schedulerv1.StartBulkOperationRequest_Cancel:
		batch.Operation = &workflowservice.StartBatchOperationRequest_CancellationOperation{
			CancellationOperation: &batchpb.BatchOperationCancellation{Identity: by},
		}
	case *schedulerv1.StartBulkOperationRequest_Terminate:
		batch.Operation = &workflowservice.StartBatchOperationRequest_TerminationOperation{
			TerminationOperation: &batchpb.BatchOperationTermination{Identity: by},
		}
	case *schedulerv1.StartBulkOperationRequest_Signal:
		text := cmp.Or(op.Signal.GetPayloadJson(), "null")
		name, _, err := signalOf(&schedulerv1.SignalRunRequest{SignalName: op.Signal.GetSignalName(), PayloadJson: text})
		if err == nil && len(text) > maxInline {
			err = fault.TooLarge.Errorf("the payload has %d bytes; a signal to many runs has at most %d", len(text), maxInline)
		}
		if err != nil {
			return err
		}
		input := &commonpb.Payloads{Payloads: []*commonpb.Payload{inJSON(json.RawMessage(text))}}
		batch.Operation = &workflowservice.StartBatchOperationRequest_SignalOperation{
			SignalOperation: &batchpb.BatchOperationSignal{Signal: name, Input: input, Identity: by},
		}
	case *schedulerv1.StartBulkOperationRequest_Reset_:
		options := &commonpb.ResetOptions{Target: &commonpb.ResetOptions_LastWorkflowTask{LastWorkflowTask: &emptypb.Empty{}}}
		if op.Reset_.GetFirstStep() {
			options.Target = &commonpb.ResetOptions_FirstWorkflowTask{FirstWorkflowTask: &emptypb.Empty{}}
		}
		batch.Operation = &workflowservice.StartBatchOperationRequest_ResetOperation{
			ResetOperation: &batchpb.BatchOperationReset{Identity: by, Options: options},
		}
	default:
		return fault.Invalid.Errorf("say what to do: cancel, terminate, signal or reset")
	}
	return nil
}

// GetBulkOperation tells how far it is.
func (o *Operations) GetBulkOperation(ctx context.Context, req *schedulerv1.GetBulkOperationRequest) (*schedulerv1.GetBulkOperationResponse, error) {
	c, org, err := o.bulkClient(ctx, req.GetBulkId())
	if err != nil {
		return nil, err
	}
	d, err := c.WorkflowService().DescribeBatchOperation(ctx, &workflowservice.DescribeBatchOperationRequest{Namespace: org, JobId: req.GetBulkId()})
	if namespaces.IsNotFound(err) {
		return nil, errNoBulk
	}
	if err != nil {
		return nil, away(err)
	}
	return &schedulerv1.GetBulkOperationResponse{Operation: &schedulerv1.BulkOperation{
		BulkId: d.GetJobId(), Kind: bulkKind(d.GetOperationType()), State: bulkState(d.GetState()),
		StartTime: d.GetStartTime(), CloseTime: d.GetCloseTime(),
		Total: d.GetTotalOperationCount(), Done: d.GetCompleteOperationCount(), Failed: d.GetFailureOperationCount(),
		By: d.GetIdentity(), Reason: d.GetReason(), Query: d.GetQuery(),
	}}, nil
}

// bulkClient is of the caller's organisation.
func (o *Operations) bulkClient(ctx context.Context, id string) (client.Client, string, error) {
	org, err := callersOrg(ctx)
	if err != nil {
		return nil, "", err
	}
	c, err := o.orgClient(ctx, org)
	if err == nil && (c == nil || !bulkID.MatchString(id)) {
		err = errNoBulk
	}
	return c, org, err
}

// ListBulkOperations lists those of the organisation.
func (o *Operations) ListBulkOperations(ctx context.Context, req *schedulerv1.ListBulkOperationsRequest) (*schedulerv1.ListBulkOperationsResponse, error) {
	token, err := page.Decode(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	sc, err := o.scope(ctx, "")
	if err != nil || sc.client == nil {
		return &schedulerv1.ListBulkOperationsResponse{}, err
	}
	listed, err := sc.client.WorkflowService().ListBatchOperations(ctx, &workflowservice.ListBatchOperationsRequest{
		Namespace: sc.orgID, PageSize: int32(page.Size(int(req.GetPageSize()), usualPage, mostRuns)), NextPageToken: []byte(token),
	})
	if err != nil {
		return nil, away(err)
	}
	answer := &schedulerv1.ListBulkOperationsResponse{NextPageToken: page.Encode(string(listed.GetNextPageToken()))}
	for _, info := range listed.GetOperationInfo() {
		answer.Operations = append(answer.Operations, &schedulerv1.BulkOperation{
			BulkId: info.GetJobId(), Kind: bulkKind(info.GetOperationType()), State: bulkState(info.GetState()),
			StartTime: info.GetStartTime(), CloseTime: info.GetCloseTime(),
		})
	}
	return answer, nil
}

// StopBulkOperation ends one.
func (o *Operations) StopBulkOperation(ctx context.Context, req *schedulerv1.StopBulkOperationRequest) (*schedulerv1.StopBulkOperationResponse, error) {
	reason, err := reasonOf(req.GetReason())
	if err != nil {
		return nil, err
	}
	c, org, err := o.bulkClient(ctx, req.GetBulkId())
	if err != nil {
		return nil, err
	}
	if reason == "" {
		reason = "stopped"
	}
	_, err = c.WorkflowService().StopBatchOperation(ctx, &workflowservice.StopBatchOperationRequest{
		Namespace: org, JobId: req.GetBulkId(), Reason: reason, Identity: principal.From(ctx).UserID,
	})
	if namespaces.IsNotFound(err) {
		return nil, fault.NotFound.Wrap(err, "no such bulk operation is at work")
	}
	return &schedulerv1.StopBulkOperationResponse{}, away(err)
}

// bulkKind is the word for what an operation does.
func bulkKind(kind enumspb.BatchOperationType) string {
	word := strings.TrimPrefix(enumspb.BatchOperationType_name[int32(kind)], "BATCH_OPERATION_TYPE_")
	return strings.ToLower(strings.TrimSuffix(word, "_WORKFLOW"))
}

func bulkState(state enumspb.BatchOperationState) string {
	return strings.ToLower(strings.TrimPrefix(enumspb.BatchOperationState_name[int32(state)], "BATCH_OPERATION_STATE_"))
}
