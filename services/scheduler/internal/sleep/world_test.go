package sleep_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/endpoints"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/schedules"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/sleep"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

const (
	server, work = agentenv.RoleServer, agentenv.RoleWorker
	patience     = 30 * time.Second
)

type builder struct {
	builderv1.UnimplementedBuildsServiceServer
}

func (builder) Build(req *builderv1.BuildRequest, stream grpc.ServerStreamingServer[builderv1.BuildResponse]) error {
	return stream.Send(&builderv1.BuildResponse{Event: &builderv1.BuildResponse_Artifact{Artifact: &builderv1.Artifact{
		BundleId: req.GetBundleId(), Manifest: &builderv1.Manifest{},
	}}})
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

// processes is a runtime whose workers poll a real Temporal as an agent's do, as long as
// they run.
type processes struct {
	t         *testing.T
	directory *namespaces.Directory
	// broken says why no process becomes ready.
	broken string

	mu     sync.Mutex
	up     map[bell.Key]func()
	more   map[bell.Key][]string // instances beside the first, which poll nothing
	starts map[agentenv.Role]int
	org    string
	target string
	// slow, when set, holds starts until it is closed.
	slow chan struct{}
}

func (p *processes) Apply(ctx context.Context, l deployments.Launch) error {
	roles := l.Roles
	if len(roles) == 0 {
		roles = []agentenv.Role{server, work}
	}
	for _, r := range roles {
		if err := p.begin(l.VersionID, r); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func (p *processes) Start(_ context.Context, _, versionID string, r agentenv.Role, count int) error {
	err := p.begin(versionID, r)
	p.mu.Lock()
	defer p.mu.Unlock()
	k := bell.Key{VersionID: versionID, Role: r}
	for len(p.more[k])+1 < count {
		p.more[k] = append(p.more[k], fmt.Sprint("more-", len(p.more[k])))
	}
	return err
}

func (p *processes) begin(versionID string, r agentenv.Role) error {
	p.mu.Lock()
	slow := p.slow
	p.mu.Unlock()
	if slow != nil {
		<-slow
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.up[bell.Key{VersionID: versionID, Role: r}] != nil {
		return nil
	}
	c, err := p.directory.Client(context.Background(), p.org)
	if err != nil {
		return err
	}
	w := p.polls(c, versionID, r)
	p.up[bell.Key{VersionID: versionID, Role: r}] = sync.OnceFunc(w.Stop)
	p.starts[r]++
	return w.Start()
}

// polls is what a role works on.
func (p *processes) polls(c client.Client, versionID string, r agentenv.Role) worker.Worker {
	long := func(ctx context.Context) error { // until it is told
		c, err := p.directory.Client(ctx, p.org)
		if err != nil {
			return err
		}
		for ctx.Err() == nil {
			d, err := c.DescribeWorkflowExecution(ctx, "gate-"+p.target, "")
			if err == nil && d.GetWorkflowExecutionInfo().GetCloseTime() != nil {
				return nil
			}
			activity.RecordHeartbeat(ctx)
			time.Sleep(20 * time.Millisecond)
		}
		return ctx.Err()
	}
	if r == server {
		w := worker.New(c, agentenv.ToolsQueue(p.target, versionID), worker.Options{DisableWorkflowWorker: true, WorkerStopTimeout: 3 * time.Second})
		w.RegisterActivityWithOptions(func(context.Context, any) (int, error) { return 7, nil }, activity.RegisterOptions{Name: agentenv.ToolActivity("add")})
		w.RegisterActivityWithOptions(func(ctx context.Context, _ any) error { return long(ctx) }, activity.RegisterOptions{Name: agentenv.ToolActivity("long")})
		return w
	}
	w := worker.New(c, agentenv.TaskQueue(p.target), worker.Options{WorkerStopTimeout: 3 * time.Second, DeploymentOptions: worker.DeploymentOptions{
		UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: p.target, BuildID: versionID},
		DefaultVersioningBehavior: workflow.VersioningBehaviorPinned,
	}})
	w.RegisterActivityWithOptions(long, activity.RegisterOptions{Name: "long"})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		workflow.GetSignalChannel(ctx, "resume").Receive(ctx, nil)
		return ctx.Err()
	}, workflow.RegisterOptions{Name: "Wait"})
	w.RegisterWorkflowWithOptions(func(workflow.Context) error { return nil }, workflow.RegisterOptions{Name: "Done"})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		return workflow.Sleep(ctx, 2*time.Second)
	}, workflow.RegisterOptions{Name: "Nap"})
	w.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return workflow.ExecuteActivity(ctx, "long").Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "Work"})
	return w
}

