package rollouts

import (
	"fmt"
	"math"
	"regexp"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// What is done with few calls.
const (
	fewAbort   = "abort"
	fewPromote = "promote"
)

// What a rollout does that says nothing.
const (
	usualErrorRate    = 0.01
	usualLatencyRatio = 3
	usualCalls        = 50
	usualPatience     = 24 * time.Hour
)

const (
	all         = 1000 // thousandths
	mostSteps   = 20
	mostMatches = 100
	longestText = 200
	longestWait = 90 * 24 * time.Hour
)

// headerName is what names of headers are made of in practice.
var headerName = regexp.MustCompile(`^[A-Za-z0-9-]+$`)

// usualSteps are those of a rollout that says none.
func usualSteps() []*schedulerv1.RolloutStep {
	const few, some, half = 50, 250, 500
	return []*schedulerv1.RolloutStep{
		{Weight: few, Wait: durationpb.New(5 * time.Minute)},
		{Weight: some, Wait: durationpb.New(10 * time.Minute)},
		{Weight: half, Wait: durationpb.New(10 * time.Minute)},
	}
}

// planned is how a version's project says to try it, or as it is usually done; what asked
// says beside the steps holds.
func planned(v store.Version, asked *schedulerv1.RolloutPlan) (*schedulerv1.RolloutPlan, error) {
	// The builder has checked the file; of a newer one the rest holds.
	file, _ := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson())
	plan := &schedulerv1.RolloutPlan{Steps: usualSteps()}
	if file.Deploy.Rollout != nil {
		var err error
		if plan, err = fromFile(file.Deploy.Rollout); err != nil {
			return nil, err
		}
	}
	plan.Policy = merged(plan.GetPolicy(), asked.GetPolicy())
	if len(asked.GetMatches()) > 0 {
		plan.Matches = asked.GetMatches()
	}
	return plan, nil
}

// merged is a policy with what is said beside it instead.
func merged(p, said *schedulerv1.RolloutPolicy) *schedulerv1.RolloutPolicy {
	whole := &schedulerv1.RolloutPolicy{}
	proto.Merge(whole, p)
	if said.GetPatience() != nil {
		whole.Patience = nil // or the parts of two times would be mixed
	}
	proto.Merge(whole, said)
	return whole
}

// fromFile is the plan that agentcloud.yaml has.
func fromFile(r *projectfile.Rollout) (*schedulerv1.RolloutPlan, error) {
	policy := &schedulerv1.RolloutPolicy{MaxLatencyRatio: r.MaxLatencyRatio, MinCalls: r.MinCalls, FewCalls: r.FewCalls}
	plan := &schedulerv1.RolloutPlan{Policy: policy}
	for _, step := range r.Steps {
		weight, err := projectfile.Share(step.Weight)
		if err != nil {
			return nil, fault.Invalid.Wrap(err, "deploy.rollout.steps of agentcloud.yaml: %v", err)
		}
		wait, err := timetable.Span(step.Wait)
		if err != nil {
			return nil, fault.Invalid.Wrap(err, "deploy.rollout.steps of agentcloud.yaml: %v", err)
		}
		plan.Steps = append(plan.Steps, &schedulerv1.RolloutStep{Weight: int32(math.Round(weight * all)), Wait: durationpb.New(wait)})
	}
	for _, m := range r.Match {
		plan.Matches = append(plan.Matches, &schedulerv1.CanaryMatch{Header: m.Header, Value: m.Value, Caller: m.Caller})
	}
	for text, to := range map[string]**float64{r.MaxErrorRate: &policy.MaxErrorRate, r.MaxFailedUsers: &policy.MaxFailedUsers} {
		if text == "" {
			continue
		}
		share, err := projectfile.Share(text)
		if err != nil {
			return nil, fault.Invalid.Wrap(err, "deploy.rollout of agentcloud.yaml: %v", err)
		}
		*to = &share
	}
	if r.Patience != "" {
		patience, err := timetable.Span(r.Patience)
		if err != nil {
			return nil, fault.Invalid.Wrap(err, "deploy.rollout.patience of agentcloud.yaml: %v", err)
		}
		policy.Patience = durationpb.New(patience)
	}
	return plan, nil
}

