package temporaledge_test

import (
	"context"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func twice(_ context.Context, n int) (int, error) { return 2 * n, nil }

// parent has a step, a child, and goes on as a new run once.
func parent(ctx workflow.Context, n int) (int, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	var doubled int
	if err := workflow.ExecuteActivity(ctx, twice, n).Get(ctx, &doubled); err != nil {
		return 0, err
	}
	if doubled < 10 {
		return 0, workflow.NewContinueAsNewError(ctx, parent, doubled)
	}
	var sum int
	err := workflow.ExecuteChildWorkflow(ctx, child, doubled).Get(ctx, &sum)
	return sum, err
}

func child(_ workflow.Context, n int) (int, error) { return n + 1, nil }

func TestAWorkerLivesBehindTheEdge(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent(temporaltest.Org())
	works := worker.New(a.sdk, a.TargetID, worker.Options{})
	works.RegisterWorkflow(parent)
	works.RegisterWorkflow(child)
	works.RegisterActivity(twice)
	if err := works.Start(); err != nil {
		t.Fatal(err)
	}
	defer works.Stop()
	run, err := a.sdk.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "flow", TaskQueue: a.TargetID}, parent, 3)
	if err != nil {
		t.Fatal(err)
	}
	var got int
	if err := run.Get(t.Context(), &got); err != nil || got != 13 {
		t.Errorf("result = %d, %v; want 13", got, err)
	}
	for what, want := range map[string]func(fact) bool{
		"the run began": func(f fact) bool {
			return f.Type == "parent" && f.TargetID == a.TargetID && f.OrgID == a.OrgID && f.VersionID == a.VersionID && f.outcome == ""
		},
		"the child began": func(f fact) bool { return f.Type == "child" && f.ParentWorkflowID == "flow" && f.outcome == "" },
		"the run ended":   func(f fact) bool { return f.WorkflowID == "flow" && f.outcome == "completed" },
	} {
		eventually(t, what, func() bool { return w.told(want) })
	}
	upstream, err := w.directory.Client(t.Context(), a.OrgID)
	if err != nil {
		t.Fatal(err)
	}
	last, err := upstream.DescribeWorkflowExecution(t.Context(), "flow", "")
	if err != nil {
		t.Fatal(err)
	}
	base := last.GetWorkflowExecutionInfo().GetExecution()
	reset, err := upstream.ResetWorkflowExecution(t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
		Namespace: a.OrgID, WorkflowExecution: base, Reason: "a test", RequestId: "once", WorkflowTaskFinishEventId: firstStep,
	})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "a reset run began", func() bool {
		return w.told(func(f fact) bool {
			return f.RunID == reset.GetRunId() && f.SessionID == "of "+base.GetRunId() && f.Type == "parent"
		})
	})
}

// firstStep is the event that ends the first step of every run's code.
const firstStep = 4
