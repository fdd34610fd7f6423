package flow_test

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

func TestStop(t *testing.T) {
	t.Parallel()
	busy, over := flow.StopLook{Busy: true}, flow.StopLook{Over: true}
	tests := map[string]struct {
		looks []flow.StopLook
		took  time.Duration
		force bool
	}{
		"it ends in time":                 {looks: []flow.StopLook{over}, took: 5 * time.Second},
		"it does nothing":                 {looks: []flow.StopLook{{}}, took: 5 * time.Second, force: true},
		"it cleans up":                    {looks: []flow.StopLook{busy, busy, over}, took: 15 * time.Second},
		"it stops cleaning up":            {looks: []flow.StopLook{busy, {}}, took: 10 * time.Second, force: true},
		"it cleans up for too long":       {looks: []flow.StopLook{busy, busy, busy, busy, busy}, took: 22 * time.Second, force: true},
		"it ends at the very last moment": {looks: []flow.StopLook{busy, busy, busy, busy, over}, took: 22 * time.Second},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestWorkflowEnvironment()
			began := env.Now()
			var called []string
			looks := 0
			step := func(name string) {
				env.RegisterActivityWithOptions(func(context.Context, flow.StopInput) error {
					called = append(called, name)
					return nil
				}, activity.RegisterOptions{Name: name})
			}
			step("AskToEnd")
			step("EndByForce")
			env.RegisterActivityWithOptions(func(context.Context, flow.StopInput, time.Time, time.Time) (flow.StopLook, error) {
				looks++
				return tt.looks[looks-1], nil
			}, activity.RegisterOptions{Name: "LookAtEnd"})
			env.ExecuteWorkflow(flow.Stop, flow.StopInput{RunID: "r", Grace: 5 * time.Second, Longest: 22 * time.Second})
			if err := env.GetWorkflowError(); err != nil {
				t.Fatalf("Stop() = %v", err)
			}
			want := []string{"AskToEnd"}
			if tt.force {
				want = append(want, "EndByForce")
			}
			if diff := cmp.Diff(want, called); diff != "" || looks != len(tt.looks) {
				t.Errorf("%d looks of %d; steps (-want +got):\n%s", looks, len(tt.looks), diff)
			}
			if took := env.Now().Sub(began).Round(time.Second); took != tt.took {
				t.Errorf("Stop() took %s, want %s", took, tt.took)
			}
		})
	}
}
