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

// startsOn is the version that a run starts on: the live one, or the one that was asked
// for, as long as that is up to be tried. A rollout may have ended meanwhile, which is no
// fault of who calls.
func (s *Service) startsOn(ctx context.Context, target store.Target, asked string) (versionID string, err error) {
	if asked == "" || asked == target.Live {
		return target.Live, nil
	}
	v, err := s.deps.Store.Version(ctx, asked)
	if fault.NotFound.Is(err) || err == nil && (v.TargetID != target.ID || v.State != store.Ready) {
		return target.Live, nil
	}
	return asked, err
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
