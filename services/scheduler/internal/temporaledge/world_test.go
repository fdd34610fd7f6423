package temporaledge_test

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaledge"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

// agent is somebody who holds a token.
type agent struct {
	store.Instance
	token string
	raw   workflowservice.WorkflowServiceClient
	sdk   client.Client
}

// inline is the size above which values are kept outside of histories.
const inline = 10_000

// world is an edge before a real Temporal, and who may pass.
type world struct {
	t         testing.TB
	address   string
	directory *namespaces.Directory
	stop      func() // ends the edge
	bucket    *blob.Bucket
	rows      *store.Store
	passage   *payloads.Passage
	headroom  *headroom.Headroom

	mu     sync.Mutex
	agents map[string]store.Instance
	facts  []fact
}

type fact struct {
	store.Run
	outcome string // empty: it began
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, directory: temporaltest.Directory(t), agents: map[string]store.Instance{}, bucket: memblob.OpenBucket(nil), headroom: headroom.New()}
	w.rows = store.New(dbtest.SQLite(t, store.Migrations()))
	w.passage = payloads.NewPassage(payloads.NewClaims(w.bucket, w.rows, inline, time.Now))
	w.serve(t)
	return w
}

// serve begins an edge, at an address of its own.
func (w *world) serve(t *testing.T) {
	t.Helper()
	edge, err := temporaledge.New(temporaledge.Deps{
		Upstream: temporaltest.Address(t), Agents: w, Runs: w, Facts: w, Watch: health.NewWatch(time.Now), Headroom: w.headroom, Payloads: w.passage, Log: grpctest.Logger(t), Now: time.Now,
	})
	if err != nil {
		t.Fatal(err)
	}
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w.address = lis.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- edge.Serve(ctx, lis) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Serve() = %v", err)
		}
	})
	t.Cleanup(w.stop)
}

// InstanceByEdge implements Deps.Agents.
func (w *world) InstanceByEdge(_ context.Context, hash string) (store.Instance, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if i, ok := w.agents[hash]; ok {
		return i, nil
	}
	return store.Instance{}, fault.NotFound.Errorf("no such agent")
}

// Run implements Deps.Runs: what began here is known.
func (w *world) Run(_ context.Context, runID string) (store.Run, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, f := range w.facts {
		if f.RunID == runID {
			return f.Run, nil
		}
	}
	return store.Run{}, fault.NotFound.Errorf("no such run")
}

// Started implements Deps.Facts.
func (w *world) Started(_ context.Context, run store.Run) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts = append(w.facts, fact{Run: run})
	return nil
}

// Resumed implements Deps.Facts.
func (w *world) Resumed(ctx context.Context, run store.Run, baseRunID string) error {
	run.SessionID = "of " + baseRunID
	return w.Started(ctx, run)
}

// Closed implements Deps.Facts.
func (w *world) Closed(_ context.Context, run store.Run, outcome string, _ time.Time) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.facts = append(w.facts, fact{run, outcome})
	return nil
}

func (w *world) told(want func(fact) bool) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.facts, want)
}

// agent lets a new app of an organisation run an agent.
func (w *world) agent(org string) *agent {
	w.t.Helper()
	if _, err := w.directory.Client(w.t.Context(), org); err != nil {
		w.t.Fatal(err)
	}
	a := &agent{token: tokens.New(tokens.Edge)}
	a.Instance = store.Instance{ID: id.Instance.New(), TargetID: id.App.New(), OrgID: org, VersionID: id.Version.New(), EdgeHash: tokens.Hash(a.token)}
	w.mu.Lock()
	w.agents[a.EdgeHash] = a.Instance
	w.mu.Unlock()
	a.raw = w.dial(a.token)
	sdk, err := client.Dial(client.Options{HostPort: w.address, Namespace: org, HeadersProvider: bearer(a.token), Logger: quiet{}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(sdk.Close)
	a.sdk = sdk
	return a
}

// dial returns a client that shows a token; empty: none.
func (w *world) dial(token string) workflowservice.WorkflowServiceClient {
	w.t.Helper()
	conn, err := grpc.NewClient(w.address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithUnaryInterceptor(
		func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
			if headers, _ := bearer(token).GetHeaders(ctx); token != "" {
				ctx = withHeaders(ctx, headers)
			}
			return invoke(ctx, method, req, reply, cc, opts...)
		}))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = conn.Close() })
	return workflowservice.NewWorkflowServiceClient(conn)
}
