package schedules_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/schedules"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

const captured = `{
	"Echo":{"run_parameters":{"properties":{"text":{"type":"string","default":"hey"}},"type":"object"}},
	"Wait":{"run_parameters":{"properties":{},"type":"object"}},
	"add":{"run_parameters":{"properties":{"a":{"type":"integer"},"b":{"type":"integer","default":5}},"required":["a"],"type":"object"}}}`

// world is an app with agents in Go, and the service on a real socket and Temporal.
type world struct {
	schedulerv1.SchedulesServiceClient
	runs       schedulerv1.RunsServiceClient
	service    *schedules.Service
	priorities *priorities.Service
	store      *store.Store
	db         *sqldb.DB
	directory  *namespaces.Directory
	temporal   *gate
	org, app   string
	ctx        context.Context // as a user of the organisation

	mu     sync.Mutex
	number int64
	ran    []string // version of each body of the tool
}

// gate is Temporal's clients, which can be away.
type gate struct {
	*namespaces.Directory
	away atomic.Bool
}

func (g *gate) Client(ctx context.Context, namespace string) (client.Client, error) {
	if g.away.Load() {
		return nil, fault.Unavailable.Errorf("away")
	}
	return g.Directory.Client(ctx, namespace)
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOn(t, temporaltest.Directory(t))
}

func worldOn(t *testing.T, directory *namespaces.Directory) *world {
	t.Helper()
	w := &world{directory: directory, db: dbtest.SQLite(t, store.Migrations()), org: temporaltest.Org(), app: id.App.New()}
	w.store, w.temporal = store.New(w.db), &gate{Directory: w.directory}
	w.ctx = principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: w.org, UserID: "u_1"})
	w.priorities = priorities.NewService(priorities.Deps{Store: w.store, Now: time.Now, NewID: id.PriorityRule.New})
	policy, record, log := flow.ActivityPolicy{Heartbeat: 10 * time.Second, MaxTries: 5}, runs.NewRecorder(w.store), slog.New(slog.DiscardHandler)
	tools := runs.NewToolWorkers(w.directory, runs.BeginScheduled{Store: w.store, Record: record, Policy: policy, Now: time.Now}, 16, nil, log)
	runsService := runs.NewService(runs.Deps{
		Store: w.store, Namespaces: w.directory, Record: record, Tools: tools, Payloads: payloads.NewPassage(), Policy: policy,
		Retention: time.Hour, Draining: make(chan struct{}), Log: log, Now: time.Now, NewUUID: uuid.NewString,
	})
	w.service = schedules.NewService(schedules.Deps{Store: w.store, Namespaces: w.temporal, Runs: runsService, Priorities: w.priorities, Log: log, Now: time.Now})
	conn := grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterRunsServiceServer(r, runsService)
		schedulerv1.RegisterSchedulesServiceServer(r, w.service)
	})
	w.runs, w.SchedulesServiceClient = schedulerv1.NewRunsServiceClient(conn), schedulerv1.NewSchedulesServiceClient(conn)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- tools.Run(ctx, nil) }()
	t.Cleanup(func() { cancel(); <-done })
	w.agent(t)
	return w
}

// agent polls for the workflow classes of the app.
func (w *world) agent(t *testing.T) {
	t.Helper()
	c, err := w.directory.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	classes := worker.New(c, agentenv.TaskQueue(w.app), worker.Options{})
	classes.RegisterWorkflowWithOptions(func(_ workflow.Context, text string) (string, error) { return text, nil }, workflow.RegisterOptions{Name: "Echo"})
	classes.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		workflow.GetSignalChannel(ctx, "resume").Receive(ctx, nil)
		return ctx.Err()
	}, workflow.RegisterOptions{Name: "Wait"})
	start(t, classes)
}

