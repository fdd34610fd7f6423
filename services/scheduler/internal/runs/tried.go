package runs

import (
	"context"
	"errors"
	"strings"
	"time"

	"go.temporal.io/api/serviceerror"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// endedLately is how long after a trial runs are still asked for on its version: gateways
// hear of the end a moment later, and a call may have waited meanwhile.
const endedLately = time.Minute

// startsOn is the version that a run starts on: the live one, or the one that is tried, if
// that is asked for. One whose trial has ended a moment ago stands for the live one, which
// is no fault of who calls; any other is refused with fault.Conflict or fault.NotFound.
func (s *Service) startsOn(ctx context.Context, target store.Target, asked string) (versionID string, err error) {
	if asked == "" || asked == target.Live {
		return target.Live, nil
	}
	r, err := s.deps.Store.RolloutOfVersion(ctx, asked)
	switch {
	case fault.NotFound.Is(err) || err == nil && r.TargetID != target.ID:
		return "", s.refused(ctx, target, asked)
	case err != nil:
		return "", err
	case r.Open():
		return asked, nil
	case s.deps.Now().Sub(r.EndedAt) <= endedLately:
		return target.Live, nil
	}
	return "", s.refused(ctx, target, asked)
}

// refused says why no run starts on a version.
func (s *Service) refused(ctx context.Context, target store.Target, asked string) error {
	v, err := s.deps.Store.Version(ctx, asked)
	switch {
	case fault.NotFound.Is(err) || err == nil && v.TargetID != target.ID:
		return fault.NotFound.Wrap(err, "this app has no such version")
	case err != nil:
		return err
	}
	return fault.Conflict.Errorf("no run starts on version %d: it is neither live nor being tried", v.Number)
}

const (
	// unheardTries and unheardPause bound the wait until Temporal has heard of a version's
	// worker: of one that has just begun to poll it hears within a second or two.
	unheardTries = 50
	unheardPause = 200 * time.Millisecond
)

// unheard says whether Temporal refuses a run for the reason that no worker of its version
// has polled, as far as it knows. It says so in words alone.
func unheard(err error) bool {
	var refused *serviceerror.FailedPrecondition
	return errors.As(err, &refused) && strings.Contains(refused.Error(), "is not present in task queue")
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(d):
		return true
	}
}

// pin keeps a run of a workflow class on a version that is not the live one: Temporal
// would give it to that.
func (r start) pin() client.VersioningOverride {
	if r.tool || r.version.ID == r.target.Live {
		return nil
	}
	return &client.PinnedVersioningOverride{Version: worker.WorkerDeploymentVersion{DeploymentName: r.target.ID, BuildID: r.version.ID}}
}
