package cli

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// thousandths are the unit of weights.
const thousandths = 1000

// rolloutFlags say how a version is tried.
type rolloutFlags struct {
	steps, headers, callers []string
	errorRate, failedUsers  string
	latencyRatio            float64
	minCalls                int64
	patience, fewCalls      string
}

func (f *rolloutFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringArrayVar(&f.steps, "step", nil, "SHARE:TIME, for example 5%:10m; once for each step")
	flags.StringArrayVar(&f.headers, "header", nil, "who sends this header gets the version whatever the share: 'NAME: VALUE', or NAME for any value; may be repeated")
	flags.StringArrayVar(&f.callers, "caller", nil, "this caller gets the version whatever the share: id of a user, an API key or a service account; may be repeated")
	flags.StringVar(&f.errorRate, "max-error-rate", "", "by how much the share of calls that fail may be above the live version's (1%)")
	flags.Float64Var(&f.latencyRatio, "max-latency-ratio", 0, "how many times slower the slowest twentieth of calls may be (3); 0: it does not matter")
	flags.StringVar(&f.failedUsers, "max-failed-users", "", "which share of all users may see an error of the version; without it, it does not matter")
	flags.Int64Var(&f.minCalls, "min-calls", 0, "how many calls of the version a step needs to be passed (50); 0: none")
	flags.StringVar(&f.patience, "patience", "", "how long after its time a step waits for them (24h)")
	flags.StringVar(&f.fewCalls, "few-calls", "", "what happens when they do not come: abort (without it), or promote, which goes on to the next step")
	completeWith(cmd, "few-calls", []string{"abort", "promote"})
}

