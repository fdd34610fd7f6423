package temporaledge_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func priorityOfStep(ctx context.Context) (temporal.Priority, error) {
	return activity.GetInfo(ctx).Priority, nil
}

// greedy asks for the share of another, for its step and for its child.
func greedy(ctx workflow.Context, depth int) ([]temporal.Priority, error) {
	others := temporal.Priority{PriorityKey: 4, FairnessKey: "u_other", FairnessWeight: 1000}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, Priority: others})
	var step temporal.Priority
	if err := workflow.ExecuteActivity(ctx, priorityOfStep).Get(ctx, &step); err != nil || depth == 0 {
		return []temporal.Priority{step}, err
	}
	var below []temporal.Priority
	err := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{Priority: others}), greedy, depth-1).Get(ctx, &below)
	return append([]temporal.Priority{step}, below...), err
}

func TestAnAgentTakesItsOwnShareOnly(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent(temporaltest.Org())
	// Temporal merges the priorities of run and step in its queues, which eager steps pass by.
	poller := worker.New(a.sdk, a.TargetID, worker.Options{DisableEagerActivities: true})
	poller.RegisterWorkflow(greedy)
	poller.RegisterActivity(priorityOfStep)
	if err := poller.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(poller.Stop)
	run, err := a.sdk.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: "greedy", TaskQueue: a.TargetID, Priority: temporal.Priority{PriorityKey: 2, FairnessKey: "u_other", FairnessWeight: 1000},
	}, greedy, 1)
	if err != nil {
		t.Fatal(err)
	}
	var got []temporal.Priority
	if err := run.Get(t.Context(), &got); err != nil {
		t.Fatal(err)
	}
	own := temporal.Priority{PriorityKey: 4, FairnessKey: a.TargetID}
	if diff := cmp.Diff([]temporal.Priority{own, own}, got); diff != "" {
		t.Errorf("priorities of steps (-want +got):\n%s", diff)
	}
}
