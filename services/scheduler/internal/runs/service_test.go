package runs_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/questions"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

const captured = `{
	"Echo":{"run_parameters":{"properties":{"text":{"type":"string"},"times":{"default":2,"type":"integer"}},"required":["text"],"title":"runArguments","type":"object"}},
	"Wait":{"run_parameters":{"properties":{},"type":"object"}},"Fail":{"run_parameters":{}},"Panic":{"run_parameters":{}},"Protocol":{"run_parameters":{}},"Tidy":{"run_parameters":{"properties":{"steps":{"type":"integer"}}}},"Count":{"run_parameters":{"properties":{"n":{"type":"integer","default":0}}}},
	"add":{"run_parameters":{"properties":{"a":{"type":"integer"},"b":{"type":"integer","default":5}},"required":["a"],"title":"addArguments","type":"object"}},
	"Steps":{"run_parameters":{}},"Stubborn":{"run_parameters":{}},
	"large":{"run_parameters":{"properties":{"n":{"type":"integer"}}}},
	"broken":{"run_parameters":{"properties":{}}}}`

// fixture is a live target, its agent (in Go), and the service on a real socket.
type fixture struct {
	client        schedulerv1.RunsServiceClient
	ops           schedulerv1.RunOperationsServiceClient
	questions     *questions.Service
	store         *store.Store
	db            *sqldb.DB
	org, app, ver string
	// firsts counts how often the activity of that name ran.
	firsts    *atomic.Int64
	ctx       context.Context // as a user of the organisation
	stopWork  func()          // ends the workers of the organisation's tools
	work      func() func()   // begins new ones
	bucket    *blob.Bucket
	payloads  *payloads.Passage
	collector *payloads.Collector
}

// inline is the size above which values are kept outside of histories.
const inline = 10_000

func newFixture(t *testing.T) *fixture {
	t.Helper()
	directory := temporaltest.Directory(t)
	db := dbtest.SQLite(t, store.Migrations())
	f := &fixture{store: store.New(db), db: db, org: temporaltest.Org(), app: id.App.New(), ver: id.Version.New(), firsts: &atomic.Int64{}}
	f.ctx = principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: f.org, UserID: "u_1"})
	f.live(t)
	f.bucket = memblob.OpenBucket(nil)
	claims := payloads.NewClaims(f.bucket, f.store, inline, time.Now)
	f.payloads = payloads.NewPassage(claims)
	f.collector = &payloads.Collector{Claims: claims, Client: directory.Client, Log: slog.New(slog.DiscardHandler)}
	record := runs.NewRecorder(f.store)
	begin := runs.BeginScheduled{Store: f.store, Record: record, Now: time.Now}
	tools := runs.NewToolWorkers(directory, begin, 16, nil, slog.New(slog.DiscardHandler))
	service := runs.NewService(runs.Deps{
		Store: f.store, Namespaces: directory, Record: record, Tools: tools, Payloads: f.payloads,
		Priorities: priorities.NewService(priorities.Deps{Store: f.store, Now: time.Now, NewID: id.PriorityRule.New}),
		Stop:       runs.Patience{Grace: time.Second, Longest: 4 * time.Second},
		Policy:     flow.ActivityPolicy{Heartbeat: 10 * time.Second, MaxTries: 5},
		Retention:  time.Hour, Draining: make(chan struct{}), Log: slog.New(slog.DiscardHandler), Now: time.Now, NewUUID: uuid.NewString,
	})
	f.questions = questions.NewService(questions.Deps{
		Store: f.store, Runs: service, Namespaces: directory, Draining: make(chan struct{}), Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: id.Question.New,
	})
	conn := grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterRunsServiceServer(r, service)
		schedulerv1.RegisterRunOperationsServiceServer(r, runs.NewOperations(service, f.questions))
	})
	f.client, f.ops = schedulerv1.NewRunsServiceClient(conn), schedulerv1.NewRunOperationsServiceClient(conn)
	f.work = func() (stop func()) {
		tools := runs.NewToolWorkers(directory, begin, 16, nil, slog.New(slog.DiscardHandler))
		return background(t, func(ctx context.Context) error { return tools.Run(ctx, []string{f.org}) })
	}
	f.stopWork = background(t, func(ctx context.Context) error { return tools.Run(ctx, []string{f.org}) })
	background(t, service.Run)
	f.agent(t, directory)
	return f
}

