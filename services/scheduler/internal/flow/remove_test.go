package flow_test

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

func TestRemoveGoesOnUntilEachStepWorked(t *testing.T) {
	t.Parallel()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	var called []string
	for _, name := range []string{"EndDeploys", "EndSchedules", "EndRuns", "StopAgents", "Forget"} {
		failed := false
		env.RegisterActivityWithOptions(func(context.Context, flow.Target) error {
			called = append(called, name)
			if name == "StopAgents" && !failed {
				failed = true
				return errors.New("not yet")
			}
			return nil
		}, activity.RegisterOptions{Name: name})
	}
	env.ExecuteWorkflow(flow.Remove, flow.Target{TargetID: "app_1", OrgID: "org_1"})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatalf("Remove() = %v", err)
	}
	if diff := cmp.Diff([]string{"EndDeploys", "EndSchedules", "EndRuns", "StopAgents", "StopAgents", "Forget"}, called); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}