func start(t *testing.T, w worker.Worker) {
	t.Helper()
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

// deploy makes a version with these workflows, and the tool add if it is named, the
// live one. Its own file is JSON.
func (w *world) deploy(t *testing.T, project string, names ...string) store.Version {
	t.Helper()
	w.number++
	v := store.Version{ID: id.Version.New(), TargetID: w.app, AppID: w.app, OrgID: w.org, Number: w.number}
	capture := store.Capture{WorkflowsJSON: captured, Workflows: slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "add" })}
	if slices.Contains(names, "add") {
		capture.SyncTools = []string{"add"}
		w.body(t, v.ID)
	}
	_, err := w.store.BeginDeploy(t.Context(), v, "", time.Now())
	artifact := &builderv1.Artifact{Manifest: &builderv1.Manifest{ProjectJson: project, ProjectLines: map[string]int32{"schedules": 2}}}
	err = errors.Join(err, w.store.SetArtifact(t.Context(), v.ID, artifact, nil), w.store.SetCapture(t.Context(), v.ID, capture))
	if err == nil {
		v, err = w.store.Version(t.Context(), v.ID)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// live switches to a version, as a deploy does.
func (w *world) live(t *testing.T, v store.Version) {
	t.Helper()
	err := w.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		if _, err := w.store.Switch(t.Context(), tx, w.app, v.ID, time.Now()); err != nil {
			return err
		}
		return w.service.Switched(t.Context(), tx, v)
	})
	if err == nil {
		err = w.service.Apply(t.Context(), w.app)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// body polls for the tool of a version.
func (w *world) body(t *testing.T, versionID string) {
	t.Helper()
	c, err := w.directory.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	bodies := worker.New(c, agentenv.ToolsQueue(w.app, versionID), worker.Options{DisableWorkflowWorker: true})
	bodies.RegisterActivityWithOptions(func(_ context.Context, args struct{ A, B int }) (int, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.ran = append(w.ran, versionID)
		return args.A + args.B, nil
	}, activity.RegisterOptions{Name: "tool:add"})
	start(t, bodies)
}

// create makes a schedule that is due once a year unless the spec says otherwise.
func (w *world) create(t *testing.T, name string, spec *schedulerv1.ScheduleSpec) *schedulerv1.Schedule {
	t.Helper()
	if len(spec.GetCron())+len(spec.GetIntervals()) == 0 {
		spec.Cron = []string{"0 0 1 1 *"}
	}
	res, err := w.CreateSchedule(w.ctx, &schedulerv1.CreateScheduleRequest{TargetId: w.app, Name: name, Spec: spec})
	if err != nil {
		t.Fatalf("CreateSchedule(%s) = %v", name, err)
	}
	return res.GetSchedule()
}

func (w *world) get(t *testing.T, name string) *schedulerv1.Schedule {
	t.Helper()
	res, err := w.GetSchedule(w.ctx, &schedulerv1.GetScheduleRequest{TargetId: w.app, Name: name})
	if err != nil {
		t.Fatalf("GetSchedule(%s) = %v", name, err)
	}
	return res.GetSchedule()
}

func (w *world) trigger(t *testing.T, name string) {
	t.Helper()
	if _, err := w.TriggerSchedule(w.ctx, &schedulerv1.TriggerScheduleRequest{TargetId: w.app, Name: name}); err != nil {
		t.Fatalf("TriggerSchedule(%s) = %v", name, err)
	}
}

// newest is the last run of a schedule once it has started so many, at its end.
func (w *world) newest(t *testing.T, name string, started int64) *schedulerv1.Run {
	t.Helper()
	var run *schedulerv1.ScheduledRun
	eventually(t, fmt.Sprintf("%s has started %d runs", name, started), func() error {
		s := w.get(t, name)
		if s.GetStarted() != started || len(s.GetRecentRuns()) == 0 {
			return fmt.Errorf("it is %v", s)
		}
		run = s.GetRecentRuns()[0]
		return nil
	})
	res, err := w.runs.GetRun(w.ctx, &schedulerv1.GetRunRequest{TargetId: w.app, RunId: run.GetRunId(), WorkflowId: run.GetWorkflowId(), Wait: durationpb.New(20 * time.Second)})
	if err != nil {
		t.Fatalf("GetRun(%v) = %v", run, err)
	}
	return res.GetRun()
}

// events are the subjects of what was told, oldest first.
func (w *world) events(t *testing.T) (subjects []string) {
	t.Helper()
	rows, err := w.db.Query(t.Context(), `SELECT subject FROM outbox WHERE subject LIKE 'scheduler.schedule.%' ORDER BY seq`)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	for rows.Next() {
		var subject string
		if err := rows.Scan(&subject); err != nil {
			t.Fatal(err)
		}
		subjects = append(subjects, subject)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return subjects
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
