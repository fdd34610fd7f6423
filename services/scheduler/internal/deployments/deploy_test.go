package deployments_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/endpoints"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/schedules"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

// builder makes artifacts whose project file is that of the test.
type builder struct {
	builderv1.UnimplementedBuildsServiceServer
	mu   sync.Mutex
	text string
}

func (b *builder) Build(req *builderv1.BuildRequest, stream grpc.ServerStreamingServer[builderv1.BuildResponse]) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	d, err := projectfile.Parse([]byte(b.text))
	if err != nil {
		return err
	}
	lines := map[string]int32{}
	for field, line := range d.Lines {
		lines[field] = int32(line)
	}
	return stream.Send(&builderv1.BuildResponse{Event: &builderv1.BuildResponse_Artifact{Artifact: &builderv1.Artifact{
		BundleId: req.GetBundleId(), Manifest: &builderv1.Manifest{ProjectJson: d.JSON, ProjectLines: lines},
	}}})
}

func (b *builder) DescribeArtifact(context.Context, *builderv1.DescribeArtifactRequest) (*builderv1.DescribeArtifactResponse, error) {
	return &builderv1.DescribeArtifactResponse{FilesKept: true, Files: []*builderv1.SourceFile{{Path: "main.py"}}}, nil
}

type secrets struct {
	secretsv1.UnimplementedSecretsServiceServer
}

func (secrets) CheckHandles(context.Context, *secretsv1.CheckHandlesRequest) (*secretsv1.CheckHandlesResponse, error) {
	return &secretsv1.CheckHandlesResponse{}, nil
}

func (secrets) ResolveHandles(context.Context, *secretsv1.ResolveHandlesRequest) (*secretsv1.ResolveHandlesResponse, error) {
	return &secretsv1.ResolveHandlesResponse{}, nil
}

// agents are up at once, and have one tool.
type agents struct {
	mu  sync.Mutex
	has map[string]bool
	// started counts starts.
	started int
	// capture is what the next one offers, workflows the classes that it has.
	capture   store.Capture
	workflows []string
	// silent says that none shakes hands.
	silent error
	// deaf is what comes of the older transport, kind what their host says they are.
	deaf error
	kind agentenv.Kind
	// roundTrip says that workers take the cloud's own runs.
	roundTrip bool
	// answer is that of every tool, output what the processes have said.
	answer, output string
	calls          []string
}

func (a *agents) Apply(_ context.Context, l deployments.Launch) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.started++
	a.has[l.VersionID] = true
	return nil
}

func (a *agents) Start(context.Context, string, string, agentenv.Role, int) error { return nil }

func (a *agents) StopOne(context.Context, string, string, agentenv.Role, string) error { return nil }

func (a *agents) Stop(context.Context, string, string, agentenv.Role) error { return nil }

func (a *agents) Remove(_ context.Context, _, versionID string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.has, versionID)
	return nil
}

func (a *agents) Look(_, versionID string) (deployments.Look, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	up := deployments.Process{
		State: schedulerv1.AgentState_AGENT_STATE_READY, Report: agentenv.Status{Kind: a.kind, Tools: []string{"add"}, AsyncTools: []string{"grow"}, Workflows: a.workflows},
		Output: a.output,
	}
	if len(a.workflows) > 0 {
		worker := up
		worker.Report.RoundTrip = a.roundTrip
		return deployments.Look{Server: up, Worker: worker}, a.has[versionID]
	}
	return deployments.Look{Server: up, Worker: deployments.Process{NotNeeded: true}}, a.has[versionID]
}

func (a *agents) Replay(context.Context, deployments.Launch) ([]agentenv.Replay, error) {
	return nil, nil
}

func (a *agents) Agents(string) []*schedulerv1.Agent { return nil }

func (a *agents) Watch(ctx context.Context, _ func(targetID, versionID string)) error {
	<-ctx.Done()
	return nil
}

func (a *agents) Capture(context.Context, string) (store.Capture, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.capture, a.silent
}

func (a *agents) GreetSSE(context.Context, string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.deaf
}

func (a *agents) Call(_ context.Context, _, tool string, arguments json.RawMessage) (json.RawMessage, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.calls = append(a.calls, tool+" "+string(arguments))
	return json.RawMessage(a.answer), nil
}

func (a *agents) CaptureRemote(context.Context, string) (store.Capture, error) {
	return store.Capture{}, nil
}

// world is the deploys of a scheduler on a real Temporal.
type world struct {
	deployments *deployments.Service
	schedules   *schedules.Service
	builder     *builder
	agents      *agents
	store       *store.Store
	table       *endpoints.Table
	namespaces  *namespaces.Directory
	lines       chan *busv1.LogBatch
	org, app    string
	number      int64
	// stop ends the deployments as a crash does; start makes new ones on the same data.
	start, stop func()
}

// newWorld makes a world. There is one queue of the cloud's own flows at a Temporal, so
// tests with a world do not run in parallel.
func newWorld(t *testing.T) *world { return newWorldWithin(t, time.Minute) }

