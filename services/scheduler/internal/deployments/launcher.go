package deployments

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/histories"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/locks"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/queues"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/retries"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

const (
	// mostHandles is what one question to the secrets-broker may carry.
	mostHandles = 1000
	// askWithin bounds one question to a neighbour; the flow asks again.
	askWithin = 30 * time.Second
)

// Options are what the platform decides for every agent.
type Options struct {
	// EdgeAddress is where workers find Temporal, as they reach it.
	EdgeAddress string
	// CallbackURL is where agents phone home.
	CallbackURL string
	// Activity is how one step of a run may take.
	Activity agentenv.Activity
	// DrainSeconds is how long an agent may finish what it does.
	DrainSeconds int
	// LogLevel of the agents.
	LogLevel string
	// MostProcesses bounds those of one role of a version.
	MostProcesses int
	// SleepAfter is how long nobody must have needed an agent until it sleeps; 0: it never does.
	SleepAfter time.Duration
	// Replays is what is done with past runs before a version goes live.
	Replays ReplayOptions
	// KeepWarm is how long the version that served before stays up; 0: it does not.
	KeepWarm time.Duration
}

// launcher starts versions; all that starts one goes through it.
type launcher struct {
	store   *store.Store
	runtime Runtime
	builds  builderv1.BuildsServiceClient
	secrets secretsv1.SecretsServiceClient
	clients clients
	// passage puts back what past runs keep outside of their histories.
	passage histories.Passage
	options Options
	log     *slog.Logger
	now     func() time.Time
	newID   func() string

	// leaving are the servers that are about to end.
	leaving leaving

	// starting makes the starts and ends of one version happen one after another.
	starting locks.Locks
}

// ensure starts what does not sleep of a version, unless it runs.
func (l *launcher) ensure(ctx context.Context, versionID string) error {
	defer l.starting.Take(versionID)()
	return l.start(ctx, versionID, "")
}

// start starts a version unless it runs, one role of it also when that sleeps; its caller
// holds the lock. Settings are asked of the builder and values of the secrets-broker anew
// each time, and neither is kept.
func (l *launcher) start(ctx context.Context, versionID string, needed agentenv.Role) error {
	v, err := l.wanted(ctx, versionID)
	if err != nil || v.Capture.MCPURL != "" {
		return err // nothing is to be started for what runs elsewhere
	}
	if _, runs := l.runtime.Look(v.TargetID, v.ID); runs {
		if needed == "" {
			return nil
		}
		return l.runtime.Start(ctx, v.TargetID, v.ID, needed, ScaleOf(v, l.options.MostProcesses).Least)
	}
	roles, err := l.toStart(ctx, v, needed)
	if err != nil || len(roles) == 0 {
		return err
	}
	// A worker gives up on a namespace that is not there.
	if _, err := l.clients.Client(ctx, v.OrgID); err != nil {
		return err
	}
	launch, err := l.load(ctx, v)
	if err != nil {
		return err
	}
	launch.Roles, launch.Document.Histories, launch.Document.Woken = roles, l.pastRuns(ctx, v), needed != ""
	if launch.Count, err = l.count(ctx, v); err != nil {
		return err
	}
	if err := l.known(ctx, v, &launch.Document); err != nil {
		return err
	}
	limits, err := l.bound(ctx, v)
	if err != nil {
		return err
	}
	launch.Document.Slots = agentenv.Slots{Workflows: int(limits.Workflows), Steps: int(limits.Steps), Tools: int(limits.Tools)}
	if err := l.runtime.Apply(ctx, launch); err != nil {
		return err
	}
	// A removal that began meanwhile may have looked before there was anything to stop.
	if _, err := l.wanted(ctx, v.ID); err != nil {
		return errors.Join(err, l.stop(ctx, v))
	}
	return nil
}

// load asks for everything that a version's code is started with. What it returns is
// known to nobody yet.
func (l *launcher) load(ctx context.Context, v store.Version) (Launch, error) {
	artifact, err := l.build(ctx, v)
	if err != nil {
		return Launch{}, err
	}
	if err := l.dropRemoved(ctx, &v); err != nil {
		return Launch{}, err
	}
	values, err := l.values(ctx, v, handles(artifact.GetManifest(), v.Params, v.Variables))
	if err != nil {
		return Launch{}, err
	}
	launch := Launch{TargetID: v.TargetID, AppID: v.AppID, OrgID: v.OrgID, VersionID: v.ID, Artifact: artifact}
	if launch.Document, err = l.document(v, artifact, values); err != nil {
		return launch, err
	}
	launch.Sidecars, err = sidecars(artifact, launch.Document)
	return launch, err
}

