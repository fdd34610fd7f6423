package flow_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// trial says how the activities of a rollout end, and writes down what was called.
type trial struct {
	down     *flow.Failure // why the version does not come up
	refused  *flow.Failure // why it is not promoted
	verdicts []flow.Verdict
	broken   int // so many looks fail first, as over a restart
	called   []string
}

func (s *trial) RaiseCanary(context.Context, flow.RolloutInput) (*flow.Failure, error) {
	s.called = append(s.called, "Raise")
	return s.down, nil
}

func (s *trial) BeginStep(_ context.Context, in flow.RolloutInput) error {
	s.called = append(s.called, fmt.Sprintf("Begin %d", in.Step))
	return nil
}

func (s *trial) AwaitStep(context.Context, flow.RolloutInput) (flow.Verdict, error) {
	if s.broken > 0 {
		s.broken--
		return "", errors.New("the scheduler ended")
	}
	verdict := s.verdicts[0]
	if len(s.verdicts) > 1 {
		s.verdicts = s.verdicts[1:]
	}
	s.called = append(s.called, string(verdict))
	return verdict, nil
}

func (s *trial) PromoteCanary(context.Context, flow.RolloutInput) (*flow.Failure, error) {
	s.called = append(s.called, "Promote")
	return s.refused, nil
}

func (s *trial) AbortRollout(_ context.Context, _ flow.RolloutInput, why flow.Failure) error {
	s.called = append(s.called, "Abort: "+why.String())
	return nil
}

func (s *trial) CloseRollout(context.Context, flow.RolloutInput) error {
	s.called = append(s.called, "Close")
	return nil
}

func (s *trial) SettleRollout(context.Context, flow.RolloutInput) error {
	s.called = append(s.called, "Settle")
	return nil
}

var _ flow.RolloutSteps = (*trial)(nil)

func (s *trial) environment() *testsuite.TestWorkflowEnvironment {
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(flow.Rollout, workflow.RegisterOptions{Name: flow.RolloutWorkflow})
	for name, step := range map[string]any{
		"RaiseCanary": s.RaiseCanary, "BeginStep": s.BeginStep, "AwaitStep": s.AwaitStep, "PromoteCanary": s.PromoteCanary,
		"AbortRollout": s.AbortRollout, "CloseRollout": s.CloseRollout, "SettleRollout": s.SettleRollout,
	} {
		env.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
	return env
}

var rollout = flow.RolloutInput{RolloutID: "rol_1", Version: input.Version, Steps: 2, Settle: time.Minute, Patience: input.Patience}

func TestRollout(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		trial trial
		want  []string
	}{
		"every step passes": {
			trial: trial{verdicts: []flow.Verdict{flow.StepPassed, flow.StepPassed}},
			want:  []string{"Raise", "Begin 1", "passed", "Begin 2", "passed", "Promote", "Close", "Settle"},
		},
		"a step lasts long": {
			trial: trial{verdicts: []flow.Verdict{flow.StepGoesOn, flow.StepPassed}},
			want:  []string{"Raise", "Begin 1", "goes on", "Begin 1", "passed", "Begin 2", "passed", "Promote", "Close", "Settle"},
		},
		"somebody promotes it in the first step": {
			trial: trial{verdicts: []flow.Verdict{flow.RolloutPromote}},
			want:  []string{"Raise", "Begin 1", "promote", "Promote", "Close", "Settle"},
		},
		"it is aborted or superseded in the second": {
			trial: trial{verdicts: []flow.Verdict{flow.StepPassed, flow.RolloutOver}},
			want:  []string{"Raise", "Begin 1", "passed", "Begin 2", "over", "Close", "Settle"},
		},
		"it does not come up": {
			trial: trial{down: &flow.Failure{Reason: "ImportError"}},
			want:  []string{"Raise", "Abort: ImportError", "Close", "Settle"},
		},
		"it does not become live": {
			trial: trial{verdicts: []flow.Verdict{flow.StepPassed}, refused: &flow.Failure{Reason: "deleted"}},
			want:  []string{"Raise", "Begin 1", "passed", "Begin 2", "passed", "Promote", "Abort: deleted", "Close", "Settle"},
		},
		"the scheduler restarts in a step": {
			trial: trial{verdicts: []flow.Verdict{flow.StepPassed}, broken: 3},
			want:  []string{"Raise", "Begin 1", "passed", "Begin 2", "passed", "Promote", "Close", "Settle"},
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			env := tt.trial.environment()
			began := env.Now()
			env.ExecuteWorkflow(flow.RolloutWorkflow, rollout)
			if err := env.GetWorkflowError(); err != nil {
				t.Fatalf("Rollout() = %v", err)
			}
			if diff := cmp.Diff(tt.want, tt.trial.called); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
			if took := env.Now().Sub(began); took < rollout.Settle {
				t.Errorf("it was settled after %s, want at least %s", took, rollout.Settle)
			}
		})
	}
}

func TestARolloutThatIsPausedForLongCutsItsHistory(t *testing.T) {
	t.Parallel()
	s := &trial{verdicts: []flow.Verdict{flow.StepPassed, flow.StepGoesOn}}
	env := s.environment()
	env.ExecuteWorkflow(flow.RolloutWorkflow, rollout)
	var again *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &again) {
		t.Fatalf("Rollout() = %v, want to continue as new", err)
	}
	next := s.environment()
	goesOn := rollout
	goesOn.Step = 2
	s.verdicts, s.called = []flow.Verdict{flow.StepPassed}, nil
	next.ExecuteWorkflow(flow.RolloutWorkflow, goesOn)
	want := []string{"Begin 2", "passed", "Promote", "Close", "Settle"}
	if diff := cmp.Diff(want, s.called); next.GetWorkflowError() != nil || diff != "" {
		t.Errorf("Rollout() = %v, steps (-want +got):\n%s", next.GetWorkflowError(), diff)
	}
}
