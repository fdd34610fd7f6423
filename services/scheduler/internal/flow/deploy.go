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
}

// Failure says why a version will not serve, for people.
type Failure struct {
	// Reason is one sentence with what to do.
	Reason string `json:"reason"`
	// Detail is the last lines of the real output.
	Detail string `json:"detail,omitempty"`
}

// String is the sentence and the output below it.
func (f *Failure) String() string {
	if f.Detail == "" {
		return f.Reason
	}
	return f.Reason + "\n" + f.Detail
}

// Health is what the gate found out.
type Health struct {
	Failure *Failure `json:"failure,omitempty"`
	// Workflows says that the version has workflow classes, and so a worker.
	Workflows bool `json:"workflows"`
}

// Switched is the result of the switch.
type Switched struct {
	// Old is the version that served before; empty when there was none.
	Old string `json:"old,omitempty"`
	// Superseded says why the target does not want this version any more.
	Superseded *Failure `json:"superseded,omitempty"`
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
	// MakeCurrent sends new runs of workflow classes to the version's worker.
	MakeCurrent(ctx context.Context, v Version) error
	// Switch makes the version the live one.
	Switch(ctx context.Context, v Version) (Switched, error)
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
	old, failure := bringUp(ctx, in)
	if failure != nil {
		result.Failure = failure
		return result, act(step(ctx, oneTry, 0), "Abandon", nil, in.Version, *failure)
	}
	if old == "" {
		return result, nil
	}
	retired := Version{TargetID: in.Version.TargetID, OrgID: in.Version.OrgID, VersionID: old}
	return result, startRetire(ctx, retired)
}

// bringUp runs the steps up to the switch.
func bringUp(ctx workflow.Context, in DeployInput) (old string, _ *Failure) {
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
			return "", late(err, s.late)
		}
		if failure != nil {
			return "", failure
		}
	}
	return goLive(ctx, in)
}

// goLive runs the steps from health to switch.
func goLive(ctx workflow.Context, in DeployInput) (old string, _ *Failure) {
	v, p := in.Version, in.Patience
	var health Health
	if err := act(step(ctx, p.Health+time.Minute, 3*(p.Health+time.Minute)), "AwaitHealthy", &health, v); err != nil {
		return "", late(err, "the app did not become healthy in time")
	}
	if health.Failure != nil {
		return "", health.Failure
	}
	if health.Workflows {
		if err := act(step(ctx, oneTry, p.Outage), "MakeCurrent", nil, v); err != nil {
			return "", late(err, "the app's worker did not report to Temporal in time")
		}
	}
	var switched Switched
	if err := act(step(ctx, p.Health+oneTry, 0), "Switch", &switched, v); err != nil {
		return "", late(err, "the switch to the new version did not work")
	}
	return switched.Old, switched.Superseded
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

// startRetire begins the end of a version and does not wait for it.
func startRetire(ctx workflow.Context, v Version) error {
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{
		WorkflowID:            RetireID(v.TargetID, v.VersionID),
		ParentClosePolicy:     enumspb.PARENT_CLOSE_POLICY_ABANDON,
		WorkflowIDReusePolicy: enumspb.WORKFLOW_ID_REUSE_POLICY_ALLOW_DUPLICATE,
	})
	child := workflow.ExecuteChildWorkflow(ctx, RetireWorkflow, v, RetireProgress{})
	err := child.GetChildWorkflowExecution().Get(ctx, nil)
	if temporal.IsWorkflowExecutionAlreadyStartedError(err) {
		return nil // it is on its way
	}
	return err
}
