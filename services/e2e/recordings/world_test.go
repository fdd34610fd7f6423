package recordings

import (
	"context"
	"encoding/json"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway"
	"github.com/mcpagentcloud/agentcloud/services/registry"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker"
)

// world is the real gateway before the real registry and the real secrets-broker, with a
// scheduler and a telemetry room that do as they are told.
type world struct {
	api       http.Handler
	scheduler *fakeScheduler
	registry  registryv1.AppsServiceClient
	accounts  registryv1.AccountsServiceClient
	keys      map[string]string // by the name of the user
}

func newWorld(t *testing.T) *world {
	t.Helper()
	dir, data := grpctest.SocketDir(t), t.TempDir()
	w := &world{scheduler: &fakeScheduler{}, keys: map[string]string{"nobody": "", "forger": "lm_mcp_api_forged"}}
	grpctest.ServeAt(t, dir, "scheduler", func(s grpc.ServiceRegistrar) {
		schedulerv1.RegisterDeploymentsServiceServer(s, w.scheduler)
		schedulerv1.RegisterRunsServiceServer(s, fakeRuns{})
	})
	grpctest.ServeAt(t, dir, "telemetry", func(s grpc.ServiceRegistrar) { telemetryv1.RegisterLogsServiceServer(s, fakeLogs{}) })
	cfg := registry.Defaults()
	cfg.AppDomain, cfg.BootstrapKeyFile = "apps.test", filepath.Join(data, "key.json")
	serve(t, dir, func(env service.Env) (service.Service, error) { return registry.New(t.Context(), cfg, env) }, "registry")
	serve(t, dir, func(env service.Env) (service.Service, error) {
		return secretsbroker.New(t.Context(), secretsbroker.Defaults(), env)
	}, "secretsbroker")

	conn := grpctest.Dial(t, dir, "registry")
	w.registry, w.accounts = registryv1.NewAppsServiceClient(conn), registryv1.NewAccountsServiceClient(conn)
	w.api = newGateway(t, dir)
	w.people(t, cfg.BootstrapKeyFile)
	return w
}

// newGateway is the whole room as a handler: its listener stays unused.
func newGateway(t *testing.T, dir string) http.Handler {
	t.Helper()
	cfg := gateway.Defaults()
	cfg.HTTP = "127.0.0.1:0"
	env := newEnv(t, dir, "gateway")
	env.Bus = bustest.New(t)
	room, err := gateway.New(t.Context(), cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	handler, ok := room.(http.Handler)
	if !ok {
		t.Fatal("the gateway is no http.Handler")
	}
	return handler
}

// serve runs a real room's contract. Its background work is left out.
func serve(t *testing.T, dir string, build func(service.Env) (service.Service, error), name string) {
	t.Helper()
	room, err := build(newEnv(t, dir, name))
	if err != nil {
		t.Fatal(err)
	}
	grpctest.ServeAt(t, dir, name, room.Register)
}

// newEnv is what the outside gives a room. Without a bus, its background work cannot run.
func newEnv(t *testing.T, dir, name string) service.Env {
	t.Helper()
	data := t.TempDir()
	dialer := mesh.Sockets(dir)
	t.Cleanup(func() { _ = dialer.Close() })
	return service.Env{
		Name: name, Log: grpctest.Logger(t), Mesh: dialer, DataDir: data, Now: time.Now,
		OpenDB: func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
			db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(data, "room.db"), migrations)
			if err == nil {
				t.Cleanup(func() { _ = db.Close() })
			}
			return db, err
		},
	}
}

// people are an administrator, a user of the same organisation and a stranger.
func (w *world) people(t *testing.T, keyFile string) {
	t.Helper()
	raw, err := os.ReadFile(keyFile)
	if err != nil {
		t.Fatal(err)
	}
	var first struct {
		APIKey string `json:"api_key"`
	}
	if err := json.Unmarshal(raw, &first); err != nil {
		t.Fatal(err)
	}
	w.keys["admin"] = first.APIKey
	for _, req := range []*registryv1.CreateUserRequest{
		{Name: "ann", Email: "ann@example.com"}, {Name: "stranger", Email: "sue@example.org", NewOrgName: "sue's"},
	} {
		res, err := w.accounts.CreateUser(w.as(t, "admin"), req)
		if err != nil {
			t.Fatal(err)
		}
		w.keys[req.GetName()] = res.GetApiKey()
	}
}

