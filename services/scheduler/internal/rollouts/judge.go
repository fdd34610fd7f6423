package rollouts

import (
	"fmt"
	"math"
	"time"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// doubt is how likely a version that keeps to the bound may look as it does for it to be
	// aborted. A step is looked at many times, so it is small.
	doubt = 0.001
	// sure is the quantile of the normal distribution for the live version's upper bound:
	// 95 %, one-sided.
	sure = 1.6449
	// fewCalls is up to which number of calls the live version's rate counts as it was seen,
	// for the bound of so few says nothing.
	fewCalls = 50
	// slowest is the share of calls above the 95th percentile.
	slowest = 0.05
	// quick is a time, in ms, that is never called slow.
	quick = 16
)

// judge says why a version must not be tried any more; empty: nothing speaks against it.
// canary and live are what the two did in this step.
func judge(p *schedulerv1.RolloutPolicy, canary, live store.Outcomes, users store.RolloutUsers) string {
	if why := judgeErrors(p.GetMaxErrorRate(), canary, live); why != "" {
		return why
	}
	if why := judgeLatency(p.GetMaxLatencyRatio(), canary, live); why != "" {
		return why
	}
	if most := p.GetMaxFailedUsers(); most > 0 && users.Failed > 0 && float64(users.Failed) > most*float64(users.All) {
		return fmt.Sprintf("%d of %d users saw an error of it, at most %s may", users.Failed, users.All, percent(most))
	}
	return ""
}

// judgeErrors holds the failures against what the live version's rate and the bound allow:
// an exact binomial test (Clopper and Pearson, 1934) against the upper end of Wilson's
// interval (1927) for the live version.
func judgeErrors(most float64, canary, live store.Outcomes) string {
	base := rate(live)
	if live.Calls >= fewCalls {
		base = wilson(live.Failures, live.Calls)
	}
	allowed := base + most
	if float64(canary.Failures) <= allowed*float64(canary.Calls) || tail(canary.Calls, canary.Failures, allowed) >= doubt {
		return ""
	}
	return fmt.Sprintf("%s of its calls failed (%d of %d), of the live version's %s (%d of %d); at most %s more may",
		percent(rate(canary)), canary.Failures, canary.Calls, percent(rate(live)), live.Failures, live.Calls, percent(most))
}

// judgeLatency counts the calls that are slower than the live version's 95th percentile by
// more than the ratio: of a version as quick they are one of twenty.
func judgeLatency(ratio float64, canary, live store.Outcomes) string {
	if ratio == 0 || live.Calls < fewCalls {
		return ""
	}
	bound := max(int64(math.Ceil(ratio*quantile(live, 1-slowest))), quick)
	slow, at := slowerThan(canary, bound)
	if n := answered(canary); float64(slow) <= slowest*float64(n) || tail(n, slow, slowest) >= doubt {
		return ""
	}
	return fmt.Sprintf("%d of its %d calls took longer than %s, more than %g times what nineteen of twenty of the live version's do",
		slow, canary.Calls, at, ratio)
}

// slowerThan counts the calls that took longer than the first bound of a bucket that is no
// less than ms.
func slowerThan(o store.Outcomes, ms int64) (slow int64, at time.Duration) {
	bound := int64(1)
	for _, n := range o.Latencies {
		if bound >= 2*ms {
			slow += n
		} else {
			at = time.Duration(bound) * time.Millisecond
		}
		bound *= 2
	}
	return slow, at
}

func answered(o store.Outcomes) (n int64) {
	for _, count := range o.Latencies {
		n += count
	}
	return n
}

// quantile is the time, in ms, that a share of the calls took at most, within its bucket as
// if calls were spread evenly there.
func quantile(o store.Outcomes, share float64) float64 {
	rank, seen, below, bound := share*float64(answered(o)), 0.0, 0.0, 1.0
	for _, n := range o.Latencies {
		if n > 0 && seen+float64(n) >= rank {
			return below + (bound-below)*(rank-seen)/float64(n)
		}
		seen, below, bound = seen+float64(n), bound, 2*bound
	}
	return 0
}

func rate(o store.Outcomes) float64 {
	if o.Calls <= 0 {
		return 0
	}
	return float64(o.Failures) / float64(o.Calls)
}

// wilson is the upper end of Wilson's interval for k of n.
func wilson(k, n int64) float64 {
	p, m, z2 := float64(k)/float64(n), float64(n), sure*sure
	return (p + z2/(2*m) + sure*math.Sqrt(p*(1-p)/m+z2/(4*m*m))) / (1 + z2/m)
}

// tail is the probability of k or more of n, each of which has probability p. It is meant
// for k above the mean, from where on terms only fall.
func tail(n, k int64, p float64) float64 {
	switch {
	case k <= 0 || p >= 1:
		return 1
	case p <= 0 || k > n:
		return 0
	}
	logOf := func(x int64) float64 { l, _ := math.Lgamma(float64(x) + 1); return l }
	term := math.Exp(logOf(n) - logOf(k) - logOf(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
	sum := 0.0
	for i := k; i <= n && term > sum*1e-12; i++ {
		sum += term
		term *= float64(n-i) / float64(i+1) * p / (1 - p)
	}
	return min(sum, 1)
}

func percent(share float64) string {
	const digits = 100
	return fmt.Sprintf("%g %%", math.Round(share*100*digits)/digits)
}
