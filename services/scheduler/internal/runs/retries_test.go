package runs_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// A tool's body gets the times that its project says, and an error that is said to be
// final ends the run.
func TestBodiesAreTriedAsTheProjectSays(t *testing.T) {
	t.Parallel()
	f := newFixture(t).asleep(t)
	rules := []agentenv.Retry{{
		Pattern: "tool:add", ScheduleToCloseSeconds: 33, HeartbeatSeconds: 7, MaxAttempts: 9, InitialIntervalSeconds: 0.01, NonRetryable: []string{"KeyError"},
	}}
	artifact := &builderv1.Artifact{Manifest: &builderv1.Manifest{ProjectJson: `{"runs":{"add":{"priority":4}}}`}}
	if err := f.store.SetArtifact(t.Context(), f.ver, artifact, rules); err != nil {
		t.Fatal(err)
	}
	c, err := temporaltest.Directory(t).Client(t.Context(), f.org)
	if err != nil {
		t.Fatal(err)
	}
	var tries atomic.Int64
	var seen atomic.Pointer[activity.Info]
	bodies := worker.New(c, agentenv.ToolsQueue(f.app, f.ver), worker.Options{DisableWorkflowWorker: true})
	bodies.RegisterActivityWithOptions(func(ctx context.Context, _ struct{ A, B int }) error {
		info := activity.GetInfo(ctx)
		seen.Store(&info)
		if tries.Add(1) < 3 {
			return temporal.NewApplicationError("not yet", "ConnectionError")
		}
		return temporal.NewApplicationError("never", "KeyError")
	}, activity.RegisterOptions{Name: "tool:add"})
	if err := bodies.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(bodies.Stop)
	run := f.finished(t, f.start(t, "add", `{"a":1}`).GetRunId())
	if run.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_FAILED || run.GetErrorType() != "KeyError" || tries.Load() != 3 {
		t.Errorf("after %d tries: %v", tries.Load(), run)
	}
	if run.GetPriority() != 4 {
		t.Errorf("priority = %d, the project says 4", run.GetPriority())
	}
	if info := seen.Load(); info.ScheduleToCloseTimeout != 33*time.Second || info.HeartbeatTimeout != 7*time.Second {
		t.Errorf("time of all tries: %s, heartbeat %s", info.ScheduleToCloseTimeout, info.HeartbeatTimeout)
	}
}