func background(t *testing.T, run func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("background work ended with %v", err)
		}
	})
	t.Cleanup(stop)
	return stop
}

// live records a version that serves.
func (f *fixture) live(t *testing.T) {
	t.Helper()
	v := store.Version{ID: f.ver, TargetID: f.app, AppID: f.app, OrgID: f.org, Number: 1}
	_, err := f.store.BeginDeploy(t.Context(), v, "", time.Now())
	if err == nil {
		err = f.store.SetCapture(t.Context(), f.ver, store.Capture{
			WorkflowsJSON: captured, Workflows: []string{"Echo", "Wait", "Fail", "Panic", "Count", "Protocol", "Tidy", "Steps", "Stubborn"}, SyncTools: []string{"add", "large"}, AsyncTools: []string{"broken"},
		})
	}
	if err == nil {
		err = f.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := f.store.Switch(t.Context(), tx, f.app, f.ver, time.Now())
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// agent polls as the Python processes of a version would.
func (f *fixture) agent(t *testing.T, directory interface {
	Client(ctx context.Context, namespace string) (client.Client, error)
},
) {
	t.Helper()
	c, err := directory.Client(t.Context(), f.org)
	if err != nil {
		t.Fatal(err)
	}
	classes := worker.New(c, agentenv.TaskQueue(f.app), worker.Options{})
	for name, w := range map[string]any{
		"Echo": func(_ workflow.Context, text string, times int) (map[string]string, error) {
			return map[string]string{"kind": "workflow_result", "value": strings.Repeat(text, times)}, nil
		},
		"Wait": func(ctx workflow.Context) (string, error) {
			var answer json.RawMessage
			workflow.GetSignalChannel(ctx, "resume").Receive(ctx, &answer)
			return string(answer), ctx.Err()
		},
		"Fail": func(workflow.Context) error {
			return temporal.NewApplicationErrorWithCause("it broke", "ValueError", errors.New("Traceback: line 1"))
		},
		"Protocol": func(workflow.Context) error {
			return temporal.NewApplicationError("no way", "McpError", map[string]any{"code": -32050, "message": "no way", "data": map[string]int{"left": 3}})
		},
		"Tidy":  tidy,
		"Panic": func(workflow.Context) error { panic("stuck in a step") },
		"Count": func(ctx workflow.Context, n int) (int, error) {
			if n < 3 {
				return 0, workflow.NewContinueAsNewError(ctx, "Count", n+1)
			}
			return n, nil
		},
		"Steps": steps,
		"Stubborn": func(ctx workflow.Context) error {
			return workflow.ExecuteActivity(patient(ctx), "never").Get(ctx, nil)
		},
	} {
		classes.RegisterWorkflowWithOptions(w, workflow.RegisterOptions{Name: name})
	}
	classes.RegisterActivityWithOptions(func() (int64, error) { return f.firsts.Add(1), nil }, activity.RegisterOptions{Name: "first"})
	classes.RegisterActivityWithOptions(func() error { return nil }, activity.RegisterOptions{Name: "second"})
	classes.RegisterActivityWithOptions(func() error { return temporal.NewApplicationError("no network", "ConnectError") }, activity.RegisterOptions{Name: "never"})
	classes.RegisterActivityWithOptions(tidyStep, activity.RegisterOptions{Name: "tidyStep"})
	bodies := worker.New(c, agentenv.ToolsQueue(f.app, f.ver), worker.Options{DisableWorkflowWorker: true})
	bodies.RegisterActivityWithOptions(func(_ context.Context, args struct{ A, B int }) (int, error) {
		return args.A + args.B, nil
	}, activity.RegisterOptions{Name: "tool:add"})
	// What the edge would do to a large value of an agent.
	bodies.RegisterActivityWithOptions(func(ctx context.Context, args struct{ N int }) (converter.RawValue, error) {
		value, err := converter.GetDefaultDataConverter().ToPayload(strings.Repeat("x", args.N))
		if err != nil {
			return converter.RawValue{}, err
		}
		value, err = f.payloads.Encode(ctx, payloads.Scope{OrgID: f.org, WorkflowID: activity.GetInfo(ctx).WorkflowExecution.ID}, value)
		return converter.NewRawValue(value), err
	}, activity.RegisterOptions{Name: "tool:large"})
	bodies.RegisterActivityWithOptions(func(context.Context, json.RawMessage) error {
		return temporal.NewNonRetryableApplicationError("no luck", "KeyError", nil)
	}, activity.RegisterOptions{Name: "tool:broken"})
	for _, w := range []worker.Worker{classes, bodies} {
		if err := w.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(w.Stop)
	}
}

// steps does one thing, waits to be told, and does another.
func steps(ctx workflow.Context) (string, error) {
	state := "began"
	if err := workflow.SetQueryHandler(ctx, "state", func(suffix string) (string, error) { return state + suffix, nil }); err != nil {
		return "", err
	}
	var number int64
	if err := workflow.ExecuteActivity(patient(ctx), "first").Get(ctx, &number); err != nil {
		return "", err
	}
	state = "waits"
	workflow.GetSignalChannel(ctx, "resume").Receive(ctx, nil)
	if err := workflow.ExecuteActivity(patient(ctx), "second").Get(ctx, nil); err != nil {
		return "", err
	}
	return fmt.Sprintf("first was number %d", number), ctx.Err()
}

func patient(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
}

func (f *fixture) start(t *testing.T, name, arguments string) *schedulerv1.StartRunResponse {
	t.Helper()
	started, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: name, ArgumentsJson: arguments, SessionId: "ses_1"})
	if err != nil {
		t.Fatalf("StartRun(%s, %s) = %v", name, arguments, err)
	}
	return started
}

