package edge

import (
	"context"
	"errors"
	"fmt"
	"time"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"
)

// policiesAgain is when the registry is asked again for limits after it went away.
const policiesAgain = 500 * time.Millisecond

// leastRate is about one call in three hours.
const leastRate = 0.0001

// LimitDefaults bound each caller in each organisation, beside its own limits.
type LimitDefaults struct {
	CallsPerSecond float64 `koanf:"calls_per_second" help:"requests per second of one caller in the long run; 0: any"`
	Burst          int     `koanf:"burst" help:"requests of one caller at one moment; 0: as many as in one second"`
	Concurrent     int     `koanf:"concurrent" help:"requests of one caller that are answered at the same time; 0: any"`
}

// Validate says what is wrong with the numbers.
func (d LimitDefaults) Validate() error {
	switch {
	case !(d.CallsPerSecond >= 0) || d.Burst < 0 || d.Concurrent < 0: // not a number is not at least 0
		return errors.New("edge.limits: calls_per_second, burst and concurrent may not be negative; 0 means any")
	case d.CallsPerSecond > 0 && d.CallsPerSecond < leastRate:
		return fmt.Errorf("edge.limits.calls_per_second is %g; write at least %g, or 0 for any", d.CallsPerSecond, leastRate)
	case d.Burst > 0 && d.CallsPerSecond == 0:
		return errors.New("edge.limits.burst needs edge.limits.calls_per_second beside it")
	}
	return nil
}

// policies are the limits of every organisation.
func (d LimitDefaults) policies() []limits.Policy {
	return []limits.Policy{{ID: "default", CallsPerSecond: d.CallsPerSecond, Burst: d.Burst, Concurrent: d.Concurrent}}
}

// followLimits keeps the limits as the registry has them until ctx ends. While it is
// away, the last known ones hold.
func (e *Edge) followLimits(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := e.followLimitsOnce(ctx); ctx.Err() == nil {
			e.deps.Log.InfoContext(ctx, "limits stay as they are until the registry is back", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(policiesAgain):
		}
	}
	return nil
}

// followLimitsOnce ends with the stream.
func (e *Edge) followLimitsOnce(ctx context.Context) error {
	stream, err := e.deps.Limits.WatchLimits(ctx, &registryv1.WatchLimitsRequest{})
	if err != nil {
		return err
	}
	known := map[string]limits.Policy{}
	for whole := false; ; {
		step, err := stream.Recv()
		if err != nil {
			return err
		}
		for _, limit := range step.GetUpserts() {
			known[limit.GetLimitId()] = policyOf(limit)
		}
		for _, id := range step.GetDeletedLimitIds() {
			delete(known, id)
		}
		if whole = whole || step.GetComplete(); whole {
			all := make([]limits.Policy, 0, len(known))
			for _, policy := range known {
				all = append(all, policy)
			}
			e.limits.Set(all)
			e.limitsKnown.Store(true)
		}
	}
}

func policyOf(l *registryv1.Limit) limits.Policy {
	return limits.Policy{
		ID: l.GetLimitId(), OrgID: l.GetOrgId(), TargetID: l.GetAppId(), Caller: l.GetCaller(), Tool: l.GetTool(),
		CallsPerSecond: l.GetCallsPerSecond(), Burst: int(l.GetBurst()), Concurrent: int(l.GetConcurrent()),
	}
}