// plan is what the flags say.
func (f *rolloutFlags) plan(cmd *cobra.Command) (*schedulerv1.RolloutPlan, error) {
	plan := &schedulerv1.RolloutPlan{Policy: &schedulerv1.RolloutPolicy{FewCalls: f.fewCalls}}
	for _, text := range f.steps {
		step, err := rolloutStep(text)
		if err != nil {
			return nil, err
		}
		plan.Steps = append(plan.Steps, step)
	}
	for _, text := range f.headers {
		name, value, _ := strings.Cut(text, ":")
		plan.Matches = append(plan.Matches, &schedulerv1.CanaryMatch{Header: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	for _, caller := range f.callers {
		plan.Matches = append(plan.Matches, &schedulerv1.CanaryMatch{Caller: caller})
	}
	return plan, f.policy(cmd, plan.GetPolicy())
}

func rolloutStep(text string) (*schedulerv1.RolloutStep, error) {
	share, wait, _ := strings.Cut(text, ":")
	weight, err := projectfile.Share(share)
	if err != nil {
		return nil, usage("--step %s: %v; write for example 5%%:10m", text, err)
	}
	d, err := timetable.Span(wait)
	if err != nil {
		return nil, usage("--step %s: %v; write for example 5%%:10m", text, err)
	}
	return &schedulerv1.RolloutStep{Weight: int32(math.Round(weight * thousandths)), Wait: durationpb.New(d)}, nil
}

// policy reads the bounds that were said.
func (f *rolloutFlags) policy(cmd *cobra.Command, p *schedulerv1.RolloutPolicy) error {
	for _, one := range []struct {
		flag, text string
		to         **float64
	}{{"max-error-rate", f.errorRate, &p.MaxErrorRate}, {"max-failed-users", f.failedUsers, &p.MaxFailedUsers}} {
		if one.text == "" {
			continue
		}
		share, err := projectfile.Share(one.text)
		if err != nil {
			return usage("--%s: %v", one.flag, err)
		}
		*one.to = &share
	}
	if cmd.Flags().Changed("max-latency-ratio") {
		p.MaxLatencyRatio = &f.latencyRatio
	}
	if cmd.Flags().Changed("min-calls") {
		p.MinCalls = &f.minCalls
	}
	if f.patience != "" {
		d, err := timetable.Span(f.patience)
		if err != nil {
			return usage("--patience: %v", err)
		}
		p.Patience = durationpb.New(d)
	}
	return nil
}

func rolloutState(r *schedulerv1.Rollout) string {
	return word(r.GetState().String(), "ROLLOUT_STATE_")
}

// shareOf is a weight as people read it.
func shareOf(weight int32) string { return fmt.Sprintf("%g%%", float64(weight)/10) } //nolint:mnd // thousandths

// weightOf is the share that a rollout has, or had last.
func weightOf(r *schedulerv1.Rollout) string {
	if n := int(r.GetStep()); n > 0 && n <= len(r.GetPlan().GetSteps()) {
		return shareOf(r.GetPlan().GetSteps()[n-1].GetWeight())
	}
	return shareOf(0)
}

// rolloutLine is a rollout in one line.
func rolloutLine(r *schedulerv1.Rollout) string {
	text := fmt.Sprintf("version %d %s, step %d of %d (%s)", r.GetVersionNumber(), rolloutState(r), r.GetStep(), len(r.GetPlan().GetSteps()), weightOf(r))
	if n := r.GetResult().GetCanary(); n.GetCalls() > 0 {
		text += fmt.Sprintf(": %d calls, %d failed; %d users, %d saw an error", n.GetCalls(), n.GetFailures(), r.GetResult().GetUsers(), r.GetResult().GetFailedUsers())
	}
	if r.GetReason() != "" {
		text += "; " + firstLine(r.GetReason())
	}
	return text
}

func rolloutsTable(out io.Writer, all []*schedulerv1.Rollout) error {
	rows := [][]string{{"ROLLOUT", "VERSION", "AGAINST", "STATE", "STEP", "STARTED", "ENDED", "USERS", "SAW AN ERROR"}}
	for _, r := range all {
		rows = append(rows, []string{
			r.GetRolloutId(), strconv.FormatInt(r.GetVersionNumber(), 10), strconv.FormatInt(r.GetLiveVersionNumber(), 10), rolloutState(r),
			fmt.Sprintf("%d of %d (%s)", r.GetStep(), len(r.GetPlan().GetSteps()), weightOf(r)), moment(r.GetStartTime()), moment(r.GetEndTime()),
			strconv.FormatInt(r.GetResult().GetUsers(), 10), strconv.FormatInt(r.GetResult().GetFailedUsers(), 10),
		})
	}
	return table(out, rows)
}

func rolloutRows(r *schedulerv1.Rollout) [][]string {
	p := r.GetPlan().GetPolicy()
	rows := [][]string{
		{"rollout", r.GetRolloutId()},
		{"version", fmt.Sprintf("%d, tried beside %d", r.GetVersionNumber(), r.GetLiveVersionNumber())},
		{"state", rolloutState(r)},
		{"step", fmt.Sprintf("%d of %d: %s", r.GetStep(), len(r.GetPlan().GetSteps()), planWords(r.GetPlan()))},
		{"started", moment(r.GetStartTime()) + " by " + cmp.Or(r.GetStartedBy(), "a deploy")},
	}
	if r.GetDueTime() != nil {
		rows = append(rows, []string{"next step", "from " + moment(r.GetDueTime()) + fmt.Sprintf(", with at least %d calls", p.GetMinCalls())})
	}
	if r.GetEndTime() != nil {
		rows = append(rows, []string{"ended", moment(r.GetEndTime()) + " by " + cmp.Or(r.GetEndedBy(), "itself")})
	}
	if r.GetReason() != "" {
		rows = append(rows, []string{"because", firstLine(r.GetReason())})
	}
	for _, m := range r.GetPlan().GetMatches() {
		rows = append(rows, []string{"gets it", matchWords(m)})
	}
	n := r.GetResult()
	return append(rows,
		[]string{"ends at", boundWords(p)},
		[]string{"live", callWords(n.GetLive())},
		[]string{"tried", callWords(n.GetCanary())},
		[]string{"users", fmt.Sprintf("%d called, %d had the version, %d (%s) saw an error of it", n.GetUsers(), n.GetCanaryUsers(), n.GetFailedUsers(), of(n.GetFailedUsers(), n.GetUsers()))},
	)
}

func planWords(plan *schedulerv1.RolloutPlan) string {
	var steps []string
	for _, step := range plan.GetSteps() {
		steps = append(steps, shareOf(step.GetWeight())+" for "+step.GetWait().AsDuration().String())
	}
	return strings.Join(steps, ", ")
}

func matchWords(m *schedulerv1.CanaryMatch) string {
	var parts []string
	if m.GetHeader() != "" {
		parts = append(parts, "who sends "+strings.TrimSuffix(m.GetHeader()+": "+m.GetValue(), ": "))
	}
	if m.GetCaller() != "" {
		parts = append(parts, "caller "+m.GetCaller())
	}
	return strings.Join(parts, " and ")
}

func boundWords(p *schedulerv1.RolloutPolicy) string {
	const hundred = 100
	text := fmt.Sprintf("%g%% more failures", hundred*p.GetMaxErrorRate())
	if p.GetMaxLatencyRatio() > 0 {
		text += fmt.Sprintf(", %g times the latency", p.GetMaxLatencyRatio())
	}
	if p.GetMaxFailedUsers() > 0 {
		text += fmt.Sprintf(", %g%% of users with an error", hundred*p.GetMaxFailedUsers())
	}
	return text
}

func callWords(c *schedulerv1.RolloutCalls) string {
	return fmt.Sprintf("%d calls, %d (%s) failed, half within %s, 95%% within %s",
		c.GetCalls(), c.GetFailures(), of(c.GetFailures(), c.GetCalls()), c.GetMedian().AsDuration(), c.GetP95().AsDuration())
}

// of is a part of a whole in percent.
func of(part, whole int64) string {
	const hundred = 100
	return fmt.Sprintf("%.2f%%", hundred*float64(part)/float64(max(whole, 1)))
}

func showRolloutEnd(cmd *cobra.Command, format string, res *registryv1.GetRolloutResponse) error {
	if terminal(cmd.ErrOrStderr()) {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	}
	r := res.GetRollout()
	if err := showMessage(cmd.OutOrStdout(), format, res, func(out io.Writer) error { return table(out, rolloutRows(r)) }); err != nil {
		return err
	}
	if r.GetState() != schedulerv1.RolloutState_ROLLOUT_STATE_PROMOTED {
		return fmt.Errorf("version %d did not become live: %s", r.GetVersionNumber(), r.GetReason())
	}
	return nil
}