func (f *fixture) get(t *testing.T, req *schedulerv1.GetRunRequest) *schedulerv1.Run {
	t.Helper()
	req.TargetId = f.app
	got, err := f.client.GetRun(f.ctx, req)
	if err != nil {
		t.Fatalf("GetRun(%v) = %v", req, err)
	}
	return got.GetRun()
}

func (f *fixture) finished(t *testing.T, runID string) *schedulerv1.Run {
	t.Helper()
	return f.get(t, &schedulerv1.GetRunRequest{RunId: runID, Wait: durationpb.New(30 * time.Second)})
}

func TestRunsEnd(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tests := map[string]struct {
		name, arguments string
		want            *schedulerv1.Run // the fields that are compared
	}{
		"workflow class, one payload a parameter": {"Echo", `{"text":"hey "}`, &schedulerv1.Run{
			Name: "Echo", Type: "Echo", Status: schedulerv1.RunStatus_RUN_STATUS_COMPLETED, ResultJson: `{"kind":"workflow_result","value":"hey hey "}`,
		}},
		"tool, one object": {"add", `{"a":2}`, &schedulerv1.Run{
			Name: "add", Type: "AutoWorkflow_add", Status: schedulerv1.RunStatus_RUN_STATUS_COMPLETED, VersionId: f.ver,
			ResultJson: `{"kind":"workflow_result","value":7,"metadata":{},"start_time":null,"end_time":null}`,
		}},
		"failing class": {"Fail", ``, &schedulerv1.Run{
			Name: "Fail", Type: "Fail", Status: schedulerv1.RunStatus_RUN_STATUS_FAILED,
			ErrorType: "ValueError", ErrorMessage: "it broke", ErrorDetail: "Traceback: line 1",
		}},
		"an error for the protocol": {"Protocol", ``, &schedulerv1.Run{
			Name: "Protocol", Type: "Protocol", Status: schedulerv1.RunStatus_RUN_STATUS_FAILED,
			ErrorType: "McpError", ErrorMessage: "no way", ProtocolError: &schedulerv1.ProtocolError{Code: -32050, DataJson: `{"left":3}`},
		}},
		"failing tool": {"broken", ``, &schedulerv1.Run{
			Name: "broken", Type: "AutoWorkflow_broken", Status: schedulerv1.RunStatus_RUN_STATUS_FAILED, VersionId: f.ver,
			ErrorType: "KeyError", ErrorMessage: "no luck",
		}},
		"continued as new": {"Count", ``, &schedulerv1.Run{
			Name: "Count", Type: "Count", Status: schedulerv1.RunStatus_RUN_STATUS_COMPLETED, ResultJson: `3`,
		}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			started := f.start(t, tt.name, tt.arguments)
			run := f.finished(t, started.GetRunId())
			got := &schedulerv1.Run{
				Name: run.GetName(), Type: run.GetType(), Status: run.GetStatus(), VersionId: run.GetVersionId(), ResultJson: run.GetResultJson(),
				ErrorType: run.GetErrorType(), ErrorMessage: run.GetErrorMessage(), ErrorDetail: run.GetErrorDetail(), ProtocolError: run.GetProtocolError(),
			}
			if diff := cmp.Diff(tt.want.String(), got.String()); diff != "" {
				t.Errorf("run (-want +got):\n%s", diff)
			}
			if run.GetRunId() != started.GetRunId() || run.GetWorkflowId() != started.GetWorkflowId() || run.GetTargetId() != f.app ||
				run.GetStartedBy() != "u_1" || run.GetCloseTime() == nil || !strings.HasPrefix(run.GetWorkflowId(), tt.name+"-") {
				t.Errorf("run = %v of %v", run, started)
			}
			kept, err := f.store.Run(t.Context(), started.GetRunId())
			if err != nil || kept.SessionID != "ses_1" || tt.name != "Count" && kept.ClosedAt.IsZero() {
				t.Errorf("index = %+v, %v", kept, err)
			}
		})
	}
}

