package flow

import (
	"context"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"
)

// Version names what a deploy or retirement is about. The rest is in the store.
type Version struct {
	TargetID  string `json:"target_id"`
	OrgID     string `json:"org_id"`
	VersionID string `json:"version_id"`
	// By is the user who had it begun; empty: not known.
	By string `json:"by,omitempty"`
}

// Failure says why a version will not serve, for people.
type Failure struct {
	// Reason is one sentence with what to do.
	Reason string `json:"reason"`
	// Detail is the last lines of the real output.
	Detail string `json:"detail,omitempty"`
	// Step is where the health gate was, and what is known of a process that ended there.
	Step string `json:"step,omitempty"`
}

// String is the sentence, the output below it, and the step.
func (f *Failure) String() string {
	text := f.Reason
	if f.Detail != "" {
		text += "\n" + f.Detail
	}
	if f.Step != "" {
		text += "\nfailing step: " + f.Step
	}
	return text
}

// Health is what the gate found out.
type Health struct {
	Failure *Failure `json:"failure,omitempty"`
	// Workflows says that the version has workflow classes, and so a worker.
	Workflows bool `json:"workflows"`
	// Replays says that the worker was given past runs to replay.
	Replays bool `json:"replays,omitempty"`
}

// Switched is the result of the switch.
type Switched struct {
	// Old is the version that served before; empty when there was none.
	Old string `json:"old,omitempty"`
	// Cooled are versions that stayed up beside it and should not any more.
	Cooled []string `json:"cooled,omitempty"`
	// Superseded says why the target does not want this version any more.
	Superseded *Failure `json:"superseded,omitempty"`
}

// Gate is what policy says of a healthy version.
type Gate struct {
	// Held is why it waits to be promoted; empty when it goes live.
	Held string `json:"held,omitempty"`
	// Try says that a rollout tries it then.
	Try bool `json:"try,omitempty"`
}

// DeploySteps are the activities of a deploy. Each may run more than once. What a
// person must put right is a Failure; an error is tried again.
type DeploySteps interface {
	// Build makes the artifact and records it.
	Build(ctx context.Context, v Version) (*Failure, error)
	// CheckHandles asks whether the organisation has every secret the version names.
	CheckHandles(ctx context.Context, v Version) (*Failure, error)
	// Launch starts the version's processes beside those that serve.
	Launch(ctx context.Context, v Version) (*Failure, error)
	// AwaitHealthy waits for them, shakes hands and records what they offer.
	AwaitHealthy(ctx context.Context, v Version) (Health, error)
	// AwaitReplays waits, not for long, for what the worker says of past runs, and
	// records it. Whether it is a failure is a matter of policy.
	AwaitReplays(ctx context.Context, v Version) (*Failure, error)
	// CheckSchedules asks whether the version can run what it declares.
	CheckSchedules(ctx context.Context, v Version) (*Failure, error)
	// Decide compares the version's tools with those that are live, records what it finds,
	// and says whether the version may go live by itself.
	Decide(ctx context.Context, v Version) (Gate, error)
	// Park lets the version wait to be promoted.
	Park(ctx context.Context, v Version, why string) (Switched, error)
	// MakeCurrent sends new runs of workflow classes to the version's worker.
	MakeCurrent(ctx context.Context, v Version) error
	// Switch makes the version the live one.
	Switch(ctx context.Context, v Version) (Switched, error)
	// ApplySchedules brings to Temporal what the switch has changed of the schedules.
	ApplySchedules(ctx context.Context, v Version) error
	// Abandon stops the version and records why; the one before goes on.
	Abandon(ctx context.Context, v Version, why Failure) error
}

// DeployResult is the end of a deploy. The store knows more.
type DeployResult struct {
	VersionID string   `json:"version_id"`
	Failure   *Failure `json:"failure,omitempty"`
}

