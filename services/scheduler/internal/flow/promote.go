package flow

import (
	"context"

	"go.temporal.io/sdk/workflow"
)

// PromoteSteps are the activities of a promotion, beside those that it shares with a
// deploy.
type PromoteSteps interface {
	// Return has the version's processes up and healthy: at once when they never went.
	Return(ctx context.Context, v Version) (Health, error)
	// Stay takes a promotion back: what is live stays so. It says whether the version is
	// to be retired.
	Stay(ctx context.Context, v Version, why Failure) (retire bool, err error)
}

// Promote makes a version live that was deployed before: health, runs, switch. Nothing is
// built. Before the switch every end but success leaves what serves as it is.
func Promote(ctx workflow.Context, in DeployInput) (DeployResult, error) {
	result := DeployResult{VersionID: in.Version.VersionID}
	switched, failure := goBack(ctx, in)
	if failure != nil {
		result.Failure = failure
		var retire bool
		err := act(step(ctx, oneTry, 0), "Stay", &retire, in.Version, *failure)
		if err == nil && retire {
			err = startRetire(ctx, in.Version)
		}
		return result, err
	}
	// What this cannot do in time is done later, and must not hold up other deploys.
	_ = act(step(ctx, oneTry, in.Patience.Outage), "ApplySchedules", nil, in.Version)
	return result, settle(ctx, in.Version, switched)
}

func goBack(ctx workflow.Context, in DeployInput) (Switched, *Failure) {
	var health Health
	if err := act(step(ctx, in.Patience.Health+oneTry, in.Patience.Health+in.Patience.Outage+oneTry), "Return", &health, in.Version); err != nil {
		return Switched{}, late(err, "the version could not be started again: a part of the cloud is away; try again when it is up")
	}
	if health.Failure != nil {
		return Switched{}, health.Failure
	}
	return route(ctx, in, health.Workflows)
}
