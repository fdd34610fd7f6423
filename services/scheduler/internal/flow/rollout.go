package flow

import (
	"context"
	"time"

	"go.temporal.io/sdk/workflow"
)

// TryVersion is the activity by which a deploy begins the rollout of its version.
const TryVersion = "TryVersion"

// RolloutInput is the input of Rollout. The rest is in the store.
type RolloutInput struct {
	RolloutID string  `json:"rollout_id"`
	Version   Version `json:"version"`
	// Steps is how many there are, Step the one that it is in, from 1; 0: none.
	Steps int `json:"steps"`
	Step  int `json:"step"`
	// Settle is how long after the end gateways may still tell.
	Settle   time.Duration `json:"settle"`
	Patience Patience      `json:"patience"`
}

// Verdict is what a look at a step found.
type Verdict string

// The verdicts.
const (
	StepGoesOn     Verdict = "goes on" // it is to be looked at again
	StepPassed     Verdict = "passed"
	RolloutPromote Verdict = "promote" // somebody wants the version live now
	RolloutOver    Verdict = "over"    // it has ended
)

// RolloutSteps are the activities of a rollout. Each may run more than once, and changes
// nothing of a rollout that has ended.
type RolloutSteps interface {
	// RaiseCanary has the version's processes up and healthy.
	RaiseCanary(ctx context.Context, in RolloutInput) (*Failure, error)
	// BeginStep gives the version its share of calls and of new runs.
	BeginStep(ctx context.Context, in RolloutInput) error
	// AwaitStep looks how the version does until the step is over, or for long. A version
	// that does not do well has no share any more when it answers.
	AwaitStep(ctx context.Context, in RolloutInput) (Verdict, error)
	// PromoteCanary makes the version live as any promotion does.
	PromoteCanary(ctx context.Context, in RolloutInput) (*Failure, error)
	// AbortRollout takes the version's share away.
	AbortRollout(ctx context.Context, in RolloutInput, why Failure) error
	// CloseRollout gives new runs to the live version, tells how the rollout ended, and
	// begins the end of a version that nobody wants.
	CloseRollout(ctx context.Context, in RolloutInput) error
	// SettleRollout writes down what was seen, to the last call.
	SettleRollout(ctx context.Context, in RolloutInput) error
}

// awaitStep is how long one look at a step may last; AwaitStep answers before that.
const awaitStep = 2 * time.Hour

// Rollout tries a version with a growing share of the traffic, and promotes it at the end
// of the last step.
func Rollout(ctx workflow.Context, in RolloutInput) error {
	forever := step(ctx, oneTry, 0)
	verdict, failure, err := try(ctx, &in)
	switch {
	case err != nil:
		return err
	case verdict == StepGoesOn:
		return workflow.NewContinueAsNewError(ctx, RolloutWorkflow, in)
	case verdict == StepPassed || verdict == RolloutPromote:
		// It waits for a deploy of the app to end, however long that takes.
		if err := act(step(ctx, in.Patience.Health+in.Patience.Outage+oneTry, 0), "PromoteCanary", &failure, in); err != nil {
			return err
		}
	}
	if failure != nil {
		if err := act(forever, "AbortRollout", nil, in, *failure); err != nil {
			return err
		}
	}
	if err := act(forever, "CloseRollout", nil, in); err != nil {
		return err
	}
	if err := workflow.Sleep(ctx, in.Settle); err != nil {
		return err
	}
	return act(forever, "SettleRollout", nil, in)
}

// try goes through the steps; StepGoesOn says that the history has to be cut.
func try(ctx workflow.Context, in *RolloutInput) (Verdict, *Failure, error) {
	if in.Step == 0 {
		failure, err := raise(ctx, *in)
		if failure != nil || err != nil {
			return RolloutOver, failure, err
		}
		in.Step = 1
	}
	for range looksPerHistory {
		if err := act(step(ctx, oneTry, 0), "BeginStep", nil, *in); err != nil {
			return "", nil, err
		}
		var verdict Verdict
		if err := act(step(ctx, awaitStep, 0), "AwaitStep", &verdict, *in); err != nil {
			return "", nil, err
		}
		switch {
		case verdict == StepGoesOn:
		case verdict == StepPassed && in.Step < in.Steps:
			in.Step++
		default:
			return verdict, nil, nil
		}
	}
	return StepGoesOn, nil, nil
}

// raise has the version up. What does not come up in time is a failure.
func raise(ctx workflow.Context, in RolloutInput) (*Failure, error) {
	var failure *Failure
	p := in.Patience
	if err := act(step(ctx, p.Health+oneTry, p.Health+p.Outage+oneTry), "RaiseCanary", &failure, in); err != nil {
		return late(err, "the version could not be started: a part of the cloud is away; try again when it is up"), ctx.Err()
	}
	return failure, nil
}