// Patience is how long the steps of a deploy may take.
type Patience struct {
	Build  time.Duration `json:"build"`
	Outage time.Duration `json:"outage"` // of a neighbour
	Health time.Duration `json:"health"`
}

const (
	heartbeat = 10 * time.Second
	oneTry    = 2 * time.Minute
)

// step returns a context for one kind of activity: each try may take try, all
// together total; zero total means for ever.
func step(ctx workflow.Context, try, total time.Duration) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		StartToCloseTimeout: try, ScheduleToCloseTimeout: total, HeartbeatTimeout: heartbeat,
		RetryPolicy: &temporal.RetryPolicy{InitialInterval: 300 * time.Millisecond, BackoffCoefficient: 1.7, MaximumInterval: 10 * time.Second},
	})
}

// DeployInput is the input of Deploy.
type DeployInput struct {
	Version  Version  `json:"version"`
	Patience Patience `json:"patience"`
}

// Deploy makes a version live: build, check, launch, health, switch. It ends at
// the switch; what the new version replaces is retired by a workflow of its own.
// Before the switch every end but success takes the new version away again.
func Deploy(ctx workflow.Context, in DeployInput) (DeployResult, error) {
	result := DeployResult{VersionID: in.Version.VersionID}
	switched, parked, failure := bringUp(ctx, in)
	if failure != nil {
		result.Failure = failure
		return result, act(step(ctx, oneTry, 0), "Abandon", nil, in.Version, *failure)
	}
	if withSchedules(ctx) && !parked {
		// What this cannot do in time is done later, and must not hold up other deploys.
		_ = act(step(ctx, oneTry, in.Patience.Outage), "ApplySchedules", nil, in.Version)
	}
	return result, settle(ctx, in.Version, switched)
}

// settle begins the end of what a version replaces.
func settle(ctx workflow.Context, v Version, switched Switched) error {
	for _, old := range append([]string{switched.Old}, switched.Cooled...) {
		if old == "" {
			continue
		}
		if err := startRetire(ctx, Version{TargetID: v.TargetID, OrgID: v.OrgID, VersionID: old}); err != nil {
			return err
		}
	}
	return nil
}

