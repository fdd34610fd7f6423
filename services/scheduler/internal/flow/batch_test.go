package flow_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// steer runs the workflow of a batch; windows says how each ends, the last goes on.
func steer(t *testing.T, env *testsuite.TestWorkflowEnvironment, windows ...flow.BatchStep) (calls *int) {
	t.Helper()
	calls = new(int)
	env.RegisterActivityWithOptions(func(context.Context, string) (flow.BatchStep, error) {
		step := windows[min(*calls, len(windows)-1)]
		*calls++
		return step, nil
	}, activity.RegisterOptions{Name: flow.AdvanceBatch})
	env.RegisterWorkflowWithOptions(flow.Batch, workflow.RegisterOptions{Name: flow.BatchWorkflow})
	env.ExecuteWorkflow(flow.BatchWorkflow, "bat_1")
	return calls
}

func TestBatchEnds(t *testing.T) {
	t.Parallel()
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	calls := steer(t, env, flow.BatchStep{}, flow.BatchStep{}, flow.BatchStep{Done: true})
	if err := env.GetWorkflowError(); err != nil || *calls != 3 {
		t.Errorf("Batch() = %v after %d windows, want 3", err, *calls)
	}
}

func TestBatchCutsItsHistory(t *testing.T) {
	t.Parallel()
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	calls := steer(t, env, flow.BatchStep{})
	var again *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &again) || *calls != 100 {
		t.Errorf("Batch() = %v after %d windows, want that it continues as new after 100", err, *calls)
	}
}

func TestBatchWakes(t *testing.T) {
	t.Parallel()
	env := new(testsuite.WorkflowTestSuite).NewTestWorkflowEnvironment()
	began := env.Now()
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(flow.BatchWake, nil) }, 3*time.Second)
	calls := steer(t, env, flow.BatchStep{Paused: true}, flow.BatchStep{Done: true})
	if took := env.Now().Sub(began); env.GetWorkflowError() != nil || *calls != 2 || took > time.Minute {
		t.Errorf("Batch() = %v after %d windows and %s, want that the signal wakes it", env.GetWorkflowError(), *calls, took)
	}
}
