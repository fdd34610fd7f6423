package flow_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

// script says how each step ends and writes down what was called.
type script struct {
	failures map[string]*flow.Failure
	errs     map[string]error
	health   flow.Health
	switched flow.Switched
	open     []flow.OpenRuns // one a look; the last goes on
	gate     flow.Gate
	warm     []time.Duration // one a look; none: it is not
	called   []string
}

func (s *script) end(name string) (*flow.Failure, error) {
	if !slices.Contains(s.called, name) || name == "Abandon" {
		s.called = append(s.called, name)
	}
	return s.failures[name], s.errs[name]
}

func (s *script) Build(context.Context, flow.Version) (*flow.Failure, error) { return s.end("Build") }

func (s *script) CheckHandles(context.Context, flow.Version) (*flow.Failure, error) {
	return s.end("CheckHandles")
}

func (s *script) Launch(context.Context, flow.Version) (*flow.Failure, error) { return s.end("Launch") }

func (s *script) AwaitHealthy(context.Context, flow.Version) (flow.Health, error) {
	_, err := s.end("AwaitHealthy")
	return s.health, err
}

func (s *script) AwaitReplays(context.Context, flow.Version) (*flow.Failure, error) {
	return s.end("AwaitReplays")
}

func (s *script) CheckSchedules(context.Context, flow.Version) (*flow.Failure, error) {
	return s.end("CheckSchedules")
}

func (s *script) Decide(context.Context, flow.Version) (flow.Gate, error) {
	_, err := s.end("Decide")
	return s.gate, err
}

func (s *script) Park(_ context.Context, _ flow.Version, why string) (flow.Switched, error) {
	_, err := s.end("Park: " + why)
	return s.switched, err
}

func (s *script) Return(context.Context, flow.Version) (flow.Health, error) {
	_, err := s.end("Return")
	return s.health, err
}

func (s *script) Stay(_ context.Context, _ flow.Version, why flow.Failure) (bool, error) {
	_, err := s.end("Stay: " + why.String())
	return true, err
}

func (s *script) WarmFor(context.Context, flow.Version) (time.Duration, error) {
	s.called = append(s.called, "WarmFor")
	if len(s.warm) == 0 {
		return 0, nil
	}
	left := s.warm[0]
	s.warm = s.warm[1:]
	return left, nil
}

func (s *script) ApplySchedules(context.Context, flow.Version) error {
	_, err := s.end("ApplySchedules")
	return err
}

func (s *script) MakeCurrent(context.Context, flow.Version) error {
	_, err := s.end("MakeCurrent")
	return err
}

func (s *script) Switch(context.Context, flow.Version) (flow.Switched, error) {
	_, err := s.end("Switch")
	return s.switched, err
}

func (s *script) Abandon(_ context.Context, _ flow.Version, why flow.Failure) error {
	_, err := s.end("Abandon: " + why.String())
	return err
}

func (s *script) CountOpen(context.Context, flow.Version) (flow.OpenRuns, error) {
	open := s.open[0]
	if len(s.open) > 1 {
		s.open = s.open[1:]
	}
	s.called = append(s.called, "CountOpen")
	return open, nil
}

func (s *script) StopRole(_ context.Context, _ flow.Version, role agentenv.Role) error {
	s.called = append(s.called, "Stop "+string(role))
	return nil
}

func (s *script) FinishRetire(context.Context, flow.Version) error {
	s.called = append(s.called, "FinishRetire")
	return nil
}

var (
	_ flow.DeploySteps  = (*script)(nil)
	_ flow.PromoteSteps = (*script)(nil)
	_ flow.RetireSteps  = (*script)(nil)
)

func environment(t *testing.T, s *script, retire any) *testsuite.TestWorkflowEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterWorkflowWithOptions(flow.Deploy, workflow.RegisterOptions{Name: flow.DeployWorkflow})
	env.RegisterWorkflowWithOptions(flow.Promote, workflow.RegisterOptions{Name: flow.PromoteWorkflow})
	env.RegisterWorkflowWithOptions(retire, workflow.RegisterOptions{Name: flow.RetireWorkflow})
	for name, step := range map[string]any{
		"Build": s.Build, "CheckHandles": s.CheckHandles, "Launch": s.Launch, "AwaitHealthy": s.AwaitHealthy,
		"AwaitReplays": s.AwaitReplays, "CheckSchedules": s.CheckSchedules, "ApplySchedules": s.ApplySchedules,
		"MakeCurrent": s.MakeCurrent, "Switch": s.Switch, "Abandon": s.Abandon,
		"CountOpen": s.CountOpen, "StopRole": s.StopRole, "FinishRetire": s.FinishRetire,
		"Decide": s.Decide, "Park": s.Park, "Return": s.Return, "Stay": s.Stay, "WarmFor": s.WarmFor,
	} {
		env.RegisterActivityWithOptions(step, activity.RegisterOptions{Name: name})
	}
	return env
}

