package edgetest

import (
	"context"
	"sync"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Outcomes is the scheduler's ear for how versions of rollouts do.
type Outcomes struct {
	schedulerv1.UnimplementedRolloutOutcomesServiceServer

	mu      sync.Mutex
	away    bool
	ended   []string
	reports int
	counts  map[outcomesOf]*schedulerv1.VersionOutcomes
	users   map[usersOf]map[uint64]bool
}

type outcomesOf struct{ gateway, version string }

type usersOf struct {
	version string
	failed  bool
}

// VersionSeen is what all gateways together tell of a version; Timed are the calls in all
// buckets of latency.
type VersionSeen struct {
	Calls, Failures, Timed int64
	Users, FailedUsers     int
}

// NewOutcomes returns one that knows nothing.
func NewOutcomes() *Outcomes {
	return &Outcomes{counts: map[outcomesOf]*schedulerv1.VersionOutcomes{}, users: map[usersOf]map[uint64]bool{}}
}

// Away says whether reports fail.
func (o *Outcomes) Away(away bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.away = away
}

// End says that a rollout has ended.
func (o *Outcomes) End(rollout string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = append(o.ended, rollout)
}

// Reports is how often it was told anything.
func (o *Outcomes) Reports() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.reports
}

// Of is what is known of a version.
func (o *Outcomes) Of(version string) (all VersionSeen) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for of, now := range o.counts {
		if of.version != version {
			continue
		}
		all.Calls += now.GetCalls()
		all.Failures += now.GetFailures()
		for _, n := range now.GetLatencyBuckets() {
			all.Timed += n
		}
	}
	all.Users, all.FailedUsers = len(o.users[usersOf{version, false}]), len(o.users[usersOf{version, true}])
	return all
}

// ReportOutcomes takes a report.
func (o *Outcomes) ReportOutcomes(_ context.Context, req *schedulerv1.ReportOutcomesRequest) (*schedulerv1.ReportOutcomesResponse, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.reports++
	if o.away {
		return nil, fault.Unavailable.Errorf("the room is away")
	}
	for _, now := range req.GetOutcomes() {
		o.counts[outcomesOf{req.GetGatewayId(), now.GetVersionId()}] = now
		o.note(usersOf{now.GetVersionId(), false}, now.GetUsers())
		o.note(usersOf{now.GetVersionId(), true}, now.GetFailedUsers())
	}
	return &schedulerv1.ReportOutcomesResponse{EndedRolloutIds: o.ended}, nil
}

func (o *Outcomes) note(of usersOf, users []uint64) {
	if o.users[of] == nil {
		o.users[of] = map[uint64]bool{}
	}
	for _, user := range users {
		o.users[of][user] = true
	}
}
