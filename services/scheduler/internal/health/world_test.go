package health_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaledge"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

func TestMain(m *testing.M) {
	worker.SetStickyWorkflowCacheSize(0) // each step is done from the start of the history
	temporaltest.Main(m)
}

// quick are limits for tests.
func quick() health.Limits {
	return health.Limits{
		Every: time.Second, Tries: 2, Patience: time.Second, Silence: time.Second, NoWorker: time.Second, Sample: 50 * time.Millisecond,
		Growing: 3, SlowFactor: 2, SlowLeast: time.Second, Failures: 3, FailureRate: 0.5, Window: time.Hour, Settle: 100 * time.Millisecond,
	}
}

// world is an app with a live version, whose workers reach a real Temporal by the edge.
type world struct {
	t         *testing.T
	db        *sqldb.DB
	store     *store.Store
	record    *runs.Recorder
	directory *namespaces.Directory
	watch     *health.Watch
	limits    health.Limits
	service   *health.Service
	instance  store.Instance
	token     string
	address   string
}

func newWorld(t *testing.T, limits health.Limits) *world {
	t.Helper()
	w := &world{t: t, db: dbtest.SQLite(t, store.Migrations()), directory: temporaltest.Directory(t), limits: limits, token: tokens.New(tokens.Edge)}
	w.store = store.New(w.db)
	w.record = runs.NewRecorder(w.store)
	app := id.App.New()
	w.instance = store.Instance{
		ID: id.Instance.New(), TargetID: app, AppID: app, OrgID: temporaltest.Org(), VersionID: id.Version.New(),
		EdgeHash: tokens.Hash(w.token), CallbackHash: tokens.Hash("none"),
	}
	w.live(w.instance.VersionID)
	if err := w.store.ReplaceInstance(t.Context(), w.instance, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.begin()
	w.serve()
	return w
}

// live makes a version the live one.
func (w *world) live(version string) {
	w.t.Helper()
	ctx := w.t.Context()
	v := store.Version{ID: version, TargetID: w.instance.TargetID, AppID: w.instance.AppID, OrgID: w.instance.OrgID, AppName: "demo", Number: 1}
	if _, err := w.store.BeginDeploy(ctx, v, "", time.Now()); err != nil {
		w.t.Fatal(err)
	}
	w.tx(func(tx *sqldb.Tx) error {
		_, err := w.store.Switch(ctx, tx, w.instance.TargetID, version, time.Now())
		return err
	})
}

func (w *world) tx(do func(*sqldb.Tx) error) {
	w.t.Helper()
	if err := w.store.Tx(w.t.Context(), do); err != nil {
		w.t.Fatal(err)
	}
}

// begin begins to look, as a process that knows nothing does.
func (w *world) begin() {
	w.watch = health.NewWatch(time.Now)
	w.service = health.NewService(health.Deps{
		Store: w.store, Namespaces: w.directory, Watch: w.watch, Limits: w.limits, Log: grpctest.Logger(w.t), Now: time.Now,
	})
}

func (w *world) serve() {
	w.t.Helper()
	edge, err := temporaledge.New(temporaledge.Deps{
		Upstream: temporaltest.Address(w.t), Agents: w.store, Runs: w.store, Facts: w.record, Watch: w.watch, Payloads: payloads.NewPassage(), Log: grpctest.Logger(w.t), Now: time.Now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	lis, err := (&net.ListenConfig{}).Listen(w.t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		w.t.Fatal(err)
	}
	w.address = lis.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- edge.Serve(ctx, lis) }()
	w.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("Serve() = %v", err)
		}
	})
}

// upstream is Temporal without the edge.
func (w *world) upstream() client.Client {
	w.t.Helper()
	c, err := w.directory.Client(w.t.Context(), w.instance.OrgID)
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

type bearer string

func (b bearer) GetHeaders(context.Context) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

// work lets a worker of the live version work behind the edge until stop.
func (w *world) work(stuck *cases) (stop func()) {
	w.t.Helper()
	upstream := w.upstream() // the namespace is there
	sdk, err := client.Dial(client.Options{HostPort: w.address, Namespace: w.instance.OrgID, HeadersProvider: bearer(w.token), Logger: quiet{}})
	if err != nil {
		w.t.Fatal(err)
	}
	version := worker.WorkerDeploymentVersion{DeploymentName: w.instance.TargetID, BuildID: w.instance.VersionID}
	works := worker.New(sdk, w.instance.TargetID, worker.Options{
		WorkerStopTimeout: time.Second, MaxHeartbeatThrottleInterval: 50 * time.Millisecond,
		DeploymentOptions: worker.DeploymentOptions{UseVersioning: true, Version: version, DefaultVersioningBehavior: workflow.VersioningBehaviorPinned},
	})
	stuck.register(works)
	if err := works.Start(); err != nil {
		w.t.Fatal(err)
	}
	stop = sync.OnceFunc(func() { works.Stop(); sdk.Close() })
	w.t.Cleanup(stop)
	eventually(w.t, "new runs go to the version", func() bool {
		_, err := upstream.WorkerDeploymentClient().GetHandle(w.instance.TargetID).SetCurrentVersion(w.t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{
			BuildID: w.instance.VersionID, IgnoreMissingTaskQueues: true,
		})
		return err == nil
	})
	return stop
}

// start begins a run, past the edge as the scheduler itself does.
func (w *world) start(name string) store.Run {
	w.t.Helper()
	return w.startWith(name, 0)
}

// startWith is start with a bound of each try of a step; 0: Temporal's own.
func (w *world) startWith(name string, step time.Duration) store.Run {
	w.t.Helper()
	run, err := w.upstream().ExecuteWorkflow(w.t.Context(), client.StartWorkflowOptions{TaskQueue: w.instance.TargetID, WorkflowTaskTimeout: step}, name)
	if err != nil {
		w.t.Fatal(err)
	}
	began := store.Run{
		RunID: run.GetRunID(), WorkflowID: run.GetID(), TargetID: w.instance.TargetID, OrgID: w.instance.OrgID,
		VersionID: w.instance.VersionID, Type: name, StartedAt: time.Now(),
	}
	if err := w.record.Started(w.t.Context(), began); err != nil {
		w.t.Fatal(err)
	}
	return began
}

// look looks once and returns what is wrong.
func (w *world) look() []store.Condition {
	w.t.Helper()
	if err := w.service.Look(w.t.Context()); err != nil {
		w.t.Fatalf("Look() = %v", err)
	}
	all, err := w.store.Conditions(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return all
}

const patience = 30 * time.Second

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// events are the changes told of a reason, as "from to, from to".
func (w *world) events(reason string) string {
	w.t.Helper()
	rows, err := w.db.Query(w.t.Context(), `SELECT payload FROM outbox WHERE subject = 'scheduler.health.changed' ORDER BY seq`)
	if err != nil {
		w.t.Fatal(err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var told []string
	for rows.Next() {
		var payload []byte
		var event schedulerv1.HealthChanged
		if err := errors.Join(rows.Scan(&payload), proto.Unmarshal(payload, &event)); err != nil {
			w.t.Fatal(err)
		}
		if event.GetReason() == reason {
			told = append(told, event.GetFrom()+" "+event.GetTo())
		}
	}
	if err := rows.Err(); err != nil {
		w.t.Fatal(err)
	}
	return strings.Join(told, ", ")
}