// complete is a plan with all that it does not say, once it is checked.
func complete(plan *schedulerv1.RolloutPlan) (*schedulerv1.RolloutPlan, error) {
	whole := proto.Clone(plan).(*schedulerv1.RolloutPlan)
	p := &schedulerv1.RolloutPolicy{
		MaxErrorRate: proto.Float64(usualErrorRate), MaxLatencyRatio: proto.Float64(usualLatencyRatio), MaxFailedUsers: proto.Float64(0),
		MinCalls: proto.Int64(usualCalls), Patience: durationpb.New(usualPatience), FewCalls: fewAbort,
	}
	whole.Policy = merged(p, whole.GetPolicy())
	for _, check := range []func(*schedulerv1.RolloutPlan) error{checkSteps, checkMatches, checkPolicy} {
		if err := check(whole); err != nil {
			return nil, fault.Invalid.Wrap(err, "%v", err)
		}
	}
	return whole, nil
}

func checkSteps(plan *schedulerv1.RolloutPlan) error {
	if n := len(plan.GetSteps()); n == 0 || n > mostSteps {
		return fmt.Errorf("a rollout has 1 to %d steps", mostSteps)
	}
	before := int32(0)
	for _, step := range plan.GetSteps() {
		switch wait := step.GetWait().AsDuration(); {
		case step.GetWeight() < before || step.GetWeight() > all:
			return fmt.Errorf("a step's weight is in thousandths, at most %d, and no less than the step before has", all)
		case wait < 0 || wait > longestWait:
			return fmt.Errorf("a step waits for up to 90 days")
		}
		before = step.GetWeight()
	}
	return nil
}

func checkMatches(plan *schedulerv1.RolloutPlan) error {
	if len(plan.GetMatches()) > mostMatches {
		return fmt.Errorf("a rollout has at most %d headers and callers", mostMatches)
	}
	for _, m := range plan.GetMatches() {
		switch {
		case m.GetHeader() == "" && m.GetCaller() == "":
			return fmt.Errorf("a match needs a header or a caller")
		case m.GetHeader() != "" && !headerName.MatchString(m.GetHeader()):
			return fmt.Errorf("%q is no name of a header", m.GetHeader())
		case max(len(m.GetHeader()), len(m.GetValue()), len(m.GetCaller())) > longestText || strings.ContainsAny(m.GetValue()+m.GetCaller(), "\r\n"):
			return fmt.Errorf("headers, values and callers are lines of at most %d letters", longestText)
		}
	}
	return nil
}

func checkPolicy(plan *schedulerv1.RolloutPlan) error {
	p := plan.GetPolicy()
	share := func(x float64) bool { return x >= 0 && x <= 1 }
	switch {
	case !share(p.GetMaxErrorRate()) || !share(p.GetMaxFailedUsers()):
		return fmt.Errorf("a share is a number from 0 to 1")
	case !(p.GetMaxLatencyRatio() == 0 || p.GetMaxLatencyRatio() >= 1 && p.GetMaxLatencyRatio() <= all):
		return fmt.Errorf("max_latency_ratio is at least 1, or 0")
	case p.GetMinCalls() < 0:
		return fmt.Errorf("min_calls is at least 0")
	case p.GetPatience().AsDuration() < 0 || p.GetPatience().AsDuration() > longestWait:
		return fmt.Errorf("patience is up to 90 days")
	case p.GetFewCalls() != fewAbort && p.GetFewCalls() != fewPromote:
		return fmt.Errorf("few_calls is %s or %s", fewAbort, fewPromote)
	}
	return nil
}