func TestARunIsFoundByAnyOfItsIDs(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	started := f.start(t, "Echo", `{"text":"a"}`)
	f.finished(t, started.GetRunId())
	if _, err := f.db.Exec(t.Context(), `DELETE FROM runs`); err != nil { // as after a loss of the index
		t.Fatal(err)
	}
	for desc, req := range map[string]*schedulerv1.GetRunRequest{
		"run id":      {RunId: started.GetRunId()},
		"workflow id": {WorkflowId: started.GetWorkflowId()},
		"both":        {RunId: started.GetRunId(), WorkflowId: started.GetWorkflowId()},
	} {
		eventually(t, desc, func() error {
			req.TargetId = f.app
			got, err := f.client.GetRun(f.ctx, req)
			if err == nil && got.GetRun().GetRunId() != started.GetRunId() {
				err = fmt.Errorf("found %v", got)
			}
			return err
		})
	}
	for desc, req := range map[string]*schedulerv1.GetRunRequest{
		"unknown run":      {TargetId: f.app, RunId: uuid.NewString()},
		"no uuid":          {TargetId: f.app, RunId: "' OR 1=1 --"},
		"unknown workflow": {TargetId: f.app, WorkflowId: "Echo-nothing"},
		"another app":      {TargetId: id.App.New(), RunId: started.GetRunId()},
	} {
		if got, err := f.client.GetRun(f.ctx, req); !fault.NotFound.Is(err) {
			t.Errorf("%s: GetRun() = %v, %v; want not found", desc, got, err)
		}
	}
}

func TestRunsOfOthersAreNotThere(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	started := f.start(t, "Echo", `{"text":"a"}`)
	other := &fixture{store: f.store, org: f.org, app: id.App.New(), ver: id.Version.New()}
	other.live(t)
	_, err := f.client.GetRun(f.ctx, &schedulerv1.GetRunRequest{TargetId: other.app, WorkflowId: started.GetWorkflowId(), RunId: started.GetRunId()})
	if !fault.NotFound.Is(err) {
		t.Errorf("GetRun() as another app's = %v, want not found", err)
	}
	if _, err := f.client.GetRun(f.ctx, &schedulerv1.GetRunRequest{TargetId: f.app, RunId: started.GetRunId()}); err != nil {
		t.Error(err)
	}
	// What was told its owner a moment ago is not told a stranger.
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: "org_other"})
	_, err = f.client.GetRun(stranger, &schedulerv1.GetRunRequest{TargetId: f.app, RunId: started.GetRunId()})
	if !fault.NotFound.Is(err) {
		t.Errorf("GetRun() by a stranger = %v, want not found", err)
	}
	_, err = f.client.StartRun(stranger, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Echo"})
	if !fault.NotFound.Is(err) {
		t.Errorf("StartRun() by a stranger = %v, want not found", err)
	}
}

