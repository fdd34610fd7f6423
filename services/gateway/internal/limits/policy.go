package limits

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Together is all callers as one, where a policy names its Caller.
const Together = "*"

// busy is when to come back where a call must end first.
const busy = time.Second

// Policy is one limit. Every policy that fits a call holds.
type Policy struct {
	ID string
	// OrgID is the organisation whose apps are called; empty: each organisation.
	OrgID string
	// TargetID is one app; empty: all apps of the organisation together.
	TargetID string
	// Caller is one caller; empty: each caller by itself; Together: all as one.
	Caller string
	// Tool is one tool; empty: all requests.
	Tool string

	CallsPerSecond float64 // 0: any
	Burst          int     // 0: as many as in one second, at least one
	Concurrent     int     // 0: any
}

// String says what is allowed, for people.
func (p *Policy) String() string {
	var parts []string
	if p.CallsPerSecond > 0 {
		parts = append(parts, fmt.Sprintf("%g calls per second", p.CallsPerSecond))
	}
	if p.Concurrent > 0 {
		parts = append(parts, fmt.Sprintf("%d calls at once", p.Concurrent))
	}
	return strings.Join(parts, " and ")
}

func (p *Policy) rate(n int) float64 { return p.CallsPerSecond / float64(n) }

func (p *Policy) burst(n int) float64 {
	burst := float64(p.Burst)
	if burst <= 0 {
		burst = math.Ceil(p.CallsPerSecond)
	}
	return max(1, burst/float64(n))
}

func (p *Policy) concurrent(n int) int { return max(1, p.Concurrent/n) }

func (p *Policy) fits(c Call) bool {
	return (p.TargetID == "" || p.TargetID == c.TargetID) && (p.Tool == "" || p.Tool == c.Tool || p.Tool == c.As) &&
		(p.Caller == "" || p.Caller == Together || p.Caller == c.CallerID)
}

func (p *Policy) key(c Call) key {
	k := key{policy: p.ID, org: c.OrgID}
	if p.Caller == "" {
		k.caller = c.CallerID
	}
	return k
}

// table is all policies.
type table struct {
	all    []*Policy            // of each organisation
	byOrg  map[string][]*Policy // of one
	byTool bool
}

func newTable(lists ...[]Policy) *table {
	t := &table{byOrg: map[string][]*Policy{}}
	for _, p := range slices.Concat(lists...) {
		if p.CallsPerSecond <= 0 && p.Concurrent <= 0 {
			continue
		}
		t.byTool = t.byTool || p.Tool != ""
		if p.OrgID == "" {
			t.all = append(t.all, &p)
			continue
		}
		t.byOrg[p.OrgID] = append(t.byOrg[p.OrgID], &p)
	}
	return t
}

func (t *table) match(into []match, c Call) []match {
	for _, list := range [2][]*Policy{t.all, t.byOrg[c.OrgID]} {
		for _, p := range list {
			if p.fits(c) {
				into = append(into, match{policy: p, key: p.key(c)})
			}
		}
	}
	return into
}

// Reached is the cause of a refusal.
type Reached struct {
	// Limit is the id of the policy.
	Limit string
	// Retry is when this replica has room again, if nobody else takes it. A call that
	// still runs may take longer.
	Retry time.Duration
}

// Error says which and when.
func (r *Reached) Error() string { return fmt.Sprintf("limit %s is reached for %s", r.Limit, r.Retry) }

func refuse(p *Policy, wait time.Duration) error {
	return fault.Exhausted.Wrap(&Reached{Limit: p.ID, Retry: wait},
		"the limit %s (%s) is reached; try again in %s", p.ID, p, wait.Round(time.Millisecond)+time.Millisecond)
}