// bound tells Temporal how fast the version's queues may be taken from, one of which is
// new with it.
func (l *launcher) bound(ctx context.Context, v store.Version) (store.QueueLimits, error) {
	limits, set, err := l.store.QueueLimits(ctx, v.TargetID)
	if err != nil || !set {
		return limits, err
	}
	c, err := l.clients.Client(ctx, v.OrgID)
	if err != nil {
		return limits, err
	}
	for _, queue := range queues.Bounded(v.TargetID, v) {
		if err := queues.Bound(ctx, c, v.OrgID, queue, limits); err != nil {
			return limits, namespaces.Fault(err, "Temporal does not answer")
		}
	}
	return limits, nil
}

// wanted finds a version that may run; it fails with fault.Conflict for any other.
func (l *launcher) wanted(ctx context.Context, versionID string) (store.Version, error) {
	v, err := l.store.Version(ctx, versionID)
	if fault.NotFound.Is(err) {
		return v, fault.Conflict.Wrap(err, "the app was deleted")
	}
	if err != nil {
		return v, err
	}
	t, err := l.store.Target(ctx, v.TargetID)
	switch {
	case err != nil:
		return v, err
	case t.Removing:
		return v, fault.Conflict.Errorf("the app is being deleted")
	case v.State == store.Failed || v.State == store.Gone:
		return v, fault.Conflict.Errorf("version %d is over", v.Number)
	}
	return v, nil
}

// end stops a version whatever its state.
func (l *launcher) end(ctx context.Context, v store.Version) error {
	defer l.starting.Take(v.ID)()
	return l.stop(ctx, v)
}

func (l *launcher) stop(ctx context.Context, v store.Version) error {
	return errors.Join(l.store.ForgetInstances(ctx, v.TargetID, v.ID), l.runtime.Remove(ctx, v.TargetID, v.ID))
}

// failedBuild is a build that a person must put right.
type failedBuild struct{ failure *builderv1.BuildFailure }

func (f failedBuild) Error() string { return f.failure.GetReason() }

// build asks for the artifact, which is made when it is not there.
func (l *launcher) build(ctx context.Context, v store.Version) (*builderv1.Artifact, error) {
	ctx, cancel := context.WithCancel(asRoom(ctx, v.OrgID))
	defer cancel()
	stream, err := l.builds.Build(ctx, &builderv1.BuildRequest{BundleId: v.BundleID, OrgId: v.OrgID, TargetId: v.TargetID, VersionId: v.ID})
	if err != nil {
		return nil, err
	}
	for {
		step, err := stream.Recv()
		switch {
		case errors.Is(err, io.EOF):
			return nil, fault.Unavailable.Errorf("the builder ended without a result")
		case err != nil:
			return nil, err
		case step.GetFailure() != nil:
			return nil, failedBuild{step.GetFailure()}
		case step.GetArtifact() != nil:
			return step.GetArtifact(), nil
		}
	}
}

// unknown asks which handles the organisation does not have.
func (l *launcher) unknown(ctx context.Context, orgID string, wanted []string) ([]string, error) {
	var unknown []string
	for len(wanted) > 0 {
		n := min(len(wanted), mostHandles)
		ctx, cancel := context.WithTimeout(asRoom(ctx, orgID), askWithin)
		answer, err := l.secrets.CheckHandles(ctx, &secretsv1.CheckHandlesRequest{OrgId: orgID, Handles: wanted[:n]})
		cancel()
		if err != nil {
			return nil, err
		}
		unknown, wanted = append(unknown, answer.GetUnknown()...), wanted[n:]
	}
	return unknown, nil
}

// dropRemoved takes out variables that have been removed since the deploy.
func (l *launcher) dropRemoved(ctx context.Context, v *store.Version) error {
	unknown, err := l.unknown(ctx, v.OrgID, slices.Collect(maps.Values(v.Variables)))
	if err != nil {
		return err
	}
	maps.DeleteFunc(v.Variables, func(_, handle string) bool { return slices.Contains(unknown, handle) })
	return nil
}