func (p *processes) Stop(_ context.Context, _, versionID string, r agentenv.Role) error {
	k := bell.Key{VersionID: versionID, Role: r}
	p.mu.Lock()
	stop := p.up[k]
	p.mu.Unlock()
	if stop == nil {
		return nil
	}
	stop()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.up, k)
	return nil
}

func (p *processes) StopOne(_ context.Context, _, versionID string, r agentenv.Role, instance string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	k := bell.Key{VersionID: versionID, Role: r}
	p.more[k] = slices.DeleteFunc(p.more[k], func(one string) bool { return one == instance })
	return nil
}

func (p *processes) Remove(ctx context.Context, target, versionID string) error {
	return errors.Join(p.Stop(ctx, target, versionID, server), p.Stop(ctx, target, versionID, work))
}

func (p *processes) Look(_, versionID string) (deployments.Look, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	home := "http://" + versionID
	one := func(r agentenv.Role) deployments.Process {
		switch {
		case p.up[bell.Key{VersionID: versionID, Role: r}] == nil:
			return deployments.Process{State: schedulerv1.AgentState_AGENT_STATE_STOPPED}
		case p.broken != "":
			return deployments.Process{State: schedulerv1.AgentState_AGENT_STATE_CRASH_LOOP, Failed: true, Reason: p.broken}
		}
		return deployments.Process{State: schedulerv1.AgentState_AGENT_STATE_READY}
	}
	all := func(r agentenv.Role) []deployments.Instance {
		first := deployments.Instance{ID: "first", URL: home, Process: one(r)}
		instances := []deployments.Instance{first}
		for _, id := range p.more[bell.Key{VersionID: versionID, Role: r}] {
			instances = append(instances, deployments.Instance{ID: id, URL: home + "/" + id, Process: first.Process})
		}
		return instances
	}
	look := deployments.NewLook(home, all(server), all(work))
	return look, p.up[bell.Key{VersionID: versionID, Role: server}] != nil || p.up[bell.Key{VersionID: versionID, Role: work}] != nil
}

// pretend that a role of a version runs.
func (w *world) pretend(versionID string, r agentenv.Role) {
	w.processes.mu.Lock()
	defer w.processes.mu.Unlock()
	w.up[bell.Key{VersionID: versionID, Role: r}] = func() {}
}

func (p *processes) running() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.up)
}

func (p *processes) runs(versionID string, r agentenv.Role) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.up[bell.Key{VersionID: versionID, Role: r}] != nil
}

func (p *processes) started(r agentenv.Role) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.starts[r]
}

func (p *processes) Agents(string) []*schedulerv1.Agent { return nil }

func (p *processes) Replay(context.Context, deployments.Launch) ([]agentenv.Replay, error) {
	return nil, nil
}

func (p *processes) Watch(ctx context.Context, _ func(targetID, versionID string)) error {
	<-ctx.Done()
	return nil
}

// world is an app with a live version, on a real Temporal.
type world struct {
	*processes
	t           *testing.T
	store       *store.Store
	table       *endpoints.Table
	bell        *bell.Bell
	runs        *runs.Service
	schedules   *schedules.Service
	deployments *deployments.Service
	sleep       *sleep.Service
	client      schedulerv1.SleepServiceClient
	limits      sleep.Limits
	conn        *grpc.ClientConn
	draining    chan struct{}
	stopSleep   func()
	version     store.Version
	project     string          // what agentcloud.yaml says, as JSON, instead of an idle time
	ctx         context.Context // as a user of the organisation
}

// newWorld has an app with these workflow classes, and its processes run. Idle is what
// its project says.
func newWorld(t *testing.T, idle string, classes ...string) *world {
	t.Helper()
	return newWorldWith(t, idle, func(*world) {}, classes...)
}

