package batches_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/batches"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

const captured = `{
	"Double":{"run_parameters":{"properties":{"n":{"type":"integer"}},"required":["n"],"title":"runArguments","type":"object"}},
	"Greet":{"run_parameters":{"properties":{"name":{"type":"string"},"times":{"type":"integer","default":1},"note":{"anyOf":[{"type":"string"},{"type":"null"}],"default":null}},"required":["name"],"type":"object"}},
	"Wait":{"run_parameters":{"properties":{"n":{"type":"integer"}},"type":"object"}},
	"Numbers":{"run_parameters":{"properties":{},"type":"object"}}}`

// fixture is a live target, its agent (in Go), and the service on a real socket.
type fixture struct {
	t             *testing.T
	directory     *namespaces.Directory
	store         *store.Store
	db            *sqldb.DB
	client        schedulerv1.BatchesServiceClient
	runs          *runs.Service
	org, app, ver string
	ctx           context.Context // as a user of the organisation
	bounds        batches.Bounds

	mu sync.Mutex
	// fails are the numbers that Double fails for; calls counts its runs by number.
	fails map[int]bool
	calls map[int]int
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{
		t: t, directory: temporaltest.Directory(t), db: dbtest.SQLite(t, store.Migrations()), org: temporaltest.Org(), app: id.App.New(), ver: id.Version.New(),
		bounds: batches.Bounds{Items: 1000, Bytes: 1 << 20, Open: 3, Concurrency: 50, Runs: 100}, fails: map[int]bool{}, calls: map[int]int{},
	}
	f.store = store.New(f.db)
	f.ctx = principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: f.org, UserID: "u_1"})
	f.live()
	f.agent()
	f.runs = runs.NewService(runs.Deps{
		Priorities: priorities.NewService(priorities.Deps{Store: f.store, Now: time.Now, NewID: id.PriorityRule.New}),
		Store:      f.store, Namespaces: f.directory, Record: runs.NewRecorder(f.store), Tools: noTools{}, Payloads: payloads.NewPassage(),
		Policy:    flow.ActivityPolicy{Heartbeat: 10 * time.Second, MaxTries: 5},
		Retention: time.Hour, Draining: make(chan struct{}), Log: slog.New(slog.DiscardHandler), Now: time.Now, NewUUID: uuid.NewString,
	})
	service := f.service(make(chan struct{}))
	f.client = schedulerv1.NewBatchesServiceClient(grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterBatchesServiceServer(r, service)
	}))
	return f
}

type noTools struct{}

func (noTools) Ensure(string) {}

func (f *fixture) service(draining chan struct{}) *batches.Service {
	return batches.NewService(batches.Deps{
		Store: f.store, Runs: f.runs, System: f.system, Bounds: f.bounds, Retention: time.Hour,
		Draining: draining, Log: slog.New(slog.DiscardHandler), Now: time.Now, NewID: id.Batch.New,
	})
}

// system gives each test a place for its own batches.
func (f *fixture) system(ctx context.Context) (client.Client, error) {
	return f.directory.Client(ctx, f.org+"-system")
}

// steer runs a process that brings batches forward, until stop is called.
func (f *fixture) steer() (stop func()) {
	f.t.Helper()
	draining := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	service := f.service(draining)
	go func() { done <- service.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		close(draining)
		cancel()
		if err := <-done; err != nil {
			f.t.Errorf("Run() = %v", err)
		}
	})
	f.t.Cleanup(stop)
	return stop
}