var input = flow.DeployInput{
	Version:  flow.Version{TargetID: "app_1", OrgID: "org_1", VersionID: "ver_2"},
	Patience: flow.Patience{Build: time.Minute, Outage: time.Minute, Health: time.Minute},
}

func TestDeploy(t *testing.T) {
	t.Parallel()
	away := errors.New("away")
	tests := map[string]struct {
		script  script
		called  []string
		failure string
		retires bool
	}{
		"first version without workflows": {
			called: []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "CheckSchedules", "Decide", "Switch", "ApplySchedules"},
		},
		"next version with workflows": {
			script:  script{health: flow.Health{Workflows: true}, switched: flow.Switched{Old: "ver_1"}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "CheckSchedules", "Decide", "MakeCurrent", "Switch", "ApplySchedules"},
			retires: true,
		},
		"past runs are looked at": {
			script:  script{health: flow.Health{Workflows: true, Replays: true}, switched: flow.Switched{Old: "ver_1"}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "AwaitReplays", "CheckSchedules", "Decide", "MakeCurrent", "Switch", "ApplySchedules"},
			retires: true,
		},
		"past runs break and policy refuses": {
			script:  script{health: flow.Health{Workflows: true, Replays: true}, failures: map[string]*flow.Failure{"AwaitReplays": {Reason: "3 runs"}}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "AwaitReplays", "Abandon: 3 runs"},
			failure: "3 runs",
		},
		"past runs cannot be looked at": {
			script:  script{health: flow.Health{Workflows: true, Replays: true}, errs: map[string]error{"AwaitReplays": away}, switched: flow.Switched{Old: "ver_1"}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "AwaitReplays", "CheckSchedules", "Decide", "MakeCurrent", "Switch", "ApplySchedules"},
			retires: true,
		},
		"broken build": {
			script:  script{failures: map[string]*flow.Failure{"Build": {Reason: "no main.py", Detail: "ls: nothing"}}},
			called:  []string{"Build", "Abandon: no main.py\nls: nothing"},
			failure: "no main.py\nls: nothing",
		},
		"unknown handle": {
			script:  script{failures: map[string]*flow.Failure{"CheckHandles": {Reason: "unknown"}}},
			called:  []string{"Build", "CheckHandles", "Abandon: unknown"},
			failure: "unknown",
		},
		"crash at start": {
			script:  script{health: flow.Health{Failure: &flow.Failure{Reason: "ImportError"}}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "Abandon: ImportError"},
			failure: "ImportError",
		},
		"a schedule that it cannot run": {
			script:  script{failures: map[string]*flow.Failure{"CheckSchedules": {Reason: "agentcloud.yaml line 3"}}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "CheckSchedules", "Abandon: agentcloud.yaml line 3"},
			failure: "agentcloud.yaml line 3",
		},
		"policy lets it wait": {
			script:  script{health: flow.Health{Workflows: true}, gate: flow.Gate{Held: "by hand"}, switched: flow.Switched{Cooled: []string{"ver_1"}}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "CheckSchedules", "Decide", "Park: by hand"},
			retires: true,
		},
		"deleted while policy was asked": {
			script:  script{gate: flow.Gate{Held: "by hand"}, switched: flow.Switched{Superseded: &flow.Failure{Reason: "deleted"}}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "CheckSchedules", "Decide", "Park: by hand", "Abandon: deleted"},
			failure: "deleted",
		},
		"deleted before the switch": {
			script:  script{switched: flow.Switched{Superseded: &flow.Failure{Reason: "deleted"}}},
			called:  []string{"Build", "CheckHandles", "Launch", "AwaitHealthy", "CheckSchedules", "Decide", "Switch", "Abandon: deleted"},
			failure: "deleted",
		},
		"secret store away for too long": {
			script: script{errs: map[string]error{"CheckHandles": away}},
			called: []string{
				"Build", "CheckHandles",
				"Abandon: the secrets of this app could not be checked: the secret store is away; deploy again when it is up\naway",
			},
			failure: "the secrets of this app could not be checked: the secret store is away; deploy again when it is up\naway",
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			retired := false
			env := environment(t, &tt.script, func(workflow.Context, flow.Version, flow.RetireProgress) error {
				retired = true
				return nil
			})
			env.ExecuteWorkflow(flow.DeployWorkflow, input)
			var result flow.DeployResult
			if err := env.GetWorkflowResult(&result); err != nil {
				t.Fatalf("Deploy() = %v", err)
			}
			got := ""
			if result.Failure != nil {
				got = result.Failure.String()
			}
			if got != tt.failure || retired != tt.retires {
				t.Errorf("Deploy() failure = %q, retires %v; want %q, %v", got, retired, tt.failure, tt.retires)
			}
			if diff := cmp.Diff(tt.called, tt.script.called); diff != "" {
				t.Errorf("steps (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPromote(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		script  script
		called  []string
		failure string
		retired []string
	}{
		"a version with workflows": {
			script:  script{health: flow.Health{Workflows: true}, switched: flow.Switched{Old: "ver_3", Cooled: []string{"ver_1"}}},
			called:  []string{"Return", "MakeCurrent", "Switch", "ApplySchedules"},
			retired: []string{"ver_3", "ver_1"},
		},
		"one that does not come up": {
			script:  script{health: flow.Health{Failure: &flow.Failure{Reason: "ImportError"}}},
			called:  []string{"Return", "Stay: ImportError"},
			failure: "ImportError", retired: []string{"ver_2"},
		},
		"one that is not wanted any more": {
			script:  script{switched: flow.Switched{Superseded: &flow.Failure{Reason: "deleted"}}},
			called:  []string{"Return", "Switch", "Stay: deleted"},
			failure: "deleted", retired: []string{"ver_2"},
		},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			var retired []string
			env := environment(t, &tt.script, func(_ workflow.Context, v flow.Version, p flow.RetireProgress) error {
				if retired = append(retired, v.VersionID); !p.Warm {
					t.Errorf("%s is retired without a look whether it may stay", v.VersionID)
				}
				return nil
			})
			env.ExecuteWorkflow(flow.PromoteWorkflow, input)
			var result flow.DeployResult
			if err := env.GetWorkflowResult(&result); err != nil {
				t.Fatalf("Promote() = %v", err)
			}
			got := ""
			if result.Failure != nil {
				got = result.Failure.String()
			}
			if diff := cmp.Diff(tt.called, tt.script.called); diff != "" || got != tt.failure || !slices.Equal(retired, tt.retired) {
				t.Errorf("Promote() failure = %q, retires %v; want %q, %v; steps (-want +got):\n%s", got, retired, tt.failure, tt.retired, diff)
			}
		})
	}
}

