package rollouts

import (
	"context"
	"math"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// buckets is how many numbers of latencies there are.
	buckets = 25
	// mostOutcomes bounds one report.
	mostOutcomes = 10_000
)

// ReportOutcomes takes what a gateway has seen, which is kept before it is confirmed.
func (s *Service) ReportOutcomes(ctx context.Context, req *schedulerv1.ReportOutcomesRequest) (*schedulerv1.ReportOutcomesResponse, error) {
	if n := len(req.GetGatewayId()); n == 0 || n > longestText || len(req.GetOutcomes()) > mostOutcomes {
		return nil, fault.Invalid.Errorf("a report names its gateway, and has at most %d outcomes", mostOutcomes)
	}
	byRollout := map[string][]*schedulerv1.VersionOutcomes{}
	for _, o := range req.GetOutcomes() {
		byRollout[o.GetRolloutId()] = append(byRollout[o.GetRolloutId()], o)
	}
	res := &schedulerv1.ReportOutcomesResponse{}
	for rolloutID, told := range byRollout {
		r, err := s.deps.Store.Rollout(ctx, rolloutID)
		if fault.NotFound.Is(err) || err == nil && r.Result != nil {
			res.EndedRolloutIds = append(res.EndedRolloutIds, rolloutID)
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := s.put(ctx, req.GetGatewayId(), r, told); err != nil {
			return nil, err
		}
		s.look(rolloutID)
	}
	return res, nil
}

func (s *Service) put(ctx context.Context, gatewayID string, r store.Rollout, told []*schedulerv1.VersionOutcomes) error {
	report := store.Report{RolloutID: r.ID, GatewayID: gatewayID, Outcomes: map[string]store.Outcomes{}, Users: map[uint64]int{}}
	for _, o := range told {
		saw := store.SawLive
		switch {
		case len(o.GetLatencyBuckets()) > buckets:
			return fault.Invalid.Errorf("outcomes have at most %d latencies", buckets)
		case o.GetVersionId() == r.VersionID:
			saw = store.SawCanary
			for _, user := range o.GetFailedUsers() {
				report.Users[user] |= store.SawCanary | store.SawError
			}
		case o.GetVersionId() != r.LiveVersion:
			continue // what went live meanwhile
		}
		report.Outcomes[o.GetVersionId()] = store.Outcomes{Calls: max(o.GetCalls(), o.GetFailures()), Failures: o.GetFailures(), Latencies: o.GetLatencyBuckets()}
		for _, user := range o.GetUsers() {
			report.Users[user] |= saw
		}
	}
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.deps.Store.PutReport(ctx, tx, report) })
}

// result is what was seen of a rollout until now.
func (s *Service) result(ctx context.Context, r store.Rollout) (*schedulerv1.RolloutResult, error) {
	if r.Result != nil {
		return r.Result, nil
	}
	sums, err := s.deps.Store.RolloutOutcomes(ctx, r.ID)
	if err != nil {
		return nil, err
	}
	users, err := s.deps.Store.RolloutUsers(ctx, r.ID)
	return &schedulerv1.RolloutResult{
		Users: users.All, CanaryUsers: users.Canary, FailedUsers: users.Failed,
		Live: calls(sums[r.LiveVersion]), Canary: calls(sums[r.VersionID]),
	}, err
}

func calls(o store.Outcomes) *schedulerv1.RolloutCalls {
	const half = 0.5
	at := func(share float64) *durationpb.Duration {
		return durationpb.New(time.Duration(math.Round(quantile(o, share))) * time.Millisecond)
	}
	return &schedulerv1.RolloutCalls{Calls: o.Calls, Failures: o.Failures, Median: at(half), P95: at(1 - slowest)}
}

var states = map[store.RolloutState]schedulerv1.RolloutState{
	store.RolloutRunning:    schedulerv1.RolloutState_ROLLOUT_STATE_RUNNING,
	store.RolloutPaused:     schedulerv1.RolloutState_ROLLOUT_STATE_PAUSED,
	store.RolloutPromoted:   schedulerv1.RolloutState_ROLLOUT_STATE_PROMOTED,
	store.RolloutAborted:    schedulerv1.RolloutState_ROLLOUT_STATE_ABORTED,
	store.RolloutSuperseded: schedulerv1.RolloutState_ROLLOUT_STATE_SUPERSEDED,
}

// message is a rollout as it is told.
func (s *Service) message(ctx context.Context, r store.Rollout) (*schedulerv1.Rollout, error) {
	result, err := s.result(ctx, r)
	m := &schedulerv1.Rollout{
		RolloutId: r.ID, TargetId: r.TargetID, VersionId: r.VersionID, VersionNumber: r.Number, LiveVersionId: r.LiveVersion, LiveVersionNumber: r.LiveNumber,
		State: states[r.State], Step: int32(r.Step), Plan: r.Plan, StartedBy: r.StartedBy, EndedBy: r.EndedBy, Reason: r.Reason, //nolint:gosec // at most mostSteps
		StartTime: stamp(r.StartedAt), StepTime: stamp(r.StepAt), EndTime: stamp(r.EndedAt), Result: result, Settled: r.Result != nil,
	}
	if r.State == store.RolloutRunning {
		m.DueTime = stamp(r.Due)
	}
	return m, err
}

func stamp(t time.Time) *timestamppb.Timestamp {
	if t.IsZero() {
		return nil
	}
	return timestamppb.New(t)
}
