package deployments_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	live  = schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE
	ready = schedulerv1.DeployOutcome_DEPLOY_OUTCOME_READY
)

// version deploys the next version, with a file and tools, and returns its id.
func (w *world) version(t *testing.T, file, tools string, want schedulerv1.DeployOutcome) (string, *schedulerv1.DeployResponse) {
	t.Helper()
	w.agents.mu.Lock()
	w.agents.capture.ToolsJSON = tools
	w.agents.mu.Unlock()
	res := w.deploy(t, file)
	v, err := w.store.VersionNamed(t.Context(), w.app, "v"+string(rune('0'+w.number)))
	if err != nil || res.GetOutcome() != want {
		t.Fatalf("Deploy() = %v, %v; want %s", res, err, want)
	}
	return v.ID, res
}

func (w *world) promote(t *testing.T, versionID string) (*schedulerv1.PromoteVersionResponse, error) {
	t.Helper()
	return w.deployments.PromoteVersion(t.Context(), &schedulerv1.PromoteVersionRequest{TargetId: w.app, OrgId: w.org, VersionId: versionID})
}

func (w *world) wantLive(t *testing.T, versionID string) {
	t.Helper()
	target, err := w.store.Target(t.Context(), w.app)
	if e := w.table.Get(w.app); err != nil || target.Live != versionID || target.Pending != "" || e.GetVersionId() != versionID {
		t.Errorf("Target() = %+v, %v, and calls go to %s; want %s live", target, err, e.GetVersionId(), versionID)
	}
}