func TestStartRunRefuses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for desc, tt := range map[string]struct {
		req  *schedulerv1.StartRunRequest
		want fault.Kind
		says string
	}{
		"missing argument":  {&schedulerv1.StartRunRequest{Name: "Echo"}, fault.Invalid, "text\n  Field required"},
		"unknown argument":  {&schedulerv1.StartRunRequest{Name: "add", ArgumentsJson: `{"a":1,"c":2}`}, fault.Invalid, "c\n  Unexpected keyword argument"},
		"unknown workflow":  {&schedulerv1.StartRunRequest{Name: "Nope"}, fault.NotFound, "it has: Echo, Wait"},
		"much too long key": {&schedulerv1.StartRunRequest{Name: "Wait", IdempotencyKey: strings.Repeat("k", 300)}, fault.Invalid, "idempotency key"},
	} {
		tt.req.TargetId = f.app
		_, err := f.client.StartRun(f.ctx, tt.req)
		if !tt.want.Is(err) || !strings.Contains(fault.Message(err), tt.says) {
			t.Errorf("%s: StartRun() = %v, want %q", desc, err, tt.says)
		}
	}
}

func TestTheSameKeyIsTheSameRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	for _, name := range []string{"Wait", "add"} {
		req := &schedulerv1.StartRunRequest{TargetId: f.app, Name: name, IdempotencyKey: "k"}
		if name == "add" {
			req.ArgumentsJson = `{"a":1}`
		}
		first, err := f.client.StartRun(f.ctx, req)
		if err != nil {
			t.Fatal(err)
		}
		if name == "add" {
			f.finished(t, first.GetRunId()) // the key holds when the run is over, too
		}
		again, err := f.client.StartRun(f.ctx, req)
		if err != nil || again.GetRunId() != first.GetRunId() || again.GetWorkflowId() != first.GetWorkflowId() {
			t.Errorf("%s: StartRun() again = %v, %v; want %v", name, again, err, first)
		}
	}
	other := &schedulerv1.StartRunRequest{TargetId: f.app, Name: "add", IdempotencyKey: "k", ArgumentsJson: `{"a":2}`}
	if _, err := f.client.StartRun(f.ctx, other); !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "other arguments") {
		t.Errorf("the key of another call = %v", err)
	}
}

