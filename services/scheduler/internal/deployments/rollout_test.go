package deployments_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/rollouts"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	running    = schedulerv1.RolloutState_ROLLOUT_STATE_RUNNING
	promoted   = schedulerv1.RolloutState_ROLLOUT_STATE_PROMOTED
	aborted    = schedulerv1.RolloutState_ROLLOUT_STATE_ABORTED
	superseded = schedulerv1.RolloutState_ROLLOUT_STATE_SUPERSEDED
)

// trials are the rollouts of a world.
type trials struct {
	*rollouts.Service
	w    *world
	stop func()
}

// trials begins to look after the world's rollouts.
func (w *world) trials(t *testing.T) *trials {
	t.Helper()
	s := rollouts.NewService(rollouts.Deps{
		Store: w.store, Deployments: w.deployments, Namespaces: w.namespaces, Settle: 500 * time.Millisecond,
		Patience: flow.Patience{Build: time.Minute, Outage: time.Minute, Health: time.Minute},
		Log:      grpctest.Logger(t), Now: time.Now, NewID: id.Rollout.New,
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	r := &trials{Service: s, w: w, stop: sync.OnceFunc(func() { cancel(); <-done })}
	t.Cleanup(r.stop)
	return r
}

// plan has a step of weight for each time.
func plan(weight int32, waits ...time.Duration) *schedulerv1.RolloutPlan {
	p := &schedulerv1.RolloutPlan{Policy: &schedulerv1.RolloutPolicy{MinCalls: proto.Int64(0)}}
	for _, wait := range waits {
		p.Steps = append(p.Steps, &schedulerv1.RolloutStep{Weight: weight, Wait: durationpb.New(wait)})
	}
	return p
}

func (r *trials) try(t *testing.T, versionID string, p *schedulerv1.RolloutPlan) string {
	t.Helper()
	res, err := r.StartRollout(t.Context(), &schedulerv1.StartRolloutRequest{TargetId: r.w.app, OrgId: r.w.org, VersionId: versionID, Plan: p, StartedBy: "u_1"})
	if err != nil {
		t.Fatalf("StartRollout() = %v", err)
	}
	return res.GetRollout().GetRolloutId()
}

func (r *trials) get(t *testing.T) *schedulerv1.Rollout {
	t.Helper()
	res, err := r.GetRollout(t.Context(), &schedulerv1.GetRolloutRequest{TargetId: r.w.app, OrgId: r.w.org, RolloutId: "latest"})
	if err != nil {
		t.Fatal(err)
	}
	return res.GetRollout()
}

func (r *trials) steer(t *testing.T, action schedulerv1.RolloutAction) (*schedulerv1.Rollout, error) {
	t.Helper()
	res, err := r.SteerRollout(t.Context(), &schedulerv1.SteerRolloutRequest{TargetId: r.w.app, OrgId: r.w.org, RolloutId: "latest", Action: action, By: "u_2", Reason: "because"})
	return res.GetRollout(), err
}

// until waits for something to be so.
func until(t *testing.T, what string, so func() bool) {
	t.Helper()
	for range 600 {
		if so() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("waited in vain until %s", what)
}

// untilStep waits until calls are divided for a step, and untilSettled for the end.
func (r *trials) untilStep(t *testing.T, step int32) {
	t.Helper()
	until(t, fmt.Sprintf("step %d has begun", step), func() bool {
		return r.get(t).GetStep() == step && r.w.table.Get(r.w.app).GetCanary().GetEndpoint().GetReady()
	})
}

func (r *trials) untilSettled(t *testing.T, want schedulerv1.RolloutState) *schedulerv1.Rollout {
	t.Helper()
	until(t, "the rollout is settled", func() bool { return r.get(t).GetSettled() })
	got := r.get(t)
	if got.GetState() != want || got.GetReason() == "" || r.w.table.Get(r.w.app).GetCanary() != nil {
		t.Fatalf("rollout = %v, canary %v; want %s", got, r.w.table.Get(r.w.app).GetCanary(), want)
	}
	return got
}

// report tells that a gateway has seen calls of the tried version, by as many users, and
// twenty times as many of the live one.
func (r *trials) report(t *testing.T, rolloutID, live, tried string, calls, failures int64) {
	t.Helper()
	o := &schedulerv1.VersionOutcomes{RolloutId: rolloutID, VersionId: tried, Calls: calls, Failures: failures}
	for user := range uint64(calls) { //nolint:gosec // a small number
		o.Users = append(o.Users, user)
		if user < uint64(failures) { //nolint:gosec // a small number
			o.FailedUsers = append(o.FailedUsers, user)
		}
	}
	_, err := r.ReportOutcomes(t.Context(), &schedulerv1.ReportOutcomesRequest{GatewayId: "g", Outcomes: []*schedulerv1.VersionOutcomes{
		o, {RolloutId: rolloutID, VersionId: live, Calls: 20 * calls, Users: []uint64{1 << 40, 1 << 41}},
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestADeployTriesItsVersion(t *testing.T) {
	w := newWorld(t)
	r := w.trials(t)
	const file = "deploy: {rollout: {steps: [{weight: 10%, wait: 300ms}, {weight: 50%, wait: 300ms}], min_calls: 20}}\n"
	one, _ := w.version(t, file, "", live) // there is none to compare it with
	two, res := w.version(t, file, "", ready)
	want := "version 2 is up and waits to be promoted: agentcloud.yaml says to try it first (deploy.rollout)"
	if n := res.GetNotices(); len(n) != 1 || n[0] != want && !strings.Contains(n[0], "a rollout tries it: 10 % for 300ms, 50 % for 300ms") {
		t.Errorf("notices = %q", n)
	}
	r.untilStep(t, 1)
	if e := w.table.Get(w.app); e.GetVersionId() != one || e.GetCanary().GetWeight() != 100 || e.GetCanary().GetEndpoint().GetVersionId() != two {
		t.Errorf("endpoint = %v, want %s with %s tried", e, one, two)
	}
	r.report(t, r.get(t).GetRolloutId(), one, two, 20, 0)
	r.untilStep(t, 2)
	r.report(t, r.get(t).GetRolloutId(), one, two, 40, 0)
	got := r.untilSettled(t, promoted)
	if w.wantLive(t, two); got.GetResult().GetUsers() != 42 || got.GetResult().GetCanaryUsers() != 40 || got.GetResult().GetCanary().GetCalls() != 40 || got.GetStartedBy() != "" {
		t.Errorf("rollout = %v", got)
	}
	w.await(t, one, store.Draining)
}

func TestARolloutEndsWhenItsVersionFails(t *testing.T) {
	w := newWorld(t)
	r := w.trials(t)
	one, _ := w.version(t, "", "", live)
	two, _ := w.version(t, "deploy: {promote: manual}\n", "", ready)
	rolloutID := r.try(t, two, plan(50, time.Hour))
	r.untilStep(t, 1)
	_, err := w.deployments.DeleteVersion(t.Context(), &schedulerv1.DeleteVersionRequest{TargetId: w.app, OrgId: w.org, VersionId: two})
	if !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "version 2 is being tried") {
		t.Errorf("DeleteVersion() of the tried version = %v", err)
	}
	slept, err := w.deployments.Rest(t.Context(), store.Version{ID: two, TargetID: w.app}, agentenv.RoleServer, func() bool { return true })
	if slept || err != nil {
		t.Errorf("Rest() of the tried version = %v, %v; want it awake", slept, err)
	}
	r.report(t, rolloutID, one, two, 300, 0)
	began := time.Now()
	r.report(t, rolloutID, one, two, 700, 35)
	until(t, "the rollout ends", func() bool { return w.table.Get(w.app).GetCanary() == nil })
	took := time.Since(began)
	t.Logf("the tried version had no share any more after %s", took.Round(time.Millisecond))
	if took > 2*time.Second {
		t.Errorf("it took %s from the report to the end", took)
	}
	r.report(t, rolloutID, one, two, 710, 40) // calls that were under way count
	got := r.untilSettled(t, aborted)
	if n := got.GetResult(); n.GetUsers() != 712 || n.GetFailedUsers() != 40 || n.GetCanary().GetFailures() != 40 || !strings.Contains(got.GetReason(), "35 of 700") {
		t.Errorf("rollout = %v", got)
	}
	w.wantLive(t, one)
	w.await(t, two, store.Gone)
	res, err := r.ReportOutcomes(t.Context(), &schedulerv1.ReportOutcomesRequest{GatewayId: "g", Outcomes: []*schedulerv1.VersionOutcomes{
		{RolloutId: rolloutID, VersionId: two, Calls: 1}, {RolloutId: "rol_none", VersionId: two, Calls: 1},
	}})
	if err != nil || len(res.GetEndedRolloutIds()) != 2 {
		t.Errorf("ReportOutcomes() afterwards = %v, %v; want both to be over", res, err)
	}
	// A version that is over is started again to be tried.
	r.try(t, two, plan(50, time.Hour))
	r.untilStep(t, 1)
	if _, err := r.steer(t, schedulerv1.RolloutAction_ROLLOUT_ACTION_ABORT); err != nil {
		t.Fatal(err)
	}
	if got := r.untilSettled(t, aborted); got.GetEndedBy() != "u_2" || got.GetReason() != "because" {
		t.Errorf("rollout = %v", got)
	}
}

// Three of forty calls may fail by chance; that so many users see it is what ends it.
func TestARolloutEndsWhenTooManyUsersSeeAnError(t *testing.T) {
	w := newWorld(t)
	r := w.trials(t)
	one, _ := w.version(t, "", "", live)
	two, _ := w.version(t, "deploy: {promote: manual}\n", "", ready)
	p := plan(50, time.Hour)
	p.Policy.MaxFailedUsers = proto.Float64(0.05)
	rolloutID := r.try(t, two, p)
	r.untilStep(t, 1)
	r.report(t, rolloutID, one, two, 30, 1)
	looked := time.Now().Add(1500 * time.Millisecond)
	until(t, "it has been looked at", func() bool { return time.Now().After(looked) })
	if got := r.get(t); got.GetState() != running {
		t.Fatalf("with one of 32 users the rollout is %v", got)
	}
	r.report(t, rolloutID, one, two, 40, 3)
	got := r.untilSettled(t, aborted)
	if n := got.GetResult(); n.GetUsers() != 42 || n.GetFailedUsers() != 3 || got.GetReason() != "3 of 42 users saw an error of it, at most 5 % may" {
		t.Errorf("rollout = %v", got)
	}
	w.wantLive(t, one)
}

func TestAPersonSteersARollout(t *testing.T) {
	w := newWorld(t)
	r := w.trials(t)
	one, _ := w.version(t, "", "", live)
	two, _ := w.version(t, "deploy: {promote: manual}\n", "", ready)
	r.try(t, two, plan(50, time.Second, time.Hour))
	r.untilStep(t, 1)
	if got, err := r.steer(t, schedulerv1.RolloutAction_ROLLOUT_ACTION_PAUSE); err != nil || got.GetDueTime() != nil {
		t.Fatalf("pause = %v, %v", got, err)
	}
	passes := r.get(t).GetStepTime().AsTime().Add(1500 * time.Millisecond)
	until(t, "the time of the step has passed", func() bool { return time.Now().After(passes) })
	if got := r.get(t); got.GetStep() != 1 {
		t.Errorf("a rollout that is paused went on: %v", got)
	}
	if got, err := r.steer(t, schedulerv1.RolloutAction_ROLLOUT_ACTION_RESUME); err != nil || got.GetState() != running {
		t.Fatalf("resume = %v, %v", got, err)
	}
	r.untilStep(t, 2)
	w.wantLive(t, one)
	if got, err := r.steer(t, schedulerv1.RolloutAction_ROLLOUT_ACTION_PROMOTE); err != nil || got.GetState() != promoted || got.GetEndedBy() != "u_2" {
		t.Fatalf("promote = %v, %v", got, err)
	}
	w.wantLive(t, two)
	r.untilSettled(t, promoted)
	if _, err := r.steer(t, schedulerv1.RolloutAction_ROLLOUT_ACTION_ABORT); !fault.Conflict.Is(err) {
		t.Errorf("abort of a rollout that has ended = %v", err)
	}
}

func TestADeployTakesThePlaceOfWhatIsTried(t *testing.T) {
	w := newWorld(t)
	r := w.trials(t)
	w.version(t, "", "", live)
	two, _ := w.version(t, "deploy: {promote: manual}\n", "", ready)
	r.try(t, two, plan(50, time.Hour))
	r.untilStep(t, 1)
	w.builder.mu.Lock() // the next deploy takes its time
	outcomes := make(chan error, 1)
	three := w.begin(t, 3, outcomes)
	awaitPending(t, w, three)
	if got := r.get(t); got.GetState() != running {
		t.Errorf("while a version is built the one before is %v", got)
	}
	w.builder.text = ""
	w.builder.mu.Unlock()
	if err := <-outcomes; err != nil {
		t.Fatal(err)
	}
	w.wantLive(t, three)
	if got := r.untilSettled(t, superseded); got.GetReason() != "version 3 came meanwhile" {
		t.Errorf("rollout = %v", got)
	}
	w.await(t, two, store.Gone)
}

func TestARolloutOutlivesTheScheduler(t *testing.T) {
	w := newWorld(t)
	r := w.trials(t)
	one, _ := w.version(t, "", "", live)
	two, _ := w.version(t, "deploy: {promote: manual}\n", "", ready)
	rolloutID := r.try(t, two, plan(50, time.Hour))
	r.untilStep(t, 1)
	r.report(t, rolloutID, one, two, 50, 1)
	r.stop()
	w.stop()
	w.table.Delete(w.app)
	w.start()
	r = w.trials(t)
	until(t, "the tried version is published again", func() bool { return w.table.Get(w.app).GetCanary().GetWeight() == 50 })
	r.report(t, rolloutID, one, two, 600, 60)
	if got := r.untilSettled(t, aborted); got.GetResult().GetFailedUsers() != 60 {
		t.Errorf("rollout = %v", got)
	}
	w.wantLive(t, one)
}

func TestNewRunsAreDividedWhileAVersionIsTried(t *testing.T) {
	w := newWorld(t)
	w.agents.workflows = []string{"Wait"}
	r := w.trials(t)
	up := func(number int64, file string) string { // its worker polls before Temporal is told of it
		v := id.Version.New()
		w.worker(t, v)
		w.number, w.builder.text = number, file
		if _, err := w.deployments.Deploy(t.Context(), &schedulerv1.DeployRequest{
			TargetId: w.app, AppId: w.app, OrgId: w.org, VersionId: v, Number: number, BundleId: id.Bundle.New(), AppName: "demo",
		}); err != nil {
			t.Fatal(err)
		}
		return v
	}
	one, two := up(1, ""), up(2, "deploy: {promote: manual}\n")
	c, err := w.namespaces.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	w.begun(t, w.run(t), one)
	r.try(t, two, plan(1000, time.Hour))
	r.untilStep(t, 1)
	handle := c.WorkerDeploymentClient().GetHandle(w.app)
	until(t, "new runs go to the tried version", func() bool {
		d, err := handle.Describe(t.Context(), client.WorkerDeploymentDescribeOptions{})
		return err == nil && d.Info.RoutingConfig.RampingVersionPercentage == 100
	})
	onTwo := w.run(t)
	w.begun(t, onTwo, two)
	if _, err := r.steer(t, schedulerv1.RolloutAction_ROLLOUT_ACTION_ABORT); err != nil {
		t.Fatal(err)
	}
	r.untilSettled(t, aborted)
	w.begun(t, w.run(t), one)
	// The run stays with the version, which is up until it has ended.
	if v, err := w.store.Version(t.Context(), two); err != nil || v.State != store.Draining {
		t.Errorf("the tried version is %s, %v; want it to drain", v.State, err)
	}
	var got string
	if err := c.SignalWorkflow(t.Context(), onTwo.GetID(), onTwo.GetRunID(), "go", nil); err != nil {
		t.Fatal(err)
	}
	if err := onTwo.Get(t.Context(), &got); err != nil || got != two {
		t.Errorf("a run ended on %s, %v; want %s", got, err, two)
	}
}