// newWorldWithin is newWorld whose versions must be healthy within a time.
func newWorldWithin(t *testing.T, health time.Duration) *world {
	t.Helper()
	w := &world{
		builder: &builder{}, agents: &agents{has: map[string]bool{}}, table: endpoints.NewTable(), lines: make(chan *busv1.LogBatch, 100),
		org: temporaltest.Org(), app: id.App.New(),
	}
	s, directory, log := store.New(dbtest.SQLite(t, store.Migrations())), temporaltest.Directory(t), slog.New(slog.DiscardHandler)
	record, draining := runs.NewRecorder(s), make(chan struct{})
	tools := runs.NewToolWorkers(directory, runs.BeginScheduled{Store: s, Record: record, Now: time.Now}, 16, nil, log)
	runsService := runs.NewService(runs.Deps{
		Store: s, Namespaces: directory, Record: record, Tools: tools, Payloads: payloads.NewPassage(), Retention: time.Hour, Draining: draining, Log: log, Now: time.Now, NewUUID: uuid.NewString,
	})
	w.schedules = schedules.NewService(schedules.Deps{Store: s, Namespaces: directory, Runs: runsService, Log: log, Now: time.Now})
	conn := grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		builderv1.RegisterBuildsServiceServer(r, w.builder)
		secretsv1.RegisterSecretsServiceServer(r, secrets{})
	})
	w.store, w.namespaces = s, directory
	deps := deployments.Deps{
		Store: s, Table: w.table, Runtime: w.agents, Prober: w.agents, Remote: w.agents, Payloads: payloads.NewPassage(),
		Builds: builderv1.NewBuildsServiceClient(conn), Secrets: secretsv1.NewSecretsServiceClient(conn),
		Namespaces: directory, Schedules: w.schedules, Record: record, Failpoints: failpoint.New(t.TempDir()),
		Patience: flow.Patience{Build: time.Minute, Outage: time.Minute, Health: health},
		Garbage:  deployments.Garbage{Every: time.Hour, Keep: 1}, Draining: draining, Log: log, Now: time.Now, NewID: id.Instance.New,
		Options: deployments.Options{KeepWarm: time.Hour},
		Publish: func(_ context.Context, batch *busv1.LogBatch) error { w.lines <- batch; return nil },
	}
	w.start = func() {
		w.deployments = deployments.NewService(deps)
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func(d *deployments.Service) { done <- d.Run(ctx) }(w.deployments)
		w.stop = sync.OnceFunc(func() { cancel(); <-done })
	}
	w.start()
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *world) deploy(t *testing.T, file string) *schedulerv1.DeployResponse {
	t.Helper()
	w.builder.mu.Lock()
	w.builder.text = file
	w.builder.mu.Unlock()
	w.number++
	res, err := w.deployments.Deploy(t.Context(), &schedulerv1.DeployRequest{
		TargetId: w.app, AppId: w.app, OrgId: w.org, VersionId: id.Version.New(), Number: w.number, BundleId: id.Bundle.New(), AppName: "demo",
	})
	if err != nil {
		t.Fatal(err)
	}
	return res
}

// names are the schedules of the app that Temporal has.
func (w *world) names(t *testing.T) (names []string) {
	t.Helper()
	ctx := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: w.org, UserID: "u_1"})
	res, err := w.schedules.ListSchedules(ctx, &schedulerv1.ListSchedulesRequest{TargetId: w.app})
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range res.GetSchedules() {
		if s.GetPending() || len(s.GetNextTimes()) == 0 {
			t.Errorf("schedule %v is not there", s)
		}
		names = append(names, s.GetName())
	}
	return names
}

const both = `schedules:
  one: {workflow: add, interval: 1h}
  two: {workflow: add, cron: "@daily"}
`

func TestADeployKeepsWhatTheProjectDeclares(t *testing.T) {
	w := newWorld(t)
	if res := w.deploy(t, both); res.GetOutcome() != schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE {
		t.Fatalf("Deploy() = %v", res)
	}
	if diff := cmp.Diff([]string{"one", "two"}, w.names(t)); diff != "" {
		t.Errorf("schedules (-want +got):\n%s", diff)
	}
	res := w.deploy(t, "schedules:\n  three:\n    interval: 1h\n    workflow: nothing\n")
	if want := `agentcloud.yaml line 4: schedules.three.workflow: this app has no workflow "nothing"; it has: grow, add`; !strings.HasPrefix(res.GetError(), want) {
		t.Errorf("Deploy() of a mistake = %v, want %q", res, want)
	}
	if diff := cmp.Diff([]string{"one", "two"}, w.names(t)); diff != "" {
		t.Errorf("schedules after a failed deploy (-want +got):\n%s", diff)
	}
	if res := w.deploy(t, "schedules:\n  two: {workflow: add, interval: 2h}\n"); res.GetOutcome() != schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE {
		t.Fatalf("Deploy() = %v", res)
	}
	if diff := cmp.Diff([]string{"two"}, w.names(t)); diff != "" {
		t.Errorf("schedules of the next version (-want +got):\n%s", diff)
	}
	if _, err := w.deployments.Remove(t.Context(), &schedulerv1.RemoveRequest{TargetId: w.app}); err != nil {
		t.Fatal(err)
	}
}
