package rollouts

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// project is a version whose agentcloud.yaml is text.
func project(t *testing.T, text string) store.Version {
	t.Helper()
	d, err := projectfile.Parse([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return store.Version{Artifact: &builderv1.Artifact{Manifest: &builderv1.Manifest{ProjectJson: d.JSON}}}
}

func TestAPlanComesFromTheProject(t *testing.T) {
	t.Parallel()
	v := project(t, `deploy:
  rollout:
    steps:
      - {weight: 0.5%, wait: 90s}
      - {weight: 50%, wait: 1h}
    match: [{header: X-Beta, value: "1"}, {caller: u_1}]
    max_error_rate: 2%
    max_latency_ratio: 0
    max_failed_users: 5%
    min_calls: 0
    patience: 90m
`)
	plan, err := planned(v, &schedulerv1.RolloutPlan{Policy: &schedulerv1.RolloutPolicy{Patience: durationpb.New(30 * time.Second), FewCalls: fewPromote}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := complete(plan)
	want := &schedulerv1.RolloutPlan{
		Steps:   []*schedulerv1.RolloutStep{{Weight: 5, Wait: durationpb.New(90 * time.Second)}, {Weight: 500, Wait: durationpb.New(time.Hour)}},
		Matches: []*schedulerv1.CanaryMatch{{Header: "X-Beta", Value: "1"}, {Caller: "u_1"}},
		Policy: &schedulerv1.RolloutPolicy{
			MaxErrorRate: proto.Float64(0.02), MaxLatencyRatio: proto.Float64(0), MaxFailedUsers: proto.Float64(0.05), MinCalls: proto.Int64(0),
			Patience: durationpb.New(30 * time.Second), FewCalls: fewPromote,
		},
	}
	if diff := cmp.Diff(want, got, protocmp.Transform()); err != nil || diff != "" {
		t.Errorf("plan = %v (-want +got):\n%s", err, diff)
	}
	usual, err := planned(project(t, ""), nil)
	if err == nil {
		usual, err = complete(usual)
	}
	if err != nil || words(usual) != "5 % for 5m0s, 25 % for 10m0s, 50 % for 10m0s" || usual.GetPolicy().GetMinCalls() != usualCalls {
		t.Errorf("the usual plan = %v, %v", usual, err)
	}
}

func TestPlansAreChecked(t *testing.T) {
	t.Parallel()
	step := func(weight int32, wait time.Duration) *schedulerv1.RolloutStep {
		return &schedulerv1.RolloutStep{Weight: weight, Wait: durationpb.New(wait)}
	}
	tests := map[string]struct {
		change func(*schedulerv1.RolloutPlan)
		want   string
	}{
		"no steps":            {func(p *schedulerv1.RolloutPlan) { p.Steps = nil }, "1 to 20 steps"},
		"a share that falls":  {func(p *schedulerv1.RolloutPlan) { p.Steps = append(p.Steps, step(10, time.Minute)) }, "no less than the step before"},
		"more than all":       {func(p *schedulerv1.RolloutPlan) { p.Steps = append(p.Steps, step(1001, time.Minute)) }, "at most 1000"},
		"a wait before now":   {func(p *schedulerv1.RolloutPlan) { p.Steps = append(p.Steps, step(600, -time.Minute)) }, "90 days"},
		"an empty match":      {func(p *schedulerv1.RolloutPlan) { p.Matches = []*schedulerv1.CanaryMatch{{Value: "1"}} }, "a header or a caller"},
		"no name of a header": {func(p *schedulerv1.RolloutPlan) { p.Matches = []*schedulerv1.CanaryMatch{{Header: "a b"}} }, "no name of a header"},
		"a line in a value":   {func(p *schedulerv1.RolloutPlan) { p.Matches = []*schedulerv1.CanaryMatch{{Header: "a", Value: "\n"}} }, "are lines"},
		"no share":            {func(p *schedulerv1.RolloutPlan) { p.Policy.MaxErrorRate = proto.Float64(1.1) }, "from 0 to 1"},
		"a ratio below one":   {func(p *schedulerv1.RolloutPlan) { p.Policy.MaxLatencyRatio = proto.Float64(0.5) }, "at least 1"},
		"calls below none":    {func(p *schedulerv1.RolloutPlan) { p.Policy.MinCalls = proto.Int64(-1) }, "min_calls"},
		"an unknown answer":   {func(p *schedulerv1.RolloutPlan) { p.Policy.FewCalls = "wait" }, "abort or promote"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			plan := &schedulerv1.RolloutPlan{Steps: usualSteps(), Policy: &schedulerv1.RolloutPolicy{}}
			tt.change(plan)
			if _, err := complete(plan); !fault.Invalid.Is(err) || !strings.Contains(fault.Message(err), tt.want) {
				t.Errorf("complete() = %v, want %q", err, tt.want)
			}
		})
	}
}
