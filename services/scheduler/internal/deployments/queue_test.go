package deployments_test

import (
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

func TestADeployWaitsForTheOneBeforeIt(t *testing.T) {
	w := newWorld(t)
	w.builder.mu.Lock() // the build of the first one goes on
	outcomes := make(chan error, 2)
	first := w.begin(t, 1, outcomes)
	awaitPending(t, w, first)
	second := w.begin(t, 2, outcomes)
	select {
	case err := <-outcomes:
		t.Fatalf("a deploy ended while the first was being built: %v", err)
	case <-time.After(2 * time.Second): // more than the time between two questions
	}
	w.builder.mu.Unlock()
	for range 2 {
		if err := <-outcomes; err != nil {
			t.Errorf("Deploy() = %v", err)
		}
	}
	target, err := w.store.Target(t.Context(), w.app)
	if err != nil || target.Live != second || target.Pending != "" {
		t.Errorf("Target() = %+v, %v; want %s live", target, err, second)
	}
}

func TestADeployThatANewerOneOvertookIsRefused(t *testing.T) {
	w := newWorld(t)
	outcomes := make(chan error, 1)
	live := w.begin(t, 2, outcomes)
	if err := <-outcomes; err != nil {
		t.Fatal(err)
	}
	w.begin(t, 1, outcomes)
	if err := <-outcomes; !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "version 2") {
		t.Errorf("Deploy(version 1) = %v, want a conflict that names version 2", err)
	}
	if target, err := w.store.Target(t.Context(), w.app); err != nil || target.Live != live || target.Pending != "" {
		t.Errorf("Target() = %+v, %v; want %s live", target, err, live)
	}
}

// begin deploys a version beside the test; its end comes on outcomes.
func (w *world) begin(t *testing.T, number int64, outcomes chan<- error) (versionID string) {
	t.Helper()
	versionID = id.Version.New()
	go func() {
		res, err := w.deployments.Deploy(t.Context(), &schedulerv1.DeployRequest{
			TargetId: w.app, AppId: w.app, OrgId: w.org, VersionId: versionID, Number: number, BundleId: id.Bundle.New(), AppName: "demo",
		})
		if err == nil && res.GetOutcome() != schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE {
			err = fault.Internal.Errorf("version %d: %v", number, res)
		}
		outcomes <- err
	}()
	return versionID
}

func awaitPending(t *testing.T, w *world, versionID string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		target, err := w.store.Target(t.Context(), w.app)
		if err == nil && target.Pending == versionID {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("Target() = %+v, %v; want %s pending", target, err, versionID)
		}
	}
}