// withSchedules is false in workflows that began before there were schedules.
func withSchedules(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, "schedules", workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// bringUp runs the steps up to the switch; parked says that policy wants none now.
func bringUp(ctx workflow.Context, in DeployInput) (switched Switched, parked bool, _ *Failure) {
	v, p := in.Version, in.Patience
	for _, s := range []struct {
		name       string
		try, total time.Duration
		late       string
	}{
		{"Build", p.Build, p.Build + p.Outage, "the build did not end in time, or the builder is away; deploy again"},
		{"CheckHandles", oneTry, p.Outage, "the secrets of this app could not be checked: the secret store is away; deploy again when it is up"},
		{"Launch", oneTry, p.Outage, "the app could not be started: a part of the cloud is away; deploy again when it is up"},
	} {
		var failure *Failure
		if err := act(step(ctx, s.try, s.total), s.name, &failure, v); err != nil {
			return Switched{}, false, late(err, s.late)
		}
		if failure != nil {
			return Switched{}, false, failure
		}
	}
	return goLive(ctx, in)
}

// goLive runs the steps from health to switch.
func goLive(ctx workflow.Context, in DeployInput) (switched Switched, parked bool, _ *Failure) {
	v, p := in.Version, in.Patience
	var health Health
	if err := act(step(ctx, p.Health+time.Minute, 3*(p.Health+time.Minute)), "AwaitHealthy", &health, v); err != nil {
		return switched, false, late(err, "the app did not become healthy in time")
	}
	if health.Failure != nil {
		return switched, false, health.Failure
	}
	if failure := awaitReplays(ctx, in, health); failure != nil {
		return switched, false, failure
	}
	if withSchedules(ctx) {
		var failure *Failure
		if err := act(step(ctx, oneTry, p.Outage), "CheckSchedules", &failure, v); err != nil {
			return switched, false, late(err, "the schedules of agentcloud.yaml could not be checked; deploy again")
		}
		if failure != nil {
			return switched, false, failure
		}
	}
	if withGate(ctx) {
		if switched, parked, failure := hold(ctx, v); parked || failure != nil {
			return switched, parked, failure
		}
	}
	switched, failure := route(ctx, in, health.Workflows)
	return switched, false, failure
}

// withGate is false in workflows that began before policies could hold a version back.
func withGate(ctx workflow.Context) bool {
	return workflow.GetVersion(ctx, "gate", workflow.DefaultVersion, 1) != workflow.DefaultVersion
}

// hold asks policy, and lets the version wait when that says so.
func hold(ctx workflow.Context, v Version) (switched Switched, parked bool, _ *Failure) {
	forever := step(ctx, oneTry, 0) // the store alone is asked
	var gate Gate
	if err := act(forever, "Decide", &gate, v); err != nil {
		return switched, false, late(err, "the new version could not be compared with the live one; deploy again")
	}
	if gate.Held == "" {
		return switched, false, nil
	}
	if err := act(forever, "Park", &switched, v, gate.Held); err != nil {
		return switched, false, late(err, "the new version could not be recorded; deploy again")
	}
	if gate.Try && switched.Superseded == nil {
		if err := act(workflow.WithTaskQueue(forever, RolloutsQueue), TryVersion, nil, v); err != nil {
			return switched, true, late(err, "the rollout of the new version could not begin; deploy again")
		}
	}
	return switched, true, switched.Superseded
}

// route sends runs of workflow classes, and then everything, to the version.
func route(ctx workflow.Context, in DeployInput, workflows bool) (switched Switched, _ *Failure) {
	v, p := in.Version, in.Patience
	if workflows {
		if err := act(step(ctx, oneTry, p.Outage), "MakeCurrent", nil, v); err != nil {
			return switched, late(err, "the app's worker did not report to Temporal in time")
		}
	}
	if err := act(step(ctx, p.Health+oneTry, 0), "Switch", &switched, v); err != nil {
		return switched, late(err, "the switch to the version did not work")
	}
	return switched, switched.Superseded
}

// awaitReplays has past runs looked at. A deploy does not fail because that cannot be
// done; what was recorded then says so.
func awaitReplays(ctx workflow.Context, in DeployInput, health Health) *Failure {
	if !health.Replays {
		return nil
	}
	var failure *Failure
	if err := act(step(ctx, in.Patience.Health+oneTry, in.Patience.Health+oneTry), "AwaitReplays", &failure, in.Version); err != nil {
		workflow.GetLogger(ctx).Warn("past runs were not replayed on a new version", "version", in.Version.VersionID, "error", err)
		return nil
	}
	return failure
}

func act(ctx workflow.Context, name string, result any, args ...any) error {
	return workflow.ExecuteActivity(ctx, name, args...).Get(ctx, result)
}

// late turns the end of patience into a sentence; the cause is in the history.
func late(err error, sentence string) *Failure {
	detail := ""
	var application *temporal.ApplicationError
	if asApplication(err, &application) {
		detail = application.Message()
	}
	return &Failure{Reason: sentence, Detail: detail}
}

// startRetire begins the end of a version and does not wait for it. When that is under
// way it looks anew whether the version may still stay up.
func startRetire(ctx workflow.Context, v Version) error {
	id := RetireID(v.TargetID, v.VersionID)
	child := workflow.ExecuteChildWorkflow(workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            id,
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	}), RetireWorkflow, v, RetireProgress{Warm: true})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if !temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return err
	}
	if workflow.GetVersion(ctx, "cool", workflow.DefaultVersion, 1) != workflow.DefaultVersion {
		// One that has just ended is none to be told.
		_ = workflow.SignalExternalWorkflow(ctx, id, "", CoolSignal, nil).Get(ctx, nil)
	}
	return nil
}
