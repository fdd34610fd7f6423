package temporaledge_test

import (
	"context"
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

func pollOf(a *agent) *workflowservice.PollWorkflowTaskQueueRequest {
	return &workflowservice.PollWorkflowTaskQueueRequest{Namespace: a.OrgID, TaskQueue: queue(a.TargetID), Identity: "a test"}
}

func TestATokenIsNeeded(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent(temporaltest.Org())
	for what, token := range map[string]string{
		"no token": "", "a token that nobody has": tokens.New(tokens.Edge), "a token for callbacks": tokens.New(tokens.Callback), "nonsense": "x",
	} {
		_, err := w.dial(token).PollWorkflowTaskQueue(t.Context(), pollOf(a))
		refused(t, what, err, codes.Unauthenticated)
	}
	w.mu.Lock()
	delete(w.agents, a.EdgeHash)
	w.mu.Unlock()
	_, err := a.raw.PollWorkflowTaskQueue(t.Context(), pollOf(a))
	refused(t, "a token of an instance that is forgotten", err, codes.Unauthenticated)
}

// neighbours are two apps of one organisation and one of another.
func neighbours(t *testing.T) (w *world, a, b, c *agent) {
	t.Helper()
	w = newWorld(t)
	org := temporaltest.Org()
	return w, w.agent(org), w.agent(org), w.agent(temporaltest.Org())
}

func TestQueues(t *testing.T) {
	t.Parallel()
	_, a, b, c := neighbours(t)
	sticky := func(name, normal string) *taskqueuepb.TaskQueue {
		return &taskqueuepb.TaskQueue{Name: name, NormalName: normal, Kind: enumspb.TASK_QUEUE_KIND_STICKY}
	}
	for what, test := range map[string]struct {
		namespace string
		queue     *taskqueuepb.TaskQueue
	}{
		"another namespace":                    {c.OrgID, queue(a.TargetID)},
		"Temporal's own namespace":             {"temporal-system", queue(a.TargetID)},
		"no namespace":                         {"", queue(a.TargetID)},
		"a neighbour's queue":                  {a.OrgID, queue(b.TargetID)},
		"a neighbour's tools":                  {a.OrgID, queue(b.TargetID + "/" + b.VersionID + "/tools")},
		"another version's tools":              {a.OrgID, queue(a.TargetID + "/ver_other/tools")},
		"the scheduler's queue":                {a.OrgID, queue("agentcloud-tools")},
		"a partition of a neighbour's":         {a.OrgID, queue("/_sys/" + b.TargetID + "/1")},
		"a sticky one of a neighbour's":        {a.OrgID, sticky("mine", b.TargetID)},
		"a sticky one named as a neighbour":    {a.OrgID, sticky(b.TargetID, a.TargetID)},
		"a sticky one named as one's own tool": {a.OrgID, sticky(a.TargetID+"/x/tools", a.TargetID)},
		"none":                                 {a.OrgID, nil},
	} {
		_, err := a.raw.PollWorkflowTaskQueue(t.Context(), &workflowservice.PollWorkflowTaskQueueRequest{Namespace: test.namespace, TaskQueue: test.queue})
		refused(t, "poll for workflows: "+what, err, codes.PermissionDenied)
		_, err = a.raw.PollActivityTaskQueue(t.Context(), &workflowservice.PollActivityTaskQueueRequest{Namespace: test.namespace, TaskQueue: test.queue})
		refused(t, "poll for activities: "+what, err, codes.PermissionDenied)
	}
	_, err := a.start(t.Context(), "on-their-queue", b.TargetID)
	refused(t, "start on a neighbour's queue", err, codes.PermissionDenied)
	_, err = a.start(t.Context(), "agentcloud.mine", "")
	refused(t, "start a run that is named as the platform's", err, codes.PermissionDenied)
}

func TestMethodsThatNoAgentNeeds(t *testing.T) {
	t.Parallel()
	_, a, _, _ := neighbours(t)
	ctx, ns := t.Context(), a.OrgID
	for what, call := range map[string]func() error{
		"register a namespace": func() error {
			_, err := a.raw.RegisterNamespace(ctx, &workflowservice.RegisterNamespaceRequest{Namespace: "mine"})
			return err
		},
		"list namespaces": func() error {
			_, err := a.raw.ListNamespaces(ctx, &workflowservice.ListNamespacesRequest{})
			return err
		},
		"change the namespace": func() error {
			_, err := a.raw.UpdateNamespace(ctx, &workflowservice.UpdateNamespaceRequest{Namespace: ns})
			return err
		},
		"terminate": func() error {
			_, err := a.raw.TerminateWorkflowExecution(ctx, &workflowservice.TerminateWorkflowExecutionRequest{Namespace: ns})
			return err
		},
		"complete by id": func() error {
			_, err := a.raw.RespondActivityTaskCompletedById(ctx, &workflowservice.RespondActivityTaskCompletedByIdRequest{Namespace: ns})
			return err
		},
		"schedules": func() error {
			_, err := a.raw.CreateSchedule(ctx, &workflowservice.CreateScheduleRequest{Namespace: ns})
			return err
		},
		"batches": func() error {
			_, err := a.raw.StartBatchOperation(ctx, &workflowservice.StartBatchOperationRequest{Namespace: ns})
			return err
		},
		"a query of one's own": func() error {
			_, err := a.raw.ListWorkflowExecutions(ctx, &workflowservice.ListWorkflowExecutionsRequest{Namespace: ns, Query: "WorkflowId != ''"})
			return err
		},
		"a namespace by its id": func() error {
			_, err := a.raw.DescribeNamespace(ctx, &workflowservice.DescribeNamespaceRequest{Namespace: ns, Id: "x"})
			return err
		},
	} {
		refused(t, what, call(), codes.PermissionDenied)
	}
}

func TestRunsOfNeighbours(t *testing.T) {
	t.Parallel()
	_, a, b, _ := neighbours(t)
	theirs, err := b.start(t.Context(), "theirs", "")
	if err != nil {
		t.Fatal(err)
	}
	own, err := a.start(t.Context(), "own", "")
	if err != nil {
		t.Fatal(err)
	}
	for what, call := range map[string]func(context.Context, *commonpb.WorkflowExecution) error{
		"describe": func(ctx context.Context, e *commonpb.WorkflowExecution) error {
			_, err := a.raw.DescribeWorkflowExecution(ctx, &workflowservice.DescribeWorkflowExecutionRequest{Namespace: a.OrgID, Execution: e})
			return err
		},
		"history": func(ctx context.Context, e *commonpb.WorkflowExecution) error {
			_, err := a.raw.GetWorkflowExecutionHistory(ctx, &workflowservice.GetWorkflowExecutionHistoryRequest{Namespace: a.OrgID, Execution: e})
			return err
		},
		"signal": func(ctx context.Context, e *commonpb.WorkflowExecution) error {
			_, err := a.raw.SignalWorkflowExecution(ctx, &workflowservice.SignalWorkflowExecutionRequest{Namespace: a.OrgID, WorkflowExecution: e, SignalName: "s"})
			return err
		},
		"cancel": func(ctx context.Context, e *commonpb.WorkflowExecution) error {
			_, err := a.raw.RequestCancelWorkflowExecution(ctx, &workflowservice.RequestCancelWorkflowExecutionRequest{Namespace: a.OrgID, WorkflowExecution: e})
			return err
		},
	} {
		refused(t, what+" theirs", call(t.Context(), theirs), codes.NotFound)
		refused(t, what+" theirs, by its id alone", call(t.Context(), &commonpb.WorkflowExecution{WorkflowId: "theirs"}), codes.NotFound)
		refused(t, what+" theirs, under one's own name", call(t.Context(), &commonpb.WorkflowExecution{WorkflowId: "own", RunId: theirs.GetRunId()}), codes.NotFound)
		refused(t, what+" one's own", call(t.Context(), own), codes.OK)
	}
	// A list has one's own, although the start said that it was another's.
	eventually(t, "one's own runs are listed, and no others", func() bool {
		res, err := a.raw.ListWorkflowExecutions(t.Context(), &workflowservice.ListWorkflowExecutionsRequest{Namespace: a.OrgID})
		return err == nil && len(res.GetExecutions()) == 1 && res.GetExecutions()[0].GetExecution().GetWorkflowId() == "own"
	})
}

func TestTasksOfNeighbours(t *testing.T) {
	t.Parallel()
	w, a, b, _ := neighbours(t)
	if _, err := b.start(t.Context(), "theirs", ""); err != nil {
		t.Fatal(err)
	}
	task := b.poll(t)
	complete := func(who workflowservice.WorkflowServiceClient, token []byte) error {
		_, err := who.RespondWorkflowTaskCompleted(t.Context(), &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: a.OrgID, TaskToken: token, Commands: []*commandpb.Command{{
			CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
			Attributes:  &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{}},
		}}})
		return err
	}
	changed := append([]byte(nil), task.GetTaskToken()...)
	changed[len(changed)-1] ^= 1
	refused(t, "a neighbour's task", complete(a.raw, task.GetTaskToken()), codes.PermissionDenied)
	refused(t, "a token that was changed", complete(b.raw, changed), codes.PermissionDenied)
	refused(t, "no token", complete(b.raw, nil), codes.PermissionDenied)
	refused(t, "Temporal's own, unsealed", complete(b.raw, task.GetTaskToken()[32:]), codes.PermissionDenied)
	refused(t, "one's own", complete(b.raw, task.GetTaskToken()), codes.OK)
	eventually(t, "its end is told", func() bool {
		return w.told(func(f fact) bool {
			return f.WorkflowID == "theirs" && f.outcome == "completed" && f.TargetID == b.TargetID
		})
	})
}