// 250 calls, each four times at once.
func TestDuplicatesStartOneRunEach(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	var mu sync.Mutex
	var group errgroup.Group
	group.SetLimit(32) //nolint:mnd // enough to meet
	runs := map[string]map[string]bool{}
	for i := range 1000 {
		group.Go(func() error {
			key := strconv.Itoa(i / 4) //nolint:mnd // four of each
			res, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Wait", IdempotencyKey: key})
			mu.Lock()
			defer mu.Unlock()
			if runs[key] == nil {
				runs[key] = map[string]bool{}
			}
			runs[key][res.GetRunId()] = true
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for key, ids := range runs {
		if len(ids) != 1 {
			t.Errorf("the calls with key %s started %d runs", key, len(ids))
		}
	}
}

func TestSignalAndCancel(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	resumed, cancelled := f.start(t, "Wait", ""), f.start(t, "Wait", "")
	signal, err := f.client.SignalRun(f.ctx, &schedulerv1.SignalRunRequest{TargetId: f.app, RunId: resumed.GetRunId(), PayloadJson: `{"z":1,"a":2}`})
	if err != nil || !signal.GetFound() {
		t.Fatalf("SignalRun() = %v, %v", signal, err)
	}
	if run := f.finished(t, resumed.GetRunId()); run.GetResultJson() != `"{\"z\":1,\"a\":2}"` {
		t.Errorf("resumed run = %v", run)
	}
	cancel, err := f.client.CancelRun(f.ctx, &schedulerv1.CancelRunRequest{TargetId: f.app, RunId: cancelled.GetRunId()})
	if err != nil || !cancel.GetFound() {
		t.Fatalf("CancelRun() = %v, %v", cancel, err)
	}
	for desc, run := range map[string]string{"closed": resumed.GetRunId(), "unknown": uuid.NewString(), "no id": "x"} {
		signal, err := f.client.SignalRun(f.ctx, &schedulerv1.SignalRunRequest{TargetId: f.app, RunId: run})
		if err != nil || signal.GetFound() {
			t.Errorf("%s: SignalRun() = %v, %v; want not found", desc, signal, err)
		}
		cancel, err := f.client.CancelRun(f.ctx, &schedulerv1.CancelRunRequest{TargetId: f.app, RunId: run})
		if err != nil || cancel.GetFound() {
			t.Errorf("%s: CancelRun() = %v, %v; want not found", desc, cancel, err)
		}
	}
}

func TestAStepThatFailsIsToldOfAnOpenRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	started := f.start(t, "Panic", "")
	eventually(t, "told", func() error {
		run := f.get(t, &schedulerv1.GetRunRequest{RunId: started.GetRunId()})
		if run.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_RUNNING || !strings.Contains(run.GetErrorMessage(), "stuck in a step") {
			return fmt.Errorf("run = %v", run)
		}
		return nil
	})
}

func TestListRuns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	want := map[string]bool{}
	for i := range 5 {
		started := f.start(t, "add", fmt.Sprintf(`{"a":%d}`, i))
		f.finished(t, started.GetRunId())
		want[started.GetRunId()] = true
	}
	open := f.start(t, "Wait", "")
	eventually(t, "all listed", func() error {
		got := map[string]bool{}
		for token := ""; ; {
			listed, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{TargetId: f.app, PageSize: 2, PageToken: token, Name: "add"})
			if err != nil {
				t.Fatal(err)
			}
			for _, run := range listed.GetRuns() {
				if !strings.Contains(run.GetResultJson(), `"kind":"workflow_result"`) {
					return fmt.Errorf("run without result: %v", run)
				}
				got[run.GetRunId()] = true
			}
			if token = listed.GetNextPageToken(); token == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			return errors.New(diff)
		}
		return nil
	})
	eventually(t, "the open one", func() error {
		listed, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{TargetId: f.app, Status: schedulerv1.RunStatus_RUN_STATUS_RUNNING})
		if err != nil || len(listed.GetRuns()) != 1 || listed.GetRuns()[0].GetRunId() != open.GetRunId() {
			return fmt.Errorf("open runs = %v, %w; want %s", listed, err, open.GetRunId())
		}
		return nil
	})
	if _, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{TargetId: f.app, PageToken: "§"}); !fault.Invalid.Is(err) {
		t.Errorf("ListRuns() with a damaged token = %v, want invalid", err)
	}
}

func TestHistoryIsTemporalsJSON(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	started := f.start(t, "Echo", `{"text":"a"}`)
	f.finished(t, started.GetRunId())
	got, err := f.client.GetRunHistory(f.ctx, &schedulerv1.GetRunHistoryRequest{TargetId: f.app, RunId: started.GetRunId()})
	if err != nil {
		t.Fatal(err)
	}
	history, err := client.HistoryFromJSON(strings.NewReader(got.GetHistoryJson()), client.HistoryJSONOptions{})
	if err != nil || len(history.GetEvents()) < 4 {
		t.Errorf("history of %d events, %v", len(history.GetEvents()), err)
	}
}

func TestTheSweepFindsEndsThatNobodySaw(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	open := f.start(t, "Wait", `{}`).GetRunId()
	ended := f.start(t, "Echo", `{"text":"a"}`).GetRunId()
	gone := store.Run{RunID: uuid.NewString(), WorkflowID: "Echo-gone", TargetID: f.app, OrgID: f.org, Type: "Echo", StartedAt: time.Now()}
	if err := runs.NewRecorder(f.store).Started(t.Context(), gone); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{open: "", ended: runs.Completed, gone.RunID: runs.Terminated}
	eventually(t, "closed", func() error {
		for id, outcome := range want {
			run, err := f.store.Run(t.Context(), id)
			if err == nil && run.Outcome != outcome {
				err = fmt.Errorf("run = %+v, want %q", run, outcome)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// eventually waits for a condition.
func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for {
		err := check()
		if err == nil {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%s: still %v", what, err)
		case <-time.After(50 * time.Millisecond):
		}
	}
}