func newWorldWith(t *testing.T, idle string, change func(*world), classes ...string) *world {
	t.Helper()
	s, directory, log := store.New(dbtest.SQLite(t, store.Migrations())), temporaltest.Directory(t), slog.New(slog.DiscardHandler)
	w := &world{
		t: t, store: s, table: endpoints.NewTable(), bell: bell.New(time.Now), draining: make(chan struct{}),
		limits: sleep.Limits{After: time.Hour, Start: patience, Every: 20 * time.Millisecond},
		processes: &processes{
			t: t, directory: directory, org: temporaltest.Org(), target: id.App.New(), up: map[bell.Key]func(){}, more: map[bell.Key][]string{}, starts: map[agentenv.Role]int{},
		},
	}
	change(w)
	w.ctx = principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: w.org, UserID: "u_1"})
	record, policy := runs.NewRecorder(s), flow.ActivityPolicy{Heartbeat: 10 * time.Second, MaxTries: 5}
	tools := runs.NewToolWorkers(directory, runs.BeginScheduled{Store: s, Record: record, Policy: policy, Now: time.Now}, 16, nil, log)
	shares := priorities.NewService(priorities.Deps{Store: s, Now: time.Now, NewID: id.PriorityRule.New})
	w.runs = runs.NewService(runs.Deps{
		Store: s, Namespaces: directory, Record: record, Tools: tools, Priorities: shares,
		Payloads: payloads.NewPassage(), Bell: w.bell, Policy: policy,
		Retention: time.Hour, Draining: w.draining, Log: log, Now: time.Now, NewUUID: uuid.NewString,
	})
	w.schedules = schedules.NewService(schedules.Deps{Store: s, Namespaces: directory, Runs: w.runs, Priorities: shares, Log: log, Now: time.Now})
	w.conn = grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		builderv1.RegisterBuildsServiceServer(r, builder{})
		secretsv1.RegisterSecretsServiceServer(r, secrets{})
	})
	w.background(func(ctx context.Context) error { return tools.Run(ctx, []string{w.org}) })
	w.goLive(idle, classes)
	w.deployments = w.newDeployments()
	w.background(w.deployments.Run)
	w.until("its processes run", func() bool { return w.running() == 1+min(1, len(classes)) })
	t.Cleanup(func() { _ = w.Remove(context.Background(), w.target, w.version.ID) })
	if len(classes) > 0 {
		w.route()
	}
	w.begin()
	return w
}

func (w *world) newDeployments() *deployments.Service {
	return deployments.NewService(deployments.Deps{
		Store: w.store, Table: w.table, Runtime: w.processes, Payloads: payloads.NewPassage(),
		Builds: builderv1.NewBuildsServiceClient(w.conn), Secrets: secretsv1.NewSecretsServiceClient(w.conn),
		Namespaces: w.directory, Schedules: w.schedules, Record: runs.NewRecorder(w.store), Failpoints: failpoint.New(w.t.TempDir()),
		Options:  deployments.Options{SleepAfter: w.limits.After, MostProcesses: w.limits.Processes},
		Patience: flow.Patience{Build: time.Minute, Outage: time.Minute, Health: time.Minute},
		Garbage:  deployments.Garbage{Every: time.Hour, Keep: 1}, Draining: w.draining, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: id.Instance.New,
	})
}

// begin begins to look after sleep.
func (w *world) begin() {
	w.sleep = sleep.NewService(sleep.Deps{
		Store: w.store, Agents: w.deployments, Namespaces: w.directory, Bell: w.bell, Limits: w.limits, Draining: w.draining,
		Log: grpctest.Logger(w.t), Now: time.Now,
	})
	w.client = schedulerv1.NewSleepServiceClient(grpctest.Serve(w.t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterSleepServiceServer(r, w.sleep)
	}))
	w.stopSleep = w.background(w.sleep.Run)
}