func TestCommands(t *testing.T) {
	t.Parallel()
	_, a, b, c := neighbours(t)
	if _, err := b.start(t.Context(), "theirs", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := a.start(t.Context(), "own", ""); err != nil {
		t.Fatal(err)
	}
	task := a.poll(t)
	for what, command := range map[string]*commandpb.Command{
		"a step on a neighbour's queue": {
			CommandType: enumspb.COMMAND_TYPE_SCHEDULE_ACTIVITY_TASK,
			Attributes: &commandpb.Command_ScheduleActivityTaskCommandAttributes{ScheduleActivityTaskCommandAttributes: &commandpb.ScheduleActivityTaskCommandAttributes{
				ActivityId: "1", ActivityType: &commonpb.ActivityType{Name: "x"}, TaskQueue: queue(b.TargetID),
			}},
		},
		"a child on a neighbour's queue": {
			CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
			Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{
				WorkflowId: "x", WorkflowType: &commonpb.WorkflowType{Name: "x"}, TaskQueue: queue(b.TargetID),
			}},
		},
		"a child in another namespace": {
			CommandType: enumspb.COMMAND_TYPE_START_CHILD_WORKFLOW_EXECUTION,
			Attributes: &commandpb.Command_StartChildWorkflowExecutionCommandAttributes{StartChildWorkflowExecutionCommandAttributes: &commandpb.StartChildWorkflowExecutionCommandAttributes{
				Namespace: c.OrgID, WorkflowId: "x", WorkflowType: &commonpb.WorkflowType{Name: "x"}, TaskQueue: queue(a.TargetID), //nolint:staticcheck // deprecated, and obeyed by the server
			}},
		},
		"to go on on a neighbour's queue": {
			CommandType: enumspb.COMMAND_TYPE_CONTINUE_AS_NEW_WORKFLOW_EXECUTION,
			Attributes: &commandpb.Command_ContinueAsNewWorkflowExecutionCommandAttributes{ContinueAsNewWorkflowExecutionCommandAttributes: &commandpb.ContinueAsNewWorkflowExecutionCommandAttributes{
				WorkflowType: &commonpb.WorkflowType{Name: "x"}, TaskQueue: queue(b.TargetID),
			}},
		},
		"a search attribute of the platform's": {
			CommandType: enumspb.COMMAND_TYPE_UPSERT_WORKFLOW_SEARCH_ATTRIBUTES,
			Attributes: &commandpb.Command_UpsertWorkflowSearchAttributesCommandAttributes{UpsertWorkflowSearchAttributesCommandAttributes: &commandpb.UpsertWorkflowSearchAttributesCommandAttributes{
				SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{"AgentCloudTarget": {}}},
			}},
		},
		"a Nexus operation": {CommandType: enumspb.COMMAND_TYPE_SCHEDULE_NEXUS_OPERATION},
		"a signal to a run of another namespace": {
			CommandType: enumspb.COMMAND_TYPE_SIGNAL_EXTERNAL_WORKFLOW_EXECUTION,
			Attributes: &commandpb.Command_SignalExternalWorkflowExecutionCommandAttributes{SignalExternalWorkflowExecutionCommandAttributes: &commandpb.SignalExternalWorkflowExecutionCommandAttributes{
				Namespace: c.OrgID, Execution: &commonpb.WorkflowExecution{WorkflowId: "x"}, SignalName: "s", //nolint:staticcheck // likewise
			}},
		},
		"a cancel of a neighbour's run": {
			CommandType: enumspb.COMMAND_TYPE_REQUEST_CANCEL_EXTERNAL_WORKFLOW_EXECUTION,
			Attributes: &commandpb.Command_RequestCancelExternalWorkflowExecutionCommandAttributes{RequestCancelExternalWorkflowExecutionCommandAttributes: &commandpb.RequestCancelExternalWorkflowExecutionCommandAttributes{
				WorkflowId: "theirs",
			}},
		},
	} {
		_, err := a.raw.RespondWorkflowTaskCompleted(t.Context(), &workflowservice.RespondWorkflowTaskCompletedRequest{
			Namespace: a.OrgID, TaskToken: task.GetTaskToken(), Commands: []*commandpb.Command{command},
		})
		want := codes.PermissionDenied
		if strings.HasPrefix(what, "a cancel") {
			want = codes.NotFound
		}
		refused(t, what, err, want)
	}
}