// await waits until a version has a state.
func (w *world) await(t *testing.T, versionID string, want store.State) {
	t.Helper()
	var got store.State
	for range 600 {
		v, err := w.store.Version(t.Context(), versionID)
		if err != nil {
			t.Fatal(err)
		}
		if got = v.State; got == want {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("version is %s, want %s", got, want)
}

func TestARollbackIsRoutingOnly(t *testing.T) {
	w := newWorld(t)
	one, _ := w.version(t, "schedules:\n  one: {workflow: add, interval: 1h}\n", "", live)
	two, _ := w.version(t, "schedules:\n  two: {workflow: add, interval: 1h}\n", "", live)
	started := w.agents.started
	for _, want := range []string{one, two, one} { // without a version: the one that was live before
		began := time.Now()
		res, err := w.promote(t, "")
		took := time.Since(began)
		if err != nil || res.GetOutcome() != live || res.GetVersionId() != want {
			t.Fatalf("PromoteVersion() = %v, %v; want %s live", res, err, want)
		}
		if w.wantLive(t, want); took > 5*time.Second {
			t.Errorf("it took %s", took)
		}
		t.Logf("live after %s", took.Round(time.Millisecond))
	}
	if w.agents.started != started {
		t.Errorf("%d processes were started for it, want none", w.agents.started-started)
	}
	if diff := cmp.Diff([]string{"one"}, w.names(t)); diff != "" {
		t.Errorf("schedules after a rollback (-want +got):\n%s", diff)
	}
	if res, err := w.promote(t, one); err != nil || res.GetOutcome() != live {
		t.Errorf("PromoteVersion() of the live version = %v, %v", res, err)
	}
	if _, err := w.promote(t, id.Version.New()); !fault.NotFound.Is(err) {
		t.Errorf("PromoteVersion() of none = %v", err)
	}
	three, res := w.version(t, "", "", live) // the next deploy works
	if w.wantLive(t, three); res.GetSwitchNumber() != 6 {
		t.Errorf("switch number = %d, want 6", res.GetSwitchNumber())
	}
}

func TestAVersionThatSleepsIsWokenByARollback(t *testing.T) {
	w := newWorld(t)
	one, _ := w.version(t, "", "", live)
	v, err := w.store.Version(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	slept, err := w.deployments.Rest(t.Context(), v, agentenv.RoleServer, func() bool { return true })
	if err != nil || !slept || !w.table.Get(w.app).GetAsleep() {
		t.Fatalf("Rest() = %t, %v; endpoint %v", slept, err, w.table.Get(w.app))
	}
	w.version(t, "", "", live)
	if res, err := w.promote(t, one); err != nil || res.GetOutcome() != live {
		t.Fatalf("PromoteVersion() = %v, %v; want it live", res, err)
	}
	w.wantLive(t, one)
	if e := w.table.Get(w.app); e.GetAsleep() || !e.GetReady() {
		t.Errorf("endpoint = %v, want it ready", e)
	}
}

// Workers of versions answer with what they were started as.
func (w *world) worker(t *testing.T, versionID string) {
	t.Helper()
	c, err := w.namespaces.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	polls := worker.New(c, agentenv.TaskQueue(w.app), worker.Options{DeploymentOptions: worker.DeploymentOptions{
		UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: w.app, BuildID: versionID},
		DefaultVersioningBehavior: workflow.VersioningBehaviorPinned,
	}})
	polls.RegisterWorkflowWithOptions(func(ctx workflow.Context) (string, error) {
		workflow.GetSignalChannel(ctx, "go").Receive(ctx, nil)
		return versionID, nil
	}, workflow.RegisterOptions{Name: "Wait"})
	polls.RegisterWorkflowWithOptions(func(ctx workflow.Context) (said string, err error) {
		workflow.GetSignalChannel(ctx, agentenv.RoundTripSignal).Receive(ctx, &said)
		return said, nil
	}, workflow.RegisterOptions{Name: agentenv.RoundTripWorkflow})
	if err := polls.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(polls.Stop)
}

func (w *world) run(t *testing.T) client.WorkflowRun {
	t.Helper()
	c, err := w.namespaces.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	run, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		TaskQueue: agentenv.TaskQueue(w.app), TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(flow.TargetAttribute).ValueSet(w.app)),
	}, "Wait")
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// begun waits until a run has begun on a version.
func (w *world) begun(t *testing.T, run client.WorkflowRun, versionID string) {
	t.Helper()
	c, err := w.namespaces.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for range 200 {
		d, err := c.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
		if err != nil {
			t.Fatal(err)
		}
		if got = d.GetWorkflowExecutionInfo().GetVersioningInfo().GetDeploymentVersion().GetBuildId(); got != "" {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	if got != versionID {
		t.Fatalf("a run began on %q, want %s", got, versionID)
	}
}

func TestRunsStayWithTheirVersionAfterARollback(t *testing.T) {
	w := newWorld(t)
	w.agents.workflows = []string{"Wait"}
	up := func(number int64) string { // its worker polls before the version is made current
		v := id.Version.New()
		w.worker(t, v)
		w.number = number
		res, err := w.deployments.Deploy(t.Context(), &schedulerv1.DeployRequest{
			TargetId: w.app, AppId: w.app, OrgId: w.org, VersionId: v, Number: number, BundleId: id.Bundle.New(), AppName: "demo",
		})
		if err != nil || res.GetOutcome() != live {
			t.Fatalf("Deploy() = %v, %v", res, err)
		}
		return v
	}
	one, two := up(1), up(2)
	onTwo := w.run(t)
	w.begun(t, onTwo, two)
	if res, err := w.promote(t, ""); err != nil || res.GetVersionId() != one {
		t.Fatalf("PromoteVersion() = %v, %v", res, err)
	}
	onOne := w.run(t)
	w.begun(t, onOne, one)
	_, err := w.deployments.DeleteVersion(t.Context(), &schedulerv1.DeleteVersionRequest{TargetId: w.app, OrgId: w.org, VersionId: two})
	if !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "version 2 has open runs (1)") {
		t.Errorf("DeleteVersion() of a version that a run needs = %v", err)
	}
	facts, err := w.deployments.DescribeVersions(t.Context(), &schedulerv1.DescribeVersionsRequest{TargetId: w.app, OrgId: w.org, VersionIds: []string{two}, Details: true})
	if err != nil || len(facts.GetVersions()) != 1 || facts.GetVersions()[0].GetOpenRuns() != 1 || !facts.GetVersions()[0].GetUp() || !facts.GetVersions()[0].GetPrevious() {
		t.Errorf("DescribeVersions() = %v, %v", facts, err)
	}
	c, err := w.namespaces.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	for run, want := range map[client.WorkflowRun]string{onTwo: two, onOne: one} {
		var got string
		if err := c.SignalWorkflow(t.Context(), run.GetID(), run.GetRunID(), "go", nil); err != nil {
			t.Fatal(err)
		}
		if err := run.Get(t.Context(), &got); err != nil || got != want {
			t.Errorf("a run ended on %s, %v; want %s", got, err, want)
		}
	}
}

// over ends a version that drains, as its retirement does in the end.
func (w *world) over(t *testing.T, versionID string) {
	t.Helper()
	if err := w.store.Retire(t.Context(), versionID, time.Now()); err != nil {
		t.Fatal(err)
	}
	if err := w.agents.Remove(t.Context(), w.app, versionID); err != nil {
		t.Fatal(err)
	}
}

func TestAVersionThatIsOverIsStartedAgain(t *testing.T) {
	w := newWorld(t)
	one, _ := w.version(t, "", "", live)
	two, _ := w.version(t, "", "", live)
	w.over(t, one)
	w.agents.silent = errors.New("connection refused")
	res, err := w.promote(t, one)
	if err != nil || res.GetOutcome() == live || !strings.Contains(res.GetError(), "did not answer as it should") {
		t.Errorf("PromoteVersion() of a version that does not answer = %v, %v", res, err)
	}
	w.wantLive(t, two)
	w.await(t, one, store.Gone) // what was started for it ends again
	w.agents.mu.Lock()
	w.agents.silent = nil
	w.agents.mu.Unlock()
	if res, err := w.promote(t, one); err != nil || res.GetOutcome() != live {
		t.Errorf("PromoteVersion() = %v, %v", res, err)
	}
	w.wantLive(t, one)
	if _, up := w.agents.Look(w.app, one); !up {
		t.Error("the live version does not run")
	}
}

// quiet waits until no deploy or promotion is under way: it has some work left once its
// version is live.
func (w *world) quiet(t *testing.T) {
	t.Helper()
	c, err := w.namespaces.System(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := c.GetWorkflow(t.Context(), flow.DeployID(w.app), "").Get(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestAPromotionOutlivesTheScheduler(t *testing.T) {
	w := newWorld(t)
	one, _ := w.version(t, "", "", live)
	two, _ := w.version(t, "", "", live)
	w.stop() // written down, and Temporal not told yet
	if _, _, err := w.store.BeginPromote(t.Context(), w.app, one, "", time.Now()); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.await(t, one, store.Live)
	w.await(t, two, store.Draining)
	w.over(t, two)
	w.quiet(t)
	w.builder.mu.Lock() // the start waits
	called := make(chan error, 1)
	go func(d *deployments.Service) {
		_, err := d.PromoteVersion(t.Context(), &schedulerv1.PromoteVersionRequest{TargetId: w.app, OrgId: w.org, VersionId: two})
		called <- err
	}(w.deployments)
	awaitPending(t, w, two)
	w.stop()
	w.builder.mu.Unlock()
	w.start()
	w.await(t, two, store.Live)
	if err := <-called; err != nil {
		t.Errorf("PromoteVersion() over a restart = %v", err)
	}
	w.wantLive(t, two)
}

func TestPoliciesHoldVersionsBack(t *testing.T) {
	w := newWorld(t)
	const ask = "deploy: {changed_tools: ask}\n"
	one, _ := w.version(t, ask, `{"tools":[{"name":"add","description":"adds"},{"name":"old"}]}`, live)
	w.version(t, ask, `{"tools":[{"description":"adds","name":"add"},{"name":"new"}]}`, live) // order is no change
	three, res := w.version(t, ask, `{"tools":[{"name":"add","description":"adds up"},{"name":"new"}]}`, ready)
	want := []string{
		"the definition of the tool add changed under the same name since version 2",
		"version 3 is up and waits to be promoted: the definition of the tool add changed under the same name since version 2, and agentcloud.yaml says to ask then (deploy.changed_tools)",
	}
	if diff := cmp.Diff(want, res.GetNotices()); diff != "" {
		t.Errorf("notices (-want +got):\n%s", diff)
	}
	if line := <-w.lines; line.GetLines()[0].GetMessage() != want[0] || line.GetTargetId() != w.app {
		t.Errorf("the app's log says %v", line)
	}
	if _, up := w.agents.Look(w.app, three); !up {
		t.Error("the version that waits is not up")
	}
	four, _ := w.version(t, "deploy: {promote: manual}\n", `{"tools":[{"name":"add","description":"adds up"}]}`, ready)
	w.await(t, three, store.Draining) // nobody waits for it any more
	if res, err := w.promote(t, four); err != nil || res.GetOutcome() != live || res.GetSwitchNumber() != 3 {
		t.Errorf("PromoteVersion() = %v, %v", res, err)
	}
	w.wantLive(t, four)
	_, res = w.version(t, "", `{"tools":[{"name":"add","description":"plus"}]}`, live)
	if len(res.GetNotices()) != 1 {
		t.Errorf("notices = %v, want the changed tool", res.GetNotices())
	}
	facts, err := w.deployments.DescribeVersions(t.Context(), &schedulerv1.DescribeVersionsRequest{TargetId: w.app, OrgId: w.org, VersionIds: []string{three, one, id.Version.New()}})
	if err != nil || len(facts.GetVersions()) != 2 || !cmp.Equal(facts.GetVersions()[0].GetToolChanges().GetChanged(), []string{"add"}) {
		t.Errorf("DescribeVersions() = %v, %v", facts, err)
	}
}

func TestVersionsAreDeleted(t *testing.T) {
	w := newWorld(t)
	one, _ := w.version(t, "", "", live)
	two, _ := w.version(t, "", "", live)
	remove := func(versionID string) error {
		_, err := w.deployments.DeleteVersion(t.Context(), &schedulerv1.DeleteVersionRequest{TargetId: w.app, OrgId: w.org, VersionId: versionID})
		return err
	}
	if err := remove(two); !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "version 2 is live") {
		t.Errorf("DeleteVersion() of the live version = %v", err)
	}
	for range 2 {
		if err := remove(one); err != nil {
			t.Errorf("DeleteVersion() of a warm version = %v", err)
		}
	}
	if _, up := w.agents.Look(w.app, one); up {
		t.Error("the deleted version runs")
	}
	if _, err := w.promote(t, ""); !fault.NotFound.Is(err) {
		t.Errorf("PromoteVersion() with nothing to go back to = %v", err)
	}
	w.wantLive(t, two)
}