// background runs something until the test ends, or it is stopped.
func (w *world) background(run func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("background work ended with %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

// goLive makes a version the live one, as a deploy does.
func (w *world) goLive(idle string, classes []string) {
	w.t.Helper()
	v := store.Version{ID: id.Version.New(), TargetID: w.target, AppID: w.target, OrgID: w.org, Number: w.version.Number + 1, BundleID: id.Bundle.New()}
	project := ""
	if idle != "" {
		project = `{"scale":{"idle":"` + idle + `"}}`
	}
	if w.project != "" {
		project = w.project
	}
	capture := store.Capture{Workflows: classes, SyncTools: []string{"add", "long"}, WorkflowsJSON: `{"Wait":{"run_parameters":{}},"Nap":{"run_parameters":{}},"Work":{"run_parameters":{}},"add":{"run_parameters":{}},"long":{"run_parameters":{}}}`}
	_, err := w.store.BeginDeploy(w.t.Context(), v, "", time.Now())
	err = errors.Join(err, w.store.SetArtifact(w.t.Context(), v.ID, &builderv1.Artifact{Manifest: &builderv1.Manifest{ProjectJson: project}}, nil),
		w.store.SetCapture(w.t.Context(), v.ID, capture),
		w.store.Tx(w.t.Context(), func(tx *sqldb.Tx) error {
			_, err := w.store.Switch(w.t.Context(), tx, w.target, v.ID, time.Now())
			return err
		}))
	if err == nil {
		w.version, err = w.store.Version(w.t.Context(), v.ID)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// route sends runs of workflow classes to the live version.
func (w *world) route() {
	w.t.Helper()
	c, err := w.directory.Client(w.t.Context(), w.org)
	if err != nil {
		w.t.Fatal(err)
	}
	w.until("Temporal knows the version", func() bool {
		_, err := c.WorkerDeploymentClient().GetHandle(w.target).SetCurrentVersion(w.t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{
			BuildID: w.version.ID, IgnoreMissingTaskQueues: true,
		})
		return err == nil
	})
}

func (w *world) until(what string, holds func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(patience); !holds(); {
		if time.Now().After(deadline) {
			w.t.Fatalf("in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// gateway attends and answers as it is told.
func (w *world) gateway(answer func(*schedulerv1.AttendResponse) *schedulerv1.AttendRequest) (leave func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	stream, err := w.client.Attend(ctx)
	if err == nil {
		err = stream.Send(&schedulerv1.AttendRequest{})
	}
	if err == nil {
		_, err = stream.Recv() // it is attended
	}
	if err != nil {
		w.t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			q, err := stream.Recv()
			if err != nil {
				return
			}
			a := answer(q)
			a.Agreement = q.GetAgreement()
			if stream.Send(a) != nil {
				return
			}
		}
	}()
	leave = func() { cancel(); <-done }
	w.t.Cleanup(leave)
	return leave
}

// quiet is a gateway without calls.
func quiet(*schedulerv1.AttendResponse) *schedulerv1.AttendRequest {
	return &schedulerv1.AttendRequest{Agreed: true}
}

// asleep waits until these are all that sleep.
func (w *world) asleep(roles ...agentenv.Role) {
	w.t.Helper()
	w.until("asleep", func() bool {
		all, err := w.store.SleepersOf(w.t.Context(), w.version.ID)
		if err != nil || len(all) != len(roles) {
			return false
		}
		for _, r := range roles {
			if w.processes.runs(w.version.ID, r) {
				return false
			}
		}
		return true
	})
}

// run starts a run and returns its ids.
func (w *world) run(name string) (workflowID, runID string) {
	w.t.Helper()
	res, err := w.runs.StartRun(w.ctx, &schedulerv1.StartRunRequest{TargetId: w.target, Name: name})
	if err != nil {
		w.t.Fatal(err)
	}
	return res.GetWorkflowId(), res.GetRunId()
}

// ended waits until a run has ended well.
func (w *world) ended(workflowID, runID string) {
	w.t.Helper()
	c, err := w.directory.Client(w.t.Context(), w.org)
	if err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(w.t.Context(), patience)
	defer cancel()
	if err := c.GetWorkflow(ctx, workflowID, runID).Get(ctx, nil); err != nil {
		w.t.Fatalf("run %s ended with %v", workflowID, err)
	}
}
