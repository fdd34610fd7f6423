package runs_test

import (
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// ready records a version that is up and not live, with a workflow and a tool that the
// live one does not have.
func (f *fixture) ready(t *testing.T) (versionID string) {
	t.Helper()
	v := store.Version{ID: id.Version.New(), TargetID: f.app, AppID: f.app, OrgID: f.org, Number: 2}
	_, err := f.store.BeginDeploy(t.Context(), v, "", time.Now())
	if err == nil {
		err = f.store.SetCapture(t.Context(), v.ID, store.Capture{
			WorkflowsJSON: `{"Which":{"run_parameters":{}},"answer":{"run_parameters":{}}}`, Workflows: []string{"Which"}, AsyncTools: []string{"answer"},
		})
	}
	if err == nil {
		err = f.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := f.store.Park(t.Context(), tx, f.app, v.ID, "it is tried", time.Now())
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	return v.ID
}

// try begins a rollout of a version.
func (f *fixture) try(t *testing.T, versionID string) (rolloutID string) {
	t.Helper()
	r := store.Rollout{
		ID: id.Rollout.New(), TargetID: f.app, OrgID: f.org, VersionID: versionID, StartedAt: time.Now(),
		Plan: &schedulerv1.RolloutPlan{Steps: []*schedulerv1.RolloutStep{{Weight: 50}}},
	}
	err := f.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, _, err := f.store.BeginRollout(t.Context(), tx, r, "it is tried")
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return r.ID
}

func (f *fixture) endRollout(t *testing.T, rolloutID string, at time.Time) {
	t.Helper()
	if ended, err := f.store.EndRollout(t.Context(), rolloutID, store.RolloutAborted, "u_1", "because", at); err != nil || !ended {
		t.Fatalf("EndRollout() = %v, %v", ended, err)
	}
}

// versioned polls as the worker of one version does.
func versioned(t *testing.T, c client.Client, app, version string) {
	t.Helper()
	w := worker.New(c, agentenv.TaskQueue(app), worker.Options{DeploymentOptions: worker.DeploymentOptions{
		UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: app, BuildID: version},
		DefaultVersioningBehavior: workflow.VersioningBehaviorPinned,
	}})
	w.RegisterWorkflowWithOptions(func(workflow.Context) (string, error) { return "by " + version, nil }, workflow.RegisterOptions{Name: "Which"})
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

// A run starts on the version that is tried when that is asked for, and on the live one
// when it was tried until a moment ago.
func TestARunStartsOnTheVersionThatIsTried(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tried := f.ready(t)
	c, err := temporaltest.Directory(t).Client(t.Context(), f.org)
	if err != nil {
		t.Fatal(err)
	}
	versioned(t, c, f.app, tried)
	rollout := f.try(t, tried)
	run := f.startOn(t, "Which", tried)
	if got := f.finished(t, run.GetRunId()); got.GetVersionId() != tried || got.GetResultJson() != `"by `+tried+`"` {
		t.Errorf("the run on the version that is tried = %v", got)
	}
	tool := f.startOn(t, "answer", tried)
	if got := f.get(t, &schedulerv1.GetRunRequest{RunId: tool.GetRunId()}); got.GetVersionId() != tried {
		t.Errorf("the tool's run on the version that is tried = %v", got)
	}
	for name, version := range map[string]string{"the live one": f.ver, "none": ""} {
		if _, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Which", VersionId: version}); err == nil {
			t.Errorf("with %s the run starts on a version that the live one is not", name)
		}
	}
	f.endRollout(t, rollout, time.Now())
	after := f.startOn(t, "Echo", tried)
	if got := f.finished(t, after.GetRunId()); got.GetVersionId() == tried || got.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_COMPLETED {
		t.Errorf("the run after the rollout = %v, want it on the live version", got)
	}
}

// No run starts on a version that only waits, was tried long ago, or is another app's.
func TestNoRunStartsOnAnyOtherVersion(t *testing.T) {
	t.Parallel()
	f, other := newFixture(t), newFixture(t)
	waits := f.ready(t)
	const neither = "no run starts on version 2: it is neither live nor being tried"
	refused := func(what, version string, kind fault.Kind, says string) {
		t.Helper()
		_, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Echo", ArgumentsJson: `{"text":"a"}`, VersionId: version})
		if !kind.Is(err) || fault.Message(err) != says {
			t.Errorf("StartRun() on %s = %v, want %q", what, err, says)
		}
	}
	refused("one that waits", waits, fault.Conflict, neither)
	refused("one of nobody", id.Version.New(), fault.NotFound, "this app has no such version")
	refused("one of another app", other.ver, fault.NotFound, "this app has no such version")
	f.endRollout(t, f.try(t, waits), time.Now().Add(-time.Hour))
	refused("one that was tried", waits, fault.Conflict, neither)
	tried := other.ready(t)
	other.try(t, tried)
	refused("one that another app tries", tried, fault.NotFound, "this app has no such version")
}

func (f *fixture) startOn(t *testing.T, name, version string) *schedulerv1.StartRunResponse {
	t.Helper()
	req := &schedulerv1.StartRunRequest{TargetId: f.app, Name: name, VersionId: version}
	if name == "Echo" {
		req.ArgumentsJson = `{"text":"a"}`
	}
	started, err := f.client.StartRun(f.ctx, req)
	if err != nil {
		t.Fatalf("StartRun(%s) on %s = %v", name, version, err)
	}
	return started
}
