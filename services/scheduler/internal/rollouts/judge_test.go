package rollouts

import (
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// of makes outcomes of which so many failed.
func of(calls, failures int64) store.Outcomes {
	return store.Outcomes{Calls: calls, Failures: failures}
}

// took makes outcomes by number of calls per bucket: at most 1, 2, 4 … ms.
func took(counts ...int64) store.Outcomes {
	o := store.Outcomes{Latencies: make([]int64, buckets)}
	for i, n := range counts {
		o.Latencies[i], o.Calls = n, o.Calls+n
	}
	return o
}

func TestJudge(t *testing.T) {
	t.Parallel()
	policy := func(change func(*schedulerv1.RolloutPolicy)) *schedulerv1.RolloutPolicy {
		p := &schedulerv1.RolloutPolicy{MaxErrorRate: proto.Float64(0.01), MaxLatencyRatio: proto.Float64(3)}
		change(p)
		return p
	}
	usual := policy(func(*schedulerv1.RolloutPolicy) {})
	tests := map[string]struct {
		policy       *schedulerv1.RolloutPolicy
		canary, live store.Outcomes
		users        store.RolloutUsers
		want         string
	}{
		"nothing was seen":                     {policy: usual},
		"both do well":                         {policy: usual, canary: of(1000, 0), live: of(9000, 0)},
		"one of ten calls failed":              {policy: usual, canary: of(10, 1), live: of(200, 0)},
		"two of twenty are noise":              {policy: usual, canary: of(20, 2), live: of(400, 2)},
		"5 % of a hundred are not enough":      {policy: usual, canary: of(100, 5), live: of(2000, 0)},
		"5 % of a hundred and sixty are":       {policy: usual, canary: of(160, 8), live: of(3040, 0), want: "8 of 160"},
		"5 % of three hundred are":             {policy: usual, canary: of(300, 15), live: of(6000, 0), want: "5 % of its calls failed (15 of 300), of the live version's 0 % (0 of 6000); at most 1 % more may"},
		"all fail at once":                     {policy: usual, canary: of(4, 4), live: of(80, 0), want: "100 % of its calls failed"},
		"both fail alike":                      {policy: usual, canary: of(500, 50), live: of(5000, 500)},
		"within the bound":                     {policy: usual, canary: of(100_000, 1_000), live: of(100_000, 10)},
		"a large bound":                        {policy: policy(func(p *schedulerv1.RolloutPolicy) { p.MaxErrorRate = proto.Float64(0.2) }), canary: of(500, 90), live: of(5000, 0)},
		"nobody calls the live version":        {policy: usual, canary: of(300, 15), want: "15 of 300"},
		"few calls of the live one that fails": {policy: usual, canary: of(100, 30), live: of(10, 3)},
		"many calls":                           {policy: usual, canary: of(50_000_000, 2_500_000), live: of(900_000_000, 0), want: "5 % of its calls"},
		"as quick":                             {policy: usual, canary: took(0, 0, 0, 0, 0, 95, 5), live: took(0, 0, 0, 0, 0, 1900, 100)},
		"slow":                                 {policy: usual, canary: took(0, 0, 0, 0, 0, 50, 0, 0, 0, 50), live: took(0, 0, 0, 0, 0, 2000), want: "50 of its 100 calls took longer than 128ms, more than 3 times"},
		"slow, and it does not matter":         {policy: policy(func(p *schedulerv1.RolloutPolicy) { p.MaxLatencyRatio = proto.Float64(0) }), canary: took(0, 0, 0, 0, 0, 0, 0, 0, 0, 100), live: took(0, 0, 0, 0, 0, 2000)},
		"a few slow ones":                      {policy: usual, canary: took(0, 0, 0, 0, 0, 92, 0, 0, 0, 8), live: took(0, 0, 0, 0, 0, 2000)},
		"what is quick is never slow":          {policy: usual, canary: took(0, 0, 0, 100), live: took(2000)},
		"a user of too few":                    {policy: policy(func(p *schedulerv1.RolloutPolicy) { p.MaxFailedUsers = proto.Float64(0.02) }), users: store.RolloutUsers{All: 100, Canary: 5, Failed: 1}},
		"as many users as may":                 {policy: policy(func(p *schedulerv1.RolloutPolicy) { p.MaxFailedUsers = proto.Float64(0.02) }), users: store.RolloutUsers{All: 100, Canary: 5, Failed: 2}},
		"too many users":                       {policy: policy(func(p *schedulerv1.RolloutPolicy) { p.MaxFailedUsers = proto.Float64(0.02) }), users: store.RolloutUsers{All: 100, Canary: 5, Failed: 3}, want: "3 of 100 users saw an error of it, at most 2 % may"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got := judge(tt.policy, tt.canary, tt.live, tt.users)
			if (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
				t.Errorf("judge() = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestTailIsThatOfTheBinomialDistribution(t *testing.T) {
	t.Parallel()
	// P(X ≥ k) for n and p, by exact sums.
	for _, tt := range []struct {
		n, k int64
		p    float64
		want float64
	}{{10, 3, 0.1, 0.0701908264}, {20, 2, 0.01, 0.0168593370}, {300, 15, 0.01, 5.330305185e-7}, {5, 5, 0.5, 0.03125}, {5, 0, 0.5, 1}, {5, 6, 0.5, 0}} {
		if got := tail(tt.n, tt.k, tt.p); got < tt.want*(1-1e-6) || got > tt.want*(1+1e-6) {
			t.Errorf("tail(%d, %d, %g) = %g, want %g", tt.n, tt.k, tt.p, got, tt.want)
		}
	}
}

func TestPassed(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	plan, err := complete(&schedulerv1.RolloutPlan{Steps: usualSteps()})
	if err != nil {
		t.Fatal(err)
	}
	lax := proto.Clone(plan).(*schedulerv1.RolloutPlan)
	lax.Policy.FewCalls = fewPromote
	tests := map[string]struct {
		plan  *schedulerv1.RolloutPlan
		state store.RolloutState
		calls int64
		after time.Duration // its time
		want  string
		why   bool
	}{
		"too early":                      {calls: 1000, after: -time.Second, want: "goes on"},
		"enough was seen":                {calls: 50, want: "passed"},
		"too little was seen":            {calls: 49, want: "goes on"},
		"it is paused":                   {state: store.RolloutPaused, calls: 50, after: time.Hour, want: "goes on"},
		"nobody called":                  {after: 25 * time.Hour, want: "over", why: true},
		"nobody called, and it goes on":  {plan: lax, after: 25 * time.Hour, want: "passed"},
		"the last moment for it to come": {after: 24*time.Hour - time.Second, want: "goes on"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			r := store.Rollout{Plan: plan, State: store.RolloutRunning, Due: now}
			if tt.plan != nil {
				r.Plan = tt.plan
			}
			if tt.state != "" {
				r.State = tt.state
			}
			if got, why := passed(r, tt.calls, now.Add(tt.after)); string(got) != tt.want || (why != "") != tt.why {
				t.Errorf("passed() = %q, %q; want %q", got, why, tt.want)
			}
		})
	}
}
