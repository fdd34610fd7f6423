// Package workflowtools answers the workflow tools of an app natively, from the
// scheduler: the agent need not be asked, nor be awake. Results are what the
// framework's own server gives.
package workflowtools

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const defaultSignal = "resume"

// Tools answers calls.
type Tools struct{ runs schedulerv1.RunsServiceClient }

// New returns Tools on the scheduler's runs.
func New(runs schedulerv1.RunsServiceClient) *Tools { return &Tools{runs: runs} }

// Origin is where a call comes from, so that a run's questions and progress find back.
type Origin struct {
	SessionID      string
	IdempotencyKey string
}

// Call answers a native tool with a CallToolResult. Only a part of ours that is away
// is an error; what the caller did wrong is a result that says so.
func (t *Tools) Call(ctx context.Context, route *routes.Route, call jsonrpc.Call, origin Origin) (json.RawMessage, error) {
	e := route.Endpoint
	if e.Native[call.Name] == routes.WorkflowsList {
		return e.WorkflowsList(), nil
	}
	c := &caller{Tools: t, route: route, call: call, origin: origin}
	value, err := c.dispatch(ctx, e.Native[call.Name])
	switch {
	case err == nil:
		return routes.ToolResult(value, e.Wrapped[call.Name]), nil
	case Blame(err):
		return routes.ToolError(fmt.Sprintf("Error executing tool %s: %s", call.Name, fault.Message(err))), nil
	}
	return nil, err
}

// Blame says whether the caller is at fault, or the run is.
func Blame(err error) bool {
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.TooLarge, fault.Conflict, fault.Denied, fault.Exists:
		return true
	}
	return false
}

type caller struct {
	*Tools
	route  *routes.Route
	call   jsonrpc.Call
	origin Origin
}

func (c *caller) dispatch(ctx context.Context, native routes.Native) (json.RawMessage, error) {
	switch native {
	case routes.WorkflowsRunsList:
		return c.list(ctx)
	case routes.WorkflowsRun:
		return c.runNamed(ctx)
	case routes.WorkflowsGetStatus:
		return c.status(ctx)
	case routes.WorkflowsResume:
		return c.resume(ctx)
	case routes.WorkflowsCancel:
		return c.cancel(ctx)
	case routes.RunWorkflow:
		parameters, err := c.runParameters()
		if err != nil {
			return nil, err
		}
		return c.start(ctx, routes.WorkflowOf(c.call.Name), parameters)
	case routes.RunTool:
		return c.start(ctx, c.call.Name, c.call.Arguments)
	}
	return nil, fault.NotFound.Errorf("there is no such tool")
}

func (c *caller) arguments(into any) error {
	if len(c.call.Arguments) == 0 {
		return nil
	}
	if err := json.Unmarshal(c.call.Arguments, into); err != nil {
		return fault.Invalid.Wrap(err, "the arguments do not have the shape of the tool's input schema")
	}
	return nil
}

func (c *caller) target() string { return c.route.Address.GetTargetId() }

func (c *caller) runNamed(ctx context.Context) (json.RawMessage, error) {
	var args struct {
		WorkflowName  string          `json:"workflow_name"`
		RunParameters json.RawMessage `json:"run_parameters"`
	}
	if err := c.arguments(&args); err != nil {
		return nil, err
	}
	if args.WorkflowName == "" {
		return nil, fault.Invalid.Errorf("workflow_name is needed")
	}
	return c.start(ctx, args.WorkflowName, args.RunParameters)
}

// Started are the ids of a run.
type Started struct {
	WorkflowID  string `json:"workflow_id"`
	RunID       string `json:"run_id"`
	ExecutionID string `json:"execution_id"`
}

// Start starts the run that a call of a RunWorkflow or RunTool tool asks for.
func (t *Tools) Start(ctx context.Context, route *routes.Route, call jsonrpc.Call, origin Origin) (Started, error) {
	c := &caller{Tools: t, route: route, call: call, origin: origin}
	if route.Endpoint.Native[call.Name] == routes.RunTool {
		return c.begin(ctx, call.Name, call.Arguments)
	}
	parameters, err := c.runParameters()
	if err != nil {
		return Started{}, err
	}
	return c.begin(ctx, routes.WorkflowOf(call.Name), parameters)
}

func (c *caller) runParameters() (json.RawMessage, error) {
	var args struct {
		RunParameters json.RawMessage `json:"run_parameters"`
	}
	err := c.arguments(&args)
	return args.RunParameters, err
}

func (c *caller) start(ctx context.Context, name string, arguments json.RawMessage) (json.RawMessage, error) {
	started, err := c.begin(ctx, name, arguments)
	if err != nil {
		return nil, err
	}
	return jsonrpc.Encode(started), nil
}