func (w *world) as(t *testing.T, name string) context.Context {
	t.Helper()
	res, err := w.accounts.Authenticate(t.Context(), &registryv1.AuthenticateRequest{ApiKey: w.keys[name]})
	if err != nil {
		t.Fatal(err)
	}
	u := res.GetUser()
	return principal.With(t.Context(), principal.Principal{Kind: principal.User, UserID: u.GetUserId(), OrgID: u.GetOrgId(), Admin: u.GetAdmin()})
}

// do follows an instruction of a recording: what happens between two requests.
func (w *world) do(t *testing.T, instruction string) {
	t.Helper()
	verb, rest, _ := strings.Cut(instruction, " ")
	switch verb {
	case "upload": // upload APP
		req := &registryv1.RecordUploadRequest{AppId: rest, BundleId: id.Bundle.New(), Digest: "d"}
		if _, err := w.registry.RecordUpload(w.as(t, "admin"), req); err != nil {
			t.Fatal(err)
		}
	case "refuse": // refuse APP SENTENCE
		app, why, _ := strings.Cut(rest, " ")
		if _, err := w.registry.RecordUpload(w.as(t, "admin"), &registryv1.RecordUploadRequest{AppId: app, Refused: why}); err != nil {
			t.Fatal(err)
		}
	case "deploys": // deploys live PARAM… | fail SENTENCE | conflict SENTENCE | away
		w.scheduler.answer(rest)
	default:
		t.Fatalf("no such instruction: %s", instruction)
	}
}

type fakeScheduler struct {
	schedulerv1.UnimplementedDeploymentsServiceServer

	mu  sync.Mutex
	how string
}

func (s *fakeScheduler) answer(how string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.how = how
}

func (s *fakeScheduler) Deploy(context.Context, *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	how, rest, _ := strings.Cut(s.how, " ")
	switch how {
	case "fail":
		return &schedulerv1.DeployResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED, Error: rest}, nil
	case "conflict":
		return nil, fault.Conflict.Errorf("%s", rest)
	case "away":
		return nil, fault.Unavailable.Errorf("Temporal does not answer; try again in a moment")
	}
	return &schedulerv1.DeployResponse{Outcome: schedulerv1.DeployOutcome_DEPLOY_OUTCOME_LIVE, UserParams: strings.Fields(rest)}, nil
}

func (s *fakeScheduler) Remove(context.Context, *schedulerv1.RemoveRequest) (*schedulerv1.RemoveResponse, error) {
	return &schedulerv1.RemoveResponse{}, nil
}

// fakeRuns knows one run.
type fakeRuns struct {
	schedulerv1.UnimplementedRunsServiceServer
}

const knownRun = "0197a1b2-0000-7000-8000-000000000001"

func (fakeRuns) StartRun(ctx context.Context, req *schedulerv1.StartRunRequest) (*schedulerv1.StartRunResponse, error) {
	if principal.From(ctx).UserID == "" || req.GetTargetId() == "" {
		return nil, fault.Unauthenticated.Errorf("nobody starts a run")
	}
	if req.GetArgumentsJson() != "" && !json.Valid([]byte(req.GetArgumentsJson())) {
		return nil, fault.Invalid.Errorf("argumentsJson is no JSON object")
	}
	return &schedulerv1.StartRunResponse{WorkflowId: req.GetName() + "-1", RunId: knownRun}, nil
}

func (fakeRuns) GetRun(_ context.Context, req *schedulerv1.GetRunRequest) (*schedulerv1.GetRunResponse, error) {
	if req.GetRunId() != knownRun {
		return nil, fault.NotFound.Errorf("no such run")
	}
	return &schedulerv1.GetRunResponse{Run: &schedulerv1.Run{RunId: knownRun}}, nil
}

func (fakeRuns) SignalRun(_ context.Context, req *schedulerv1.SignalRunRequest) (*schedulerv1.SignalRunResponse, error) {
	return &schedulerv1.SignalRunResponse{Found: req.GetRunId() == knownRun}, nil
}

// fakeLogs has one line, whoever asks: who may ask is decided before.
type fakeLogs struct {
	telemetryv1.UnimplementedLogsServiceServer
}

func (fakeLogs) GetAppLogs(_ context.Context, req *telemetryv1.GetAppLogsRequest) (*telemetryv1.GetAppLogsResponse, error) {
	if req.GetSince() == "soon" {
		return nil, fault.Invalid.Errorf("since is a number and s, m, h, d or w, for example 1h")
	}
	return &telemetryv1.GetAppLogsResponse{LogEntries: []*telemetryv1.LogEntry{
		{Level: "LOG_LEVEL_INFO", Message: "a line, order " + req.GetOrder().String()},
	}}, nil
}
