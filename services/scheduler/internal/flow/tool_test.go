package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

func runTool(t *testing.T, body func(context.Context, json.RawMessage) (any, error)) (string, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterDynamicWorkflow(flow.RunTool, workflow.DynamicRegisterOptions{})
	env.RegisterActivityWithOptions(body, activity.RegisterOptions{Name: "tool:add"})
	if err := env.SetMemoOnStart(map[string]any{
		flow.MemoToolsQueue: "app_1/ver_1/tools",
		flow.MemoActivity:   flow.ActivityPolicy{Heartbeat: time.Minute, MaxTries: 3},
	}); err != nil {
		t.Fatal(err)
	}
	env.ExecuteWorkflow("AutoWorkflow_add", json.RawMessage(`{"a":1,"b":2}`))
	var result json.RawMessage
	err := env.GetWorkflowResult(&result)
	return string(result), err
}

func TestRunToolWrapsTheValue(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		value any
		want  string
	}{
		"number":          {3, `3`},
		"nothing":         {nil, `null`},
		"bytes":           {[]byte("hi"), `"aGk="`},
		"order is kept":   {json.RawMessage(`{"z":1,"a":2}`), `{"z":1,"a":2}`},
		"text with angle": {"<b>", `"\u003cb\u003e"`},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			var input string
			got, err := runTool(t, func(_ context.Context, args json.RawMessage) (any, error) {
				input = string(args)
				return tt.value, nil
			})
			want := `{"kind":"workflow_result","value":` + tt.want + `,"metadata":{},"start_time":null,"end_time":null}`
			if err != nil || got != want || input != `{"a":1,"b":2}` {
				t.Errorf("RunTool() = %s, %v with input %s; want %s", got, err, input, want)
			}
		})
	}
}

func TestRunToolFailsWithTheToolsError(t *testing.T) {
	t.Parallel()
	calls := 0
	_, err := runTool(t, func(context.Context, json.RawMessage) (any, error) {
		if calls++; calls < 2 {
			return nil, errors.New("once")
		}
		return nil, temporal.NewNonRetryableApplicationError("bad input", "ValueError", nil)
	})
	var failure *temporal.ApplicationError
	if !errors.As(err, &failure) || failure.Type() != "ValueError" || failure.Message() != "bad input" || calls != 2 {
		t.Errorf("RunTool() = %v after %d calls, want a ValueError after 2", err, calls)
	}
}