// live records a version that serves.
func (f *fixture) live() {
	f.t.Helper()
	v := store.Version{ID: f.ver, TargetID: f.app, AppID: f.app, OrgID: f.org, Number: 1}
	_, err := f.store.BeginDeploy(f.t.Context(), v, "", time.Now())
	if err == nil {
		err = f.store.SetCapture(f.t.Context(), f.ver, store.Capture{WorkflowsJSON: captured, Workflows: []string{"Double", "Greet", "Wait", "Numbers"}})
	}
	if err == nil {
		err = f.store.Tx(f.t.Context(), func(tx *sqldb.Tx) error {
			_, err := f.store.Switch(f.t.Context(), tx, f.app, f.ver, time.Now())
			return err
		})
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// agent polls as the Python processes of a version would.
func (f *fixture) agent() {
	f.t.Helper()
	c, err := f.directory.Client(f.t.Context(), f.org)
	if err != nil {
		f.t.Fatal(err)
	}
	w := worker.New(c, agentenv.TaskQueue(f.app), worker.Options{})
	for name, body := range map[string]any{
		"Double": f.double,
		"Greet": func(_ workflow.Context, name string, times int, note *string) (string, error) {
			return strings.Repeat("Hello, "+name+"!", times), nil
		},
		"Wait": func(ctx workflow.Context, n int) (int, error) {
			workflow.GetSignalChannel(ctx, "resume").Receive(ctx, nil)
			return n, ctx.Err()
		},
		"Numbers": func(workflow.Context) (map[string]any, error) {
			return map[string]any{"kind": "workflow_result", "value": []any{1, map[string]int{"n": 2}, 3}}, nil
		},
	} {
		w.RegisterWorkflowWithOptions(body, workflow.RegisterOptions{Name: name})
	}
	if err := w.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(w.Stop)
}

func (f *fixture) double(ctx workflow.Context, n int) (any, error) {
	if !workflow.IsReplaying(ctx) {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.calls[n]++
		if f.fails[n] {
			return nil, temporal.NewApplicationError(fmt.Sprintf("%d is odd luck", n%2), "ValueError")
		}
	}
	return map[string]any{"kind": "workflow_result", "value": 2 * n}, nil
}

func (f *fixture) temporal() client.Client {
	f.t.Helper()
	c, err := f.directory.Client(f.t.Context(), f.org)
	if err != nil {
		f.t.Fatal(err)
	}
	return c
}

func numbers(from, to int) []byte {
	var text strings.Builder
	for n := from; n < to; n++ {
		fmt.Fprintf(&text, "{\"n\": %d}\n", n)
	}
	return []byte(text.String())
}

func (f *fixture) start(req *schedulerv1.StartBatchRequest) *schedulerv1.Batch {
	f.t.Helper()
	req.TargetId = f.app
	res, err := f.client.StartBatch(f.ctx, req)
	if err != nil {
		f.t.Fatalf("StartBatch() = %v", err)
	}
	return res.GetBatch()
}

// until waits for a batch to be as wanted.
func (f *fixture) until(batchID string, want func(*schedulerv1.Batch) bool) *schedulerv1.GetBatchResponse {
	f.t.Helper()
	for deadline := time.Now().Add(60 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		res, err := f.client.GetBatch(f.ctx, &schedulerv1.GetBatchRequest{BatchId: batchID})
		if err != nil {
			f.t.Fatalf("GetBatch() = %v", err)
		}
		if want(res.GetBatch()) {
			return res
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("the batch is still %v", res)
		}
	}
}

func completed(b *schedulerv1.Batch) bool {
	return b.GetState() == schedulerv1.BatchState_BATCH_STATE_COMPLETED
}

func (f *fixture) results(req *schedulerv1.DownloadBatchResultsRequest) string {
	f.t.Helper()
	stream, err := f.client.DownloadBatchResults(f.ctx, req)
	if err != nil {
		f.t.Fatal(err)
	}
	var text strings.Builder
	for {
		part, err := stream.Recv()
		if errors.Is(err, io.EOF) {
			return text.String()
		}
		if err != nil {
			f.t.Fatalf("DownloadBatchResults() = %v", err)
		}
		text.Write(part.GetText())
	}
}

type row struct {
	Index  int
	State  string
	Input  json.RawMessage
	Result json.RawMessage
	Error  struct{ Type, Message string }
	RunID  string `json:"run_id"`
}

func (f *fixture) rows(batchID string) []row {
	f.t.Helper()
	var all []row
	decoder := json.NewDecoder(strings.NewReader(f.results(&schedulerv1.DownloadBatchResultsRequest{BatchId: batchID})))
	for decoder.More() {
		var one row
		if err := decoder.Decode(&one); err != nil {
			f.t.Fatal(err)
		}
		all = append(all, one)
	}
	return all
}
