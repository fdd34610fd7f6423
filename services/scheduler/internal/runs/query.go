package runs

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	querypb "go.temporal.io/api/query/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
)

const queryWithin = 10 * time.Second

// QueryRun asks a run's code.
func (o *Operations) QueryRun(ctx context.Context, req *schedulerv1.QueryRunRequest) (*schedulerv1.QueryRunResponse, error) {
	arguments, err := queryArguments(req)
	if err != nil {
		return nil, err
	}
	f, err := o.find(ctx, req.GetTargetId(), req.GetWorkflowId(), req.GetRunId())
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, queryWithin)
	defer cancel()
	res, err := f.client.WorkflowService().QueryWorkflow(ctx, &workflowservice.QueryWorkflowRequest{
		Namespace: f.target.OrgID, Execution: f.execution(),
		Query: &querypb.WorkflowQuery{QueryType: req.GetQuery(), QueryArgs: arguments},
	})
	switch {
	case namespaces.IsNotFound(err):
		return nil, errNoRun
	case namespaces.Code(err) == codes.DeadlineExceeded:
		return nil, fault.Unavailable.Wrap(err, "the agent's worker did not answer the query within %s", queryWithin)
	case err != nil:
		return nil, away(err)
	}
	result := resultJSON(res.GetQueryResult())
	if len(result) > maxResults {
		return nil, fault.TooLarge.Errorf("the answer has %d bytes; at most %d are passed on", len(result), maxResults)
	}
	return &schedulerv1.QueryRunResponse{ResultJson: result}, nil
}

// queryArguments are one payload each.
func queryArguments(req *schedulerv1.QueryRunRequest) (*commonpb.Payloads, error) {
	text := req.GetArgumentsJson()
	switch {
	case req.GetQuery() == "" || len(req.GetQuery()) > maxSignalName:
		return nil, fault.Invalid.Errorf("name the query, in at most %d bytes; every run answers __stack_trace", maxSignalName)
	case len(text) > maxInline:
		return nil, fault.TooLarge.Errorf("the arguments have %d bytes; at most %d are taken", len(text), maxInline)
	case text == "":
		return nil, nil
	}
	var all []json.RawMessage
	if err := json.NewDecoder(bytes.NewReader([]byte(text))).Decode(&all); err != nil {
		return nil, fault.Invalid.Wrap(err, `the arguments of a query are a JSON array, for example ["a", 1]`)
	}
	payloads := &commonpb.Payloads{}
	for _, one := range all {
		payloads.Payloads = append(payloads.Payloads, inJSON(one))
	}
	return payloads, nil
}