func (c *caller) begin(ctx context.Context, name string, arguments json.RawMessage) (Started, error) {
	if string(arguments) == "null" {
		arguments = nil
	}
	priority, err := c.priority()
	if err != nil {
		return Started{}, err
	}
	req := &schedulerv1.StartRunRequest{
		TargetId: c.target(), Name: name, ArgumentsJson: string(arguments), IdempotencyKey: c.origin.IdempotencyKey,
		SessionId: c.origin.SessionID, ProgressTokenJson: string(c.call.ProgressToken), Priority: priority,
	}
	if c.route.Tried {
		req.VersionId = c.route.Endpoint.GetVersionId()
	}
	if len(c.call.Labels) > 0 {
		if err := json.Unmarshal(c.call.Labels, &req.Labels); err != nil {
			return Started{}, fault.Invalid.Wrap(err, "the labels of a run are a JSON object of texts")
		}
	}
	res, err := c.runs.StartRun(ctx, req)
	if err != nil {
		return Started{}, err
	}
	return Started{res.GetWorkflowId(), res.GetRunId(), res.GetRunId()}, nil
}

// priority is what the caller says in _meta; 0 when nothing. Whether the number can be
// asked for is the scheduler's to say.
func (c *caller) priority() (p int32, err error) {
	if len(c.call.Priority) == 0 {
		return 0, nil
	}
	if json.Unmarshal(c.call.Priority, &p) != nil || p == 0 {
		return 0, fault.Invalid.Errorf("_meta %q is a number from 1 (served first) to 5 (last)", jsonrpc.PriorityKey)
	}
	return p, nil
}

// named are the two ways to name a run.
type named struct {
	RunID      string `json:"run_id"`
	WorkflowID string `json:"workflow_id"`
}

func (n named) check() error {
	if n.RunID == "" && n.WorkflowID == "" {
		return fault.Invalid.Errorf("Either run_id or workflow_id must be provided.")
	}
	return nil
}

func (c *caller) status(ctx context.Context) (json.RawMessage, error) {
	var args named
	if err := c.arguments(&args); err != nil {
		return nil, err
	}
	if err := args.check(); err != nil {
		return nil, err
	}
	res, err := c.runs.GetRun(ctx, &schedulerv1.GetRunRequest{TargetId: c.target(), RunId: args.RunID, WorkflowId: args.WorkflowID})
	if fault.NotFound.Is(err) {
		return nil, fault.NotFound.Wrap(err, "no run of this app has that id; workflows-runs-list lists them")
	}
	if err != nil {
		return nil, err
	}
	run := res.GetRun()
	if run.GetCloseTime() != nil {
		return render(run, nil), nil
	}
	open, err := c.runs.ListQuestions(ctx, &schedulerv1.ListQuestionsRequest{TargetId: c.target(), RunId: run.GetRunId()})
	if err != nil {
		return nil, err
	}
	return render(run, open.GetQuestions()), nil
}

// list always answers with a page: the public command line drops the whole listing
// when one run's result is no text, unless it comes as a page.
func (c *caller) list(ctx context.Context) (json.RawMessage, error) {
	var args struct {
		Limit         int32  `json:"limit"`
		PageSize      int32  `json:"page_size"`
		NextPageToken string `json:"next_page_token"`
	}
	if err := c.arguments(&args); err != nil {
		return nil, err
	}
	size := args.PageSize
	if args.Limit > 0 && (size == 0 || args.Limit < size) {
		size = args.Limit
	}
	res, err := c.runs.ListRuns(ctx, &schedulerv1.ListRunsRequest{TargetId: c.target(), PageSize: size, PageToken: args.NextPageToken})
	if err != nil {
		return nil, err
	}
	page := struct {
		Runs          []json.RawMessage `json:"runs"`
		NextPageToken *string           `json:"next_page_token"`
	}{Runs: []json.RawMessage{}}
	for _, run := range res.GetRuns() {
		page.Runs = append(page.Runs, render(run, nil))
	}
	if token := res.GetNextPageToken(); token != "" {
		page.NextPageToken = &token
	}
	return jsonrpc.Encode(page), nil
}

func (c *caller) resume(ctx context.Context) (json.RawMessage, error) {
	var args struct {
		named
		SignalName string          `json:"signal_name"`
		Payload    json.RawMessage `json:"payload"`
	}
	if err := c.arguments(&args); err != nil {
		return nil, err
	}
	if err := args.check(); err != nil {
		return nil, err
	}
	if args.SignalName == "" {
		args.SignalName = defaultSignal
	}
	res, err := c.runs.SignalRun(ctx, &schedulerv1.SignalRunRequest{
		TargetId: c.target(), RunId: args.RunID, WorkflowId: args.WorkflowID, SignalName: args.SignalName, PayloadJson: string(args.Payload),
	})
	return answered(res.GetFound(), err)
}

func (c *caller) cancel(ctx context.Context) (json.RawMessage, error) {
	var args named
	if err := c.arguments(&args); err != nil {
		return nil, err
	}
	if err := args.check(); err != nil {
		return nil, err
	}
	res, err := c.runs.CancelRun(ctx, &schedulerv1.CancelRunRequest{TargetId: c.target(), RunId: args.RunID, WorkflowId: args.WorkflowID})
	return answered(res.GetFound(), err)
}

// answered is true or false; a run that is not there is false, as in the framework.
func answered(found bool, err error) (json.RawMessage, error) {
	if err != nil && !fault.NotFound.Is(err) {
		return nil, err
	}
	return json.RawMessage(strconv.FormatBool(found)), nil
}
