// Package priorities decides who is served how early and whose share of a queue is how
// large. It orders nothing itself: Temporal's task queues do, by what is said here.
package priorities

import (
	"math"

	"go.temporal.io/sdk/temporal"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Priorities are 1 (served first) to 5 (last), as Temporal has them.
const (
	First = 1
	Usual = 3
	Last  = 5
)

// Anonymous is the share of all callers without a key together.
const Anonymous = "anonymous"

// own is the share of what the platform starts for nobody.
const own = "agentcloud"

// Weights are clamped by Temporal to these; outside of them nothing is promised.
const (
	leastWeight = 0.001
	mostWeight  = 1000
)

// Share is what a caller gets of the queues of a target.
type Share struct {
	// Key is the fairness key: who shares it shares one place in the queue.
	Key string
	// Weight beside the other shares; 0: as the queue says, usually 1.
	Weight float64
	// Highest priority that may be asked for.
	Highest int32
}

// Priority is what a run gets: what was asked for, else usual, else the middle. It fails
// with fault.Invalid or fault.Denied.
func (s Share) Priority(asked, usual int32) (temporal.Priority, error) {
	switch {
	case asked != 0 && (asked < First || asked > Last):
		return temporal.Priority{}, fault.Invalid.Errorf("priority %d: use %d (served first) to %d (last)", asked, First, Last)
	case asked != 0 && asked < s.Highest:
		return temporal.Priority{}, fault.Denied.Errorf("priority %d is not allowed here; ask for %d to %d, or ask an administrator for a rule (`agentcloud priorities set`)", asked, s.Highest, Last)
	case asked != 0:
	case usual != 0:
		asked = usual // its author's choice, who deploys it
	default:
		asked = max(Usual, s.Highest)
	}
	return temporal.Priority{PriorityKey: int(asked), FairnessKey: s.Key, FairnessWeight: float32(s.Weight)}, nil
}

// keyOf is whose share a caller takes: each of the organisation's own users has one,
// another organisation has one together, so that nobody grows by having many users.
func keyOf(p principal.Principal) string {
	switch {
	case p.UserID != "":
		return p.UserID
	case p.GuestOrg != "":
		return p.GuestOrg
	case p.Kind == principal.Anonymous:
		return Anonymous
	}
	return own
}

// highestOf is the highest priority of a caller for whom no rule says one.
func highestOf(p principal.Principal) int32 {
	switch {
	case p.Admin || p.Kind == principal.Service:
		return First
	case p.Kind == principal.Anonymous:
		return Usual
	}
	return First + 1
}

// share applies rules, the most specific first.
func share(p principal.Principal, rules []store.PriorityRule) Share {
	s := Share{Key: keyOf(p)}
	for _, r := range rules {
		if s.Weight == 0 {
			s.Weight = r.Weight
		}
		if s.Highest == 0 {
			s.Highest = r.Highest
		}
	}
	if s.Highest == 0 || p.Admin {
		s.Highest = highestOf(p)
	}
	return s
}

// check says what is wrong with a rule, as far as it can be seen in itself.
func check(req *schedulerv1.PutPriorityRuleRequest) error {
	app, caller, highest, weight := req.GetAppId(), req.GetCaller(), req.GetHighest(), req.GetWeight()
	switch {
	case app != "" && !id.App.Valid(app):
		return fault.NotFound.Errorf("no such app: appId is %s_ and more, as `mcp-agent cloud servers list` shows it", id.App)
	case caller != "" && caller != Anonymous && !id.User.Valid(caller) && !id.Org.Valid(caller):
		return fault.Invalid.Errorf("caller is a user's id, another organisation's id, %s, or empty for each caller", Anonymous)
	case highest == 0 && weight == 0:
		return fault.Invalid.Errorf("say what the rule is: highest, weight, or both")
	case highest != 0 && (highest < First || highest > Last):
		return fault.Invalid.Errorf("highest is %d (all priorities) to %d (only the last)", First, Last)
	case math.IsNaN(weight) || weight != 0 && (weight < leastWeight || weight > mostWeight):
		return fault.Invalid.Errorf("weight is between %g and %d", leastWeight, mostWeight)
	}
	return nil
}