func TestRetireKeepsWhatIsWarm(t *testing.T) {
	t.Parallel()
	s := &script{open: []flow.OpenRuns{{}}, warm: []time.Duration{time.Hour, time.Hour}}
	env := environment(t, s, flow.Retire)
	began := env.Now()
	env.RegisterDelayedCallback(func() { env.SignalWorkflow(flow.CoolSignal, nil) }, 10*time.Minute)
	env.ExecuteWorkflow(flow.RetireWorkflow, input.Version, flow.RetireProgress{Warm: true})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatalf("Retire() = %v", err)
	}
	// The signal makes it look once more; then the hour passes.
	want := []string{"WarmFor", "WarmFor", "WarmFor", "CountOpen", "CountOpen", "Stop server", "Stop worker", "FinishRetire"}
	if diff := cmp.Diff(want, s.called); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	if took := env.Now().Sub(began); took < time.Hour || took > 90*time.Minute {
		t.Errorf("it stayed up for %s, want about 70 minutes", took)
	}
}

func TestRetireWaitsForPinnedRuns(t *testing.T) {
	t.Parallel()
	s := &script{open: []flow.OpenRuns{
		{Classes: 2, Tools: 1}, {Classes: 1}, {Classes: 1}, {}, {Classes: 1}, {}, {},
	}}
	env := environment(t, s, flow.Retire)
	env.ExecuteWorkflow(flow.RetireWorkflow, input.Version, flow.RetireProgress{})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatalf("Retire() = %v", err)
	}
	want := []string{
		"CountOpen", "CountOpen", "CountOpen", "Stop server",
		"CountOpen", "CountOpen", "CountOpen", "CountOpen", "Stop worker", "FinishRetire",
	}
	if diff := cmp.Diff(want, s.called); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

func TestRetireCutsItsHistory(t *testing.T) {
	t.Parallel()
	s := &script{open: []flow.OpenRuns{{Classes: 1}}}
	env := environment(t, s, flow.Retire)
	env.ExecuteWorkflow(flow.RetireWorkflow, input.Version, flow.RetireProgress{})
	var again *workflow.ContinueAsNewError
	if err := env.GetWorkflowError(); !errors.As(err, &again) {
		t.Fatalf("Retire() of a version that is needed for long = %v, want to continue as new", err)
	}
}