// values fetches what stands behind handles.
func (l *launcher) values(ctx context.Context, v store.Version, wanted []string) (map[string]string, error) {
	values := map[string]string{}
	for len(wanted) > 0 {
		n := min(len(wanted), mostHandles)
		ctx, cancel := context.WithTimeout(asRoom(ctx, v.OrgID), askWithin)
		answer, err := l.secrets.ResolveHandles(ctx, &secretsv1.ResolveHandlesRequest{OrgId: v.OrgID, Handles: wanted[:n], Purpose: v.TargetID})
		cancel()
		if err != nil {
			return nil, err
		}
		for handle, value := range answer.GetValues() {
			values[handle] = value
		}
		wanted = wanted[n:]
	}
	return values, nil
}

// document says everything an agent needs to know but the tokens by which it is known.
func (l *launcher) document(v store.Version, a *builderv1.Artifact, values map[string]string) (agentenv.Launch, error) {
	instance := l.newID()
	temporal := agentenv.Temporal{
		Address: l.options.EdgeAddress, Namespace: v.OrgID, TaskQueue: agentenv.TaskQueue(v.TargetID),
		ToolsQueue: agentenv.ToolsQueue(v.TargetID, v.ID), DeploymentName: v.TargetID, BuildID: v.ID,
		Identity: strings.Join([]string{v.TargetID, v.ID, instance}, "/"),
	}
	merged, err := settings(ingredients{manifest: a.GetManifest(), params: v.Params, values: values, temporal: temporal})
	if err != nil {
		return agentenv.Launch{}, fault.Invalid.Wrap(err, "the app's configuration files cannot be read as settings; check them and deploy again")
	}
	rules, err := retries.Of(a.GetManifest())
	if err != nil {
		return agentenv.Launch{}, err
	}
	return agentenv.Launch{
		AppDir: a.GetAppPath(), Entry: a.GetEntry(), TargetID: v.TargetID, AppID: v.AppID, OrgID: v.OrgID, VersionID: v.ID,
		InstanceID: instance, AppName: v.AppName, Settings: merged, Env: environment(a.GetManifest(), v.Variables, values), Secrets: values,
		Temporal: &temporal, Gateway: agentenv.Gateway{URL: l.options.CallbackURL},
		Activity: l.options.Activity, Retries: rules, StdioCommands: stdio(a), Program: program(a), DrainSeconds: l.options.DrainSeconds, LogLevel: l.options.LogLevel,
	}, nil
}

// known mints the tokens by which an agent is known from now on, in place of those
// that its version had.
func (l *launcher) known(ctx context.Context, v store.Version, d *agentenv.Launch) error {
	d.Temporal.APIKey, d.Gateway.Token = tokens.New(tokens.Edge), tokens.New(tokens.Callback)
	return l.store.ReplaceInstance(ctx, store.Instance{
		ID: d.InstanceID, TargetID: v.TargetID, AppID: v.AppID, OrgID: v.OrgID, VersionID: v.ID,
		EdgeHash: tokens.Hash(d.Temporal.APIKey), CallbackHash: tokens.Hash(d.Gateway.Token),
	}, l.now())
}

func stdio(a *builderv1.Artifact) map[string]agentenv.Command {
	commands := map[string]agentenv.Command{}
	for name, c := range a.GetStdioCommands() {
		commands[name] = agentenv.Command{Command: c.GetCommand(), Args: c.GetArgs(), Env: c.GetEnv()}
	}
	return commands
}

// asRoom calls neighbours as this room, for an organisation.
func asRoom(ctx context.Context, orgID string) context.Context {
	return principal.With(ctx, principal.Principal{Kind: principal.Service, Name: "scheduler", OrgID: orgID})
}

// verdict sorts an error of a step: what a person must put right is a Failure, what
// may pass is an error to try again. Only sentences go on, since both end up in
// histories; the log has the rest.
func (l *launcher) verdict(ctx context.Context, v flow.Version, step string, err error) (*flow.Failure, error) {
	if err == nil {
		return nil, nil
	}
	var build failedBuild
	if errors.As(err, &build) {
		return &flow.Failure{Reason: build.failure.GetReason(), Detail: build.failure.GetDetail()}, nil
	}
	l.log.WarnContext(ctx, "a step of a deploy did not work", "step", step, "target", v.TargetID, "version", v.VersionID, "error", err)
	switch fault.KindOf(err) {
	case fault.Invalid, fault.NotFound, fault.Denied, fault.Exists, fault.Conflict, fault.TooLarge, fault.Unimplemented:
		return &flow.Failure{Reason: fault.Message(err)}, nil
	}
	return nil, errors.New(fault.Message(err))
}
