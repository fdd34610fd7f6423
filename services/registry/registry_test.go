package registry_test

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/registrytest"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*registry.Config)
		want   string // part of the complaint; empty: none
	}{
		"as it comes":             {func(*registry.Config) {}, ""},
		"a domain":                {func(c *registry.Config) { c.AppDomain = "apps.example.com" }, ""},
		"a domain, odd scheme":    {func(c *registry.Config) { c.AppDomain, c.AppScheme = "apps.example.com", "ftp" }, "app_scheme"},
		"a domain that is a URL":  {func(c *registry.Config) { c.AppDomain = "https://apps.example.com" }, "app_domain"},
		"a domain with capitals":  {func(c *registry.Config) { c.AppDomain = "Apps.example.com" }, "app_domain"},
		"an odd public port":      {func(c *registry.Config) { c.AppDomain, c.AppPublicPort = "apps.example.com", 70000 }, "app_public_port"},
		"ports on every network":  {func(c *registry.Config) { c.AppHost = "0.0.0.0" }, "app_domain"},
		"ports the other way":     {func(c *registry.Config) { c.AppPorts = "9-8" }, "first-last"},
		"a name for the loopback": {func(c *registry.Config) { c.AppHost = "localhost" }, "loopback"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := registry.Defaults()
			tt.change(&cfg)
			err := cfg.Validate()
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("Validate(%+v) = %v, want %q", cfg, err, tt.want)
			}
		})
	}
}

// newEnv is what the outside gives the room.
func newEnv(t *testing.T, dir, data string) service.Env {
	t.Helper()
	dialer := mesh.Sockets(dir)
	t.Cleanup(func() { _ = dialer.Close() })
	return service.Env{
		Name: "registry", Log: grpctest.Logger(t), Mesh: dialer, DataDir: data, Now: time.Now,
		OpenDB: func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
			db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(data, "registry.db"), migrations)
			if err == nil {
				t.Cleanup(func() { _ = db.Close() })
			}
			return db, err
		},
	}
}

// admin is a context of whom the first key belongs to.
func admin(t *testing.T, conn *grpc.ClientConn, keyFile string) context.Context {
	t.Helper()
	known, err := registryv1.NewAccountsServiceClient(conn).Authenticate(t.Context(), &registryv1.AuthenticateRequest{ApiKey: registrytest.KeyIn(t, keyFile)})
	if err != nil || !known.GetUser().GetAdmin() {
		t.Fatalf("Authenticate(first key) = %v, %v, want an administrator", known, err)
	}
	return principal.With(t.Context(), principal.Principal{Kind: principal.User, UserID: known.GetUser().GetUserId(), OrgID: known.GetUser().GetOrgId(), Admin: true})
}

// The room works before any of its neighbours does.
func TestRoomAlone(t *testing.T) {
	t.Parallel()
	dir, data := grpctest.SocketDir(t), t.TempDir()
	cfg := registry.Defaults()
	cfg.BootstrapKeyFile = filepath.Join(data, "key.json")
	room, err := registry.New(t.Context(), cfg, newEnv(t, dir, data))
	if err != nil {
		t.Fatal(err)
	}
	conn := grpctest.Serve(t, room.Register)
	ctx := admin(t, conn, cfg.BootstrapKeyFile)
	made, err := registryv1.NewAppsServiceClient(conn).CreateApp(ctx, &registryv1.CreateAppRequest{Name: "finder"})
	if err != nil || !strings.HasPrefix(made.GetApp().GetAppServerInfo().GetServerUrl(), "http://127.0.0.1:8") {
		t.Errorf("CreateApp() = %v, %v, want a port of its own", made, err)
	}
	may, err := registryv1.NewAccessServiceClient(conn).CanViewerDo(ctx, &registryv1.CanViewerDoRequest{
		ResourceName: "MCP_APP:" + made.GetApp().GetAppId(), Actions: []string{"MANAGE:MCP_APP"},
	})
	if err != nil || !may.GetCanDoActions()[0].GetCanDoAction() {
		t.Errorf("CanViewerDo() = %v, %v, want yes", may, err)
	}
}

// live is a scheduler for which every version is live at once.
type live struct {
	schedulerv1.UnimplementedDeploymentsServiceServer
}

func (live) Deploy(context.Context, *schedulerv1.DeployRequest) (*schedulerv1.DeployResponse, error) {
	return registrytest.Live(), nil
}

// News of the scheduler reach the room over the bus, and those of the room leave it.
func TestNewsTravel(t *testing.T) {
	t.Parallel()
	b := bustest.New(t)
	dir, data := grpctest.SocketDir(t), t.TempDir()
	grpctest.ServeAt(t, dir, "secretsbroker", func(s grpc.ServiceRegistrar) { secretsv1.RegisterSecretsServiceServer(s, &registrytest.Secrets{}) })
	grpctest.ServeAt(t, dir, "scheduler", func(s grpc.ServiceRegistrar) { schedulerv1.RegisterDeploymentsServiceServer(s, live{}) })
	cfg := registry.Defaults()
	cfg.AppDomain, cfg.BootstrapKeyFile = "apps.test", filepath.Join(data, "key.json")
	env := newEnv(t, dir, data)
	env.Bus = b
	room, err := registry.New(t.Context(), cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	grpctest.ServeRoom(t, dir, room, env)
	conn := grpctest.Dial(t, dir, "registry")
	ctx, apps := admin(t, conn, cfg.BootstrapKeyFile), registryv1.NewAppsServiceClient(conn)
	app := online(ctx, t, apps)

	publish(t, b, &schedulerv1.EndpointChanged{TargetId: app, Ready: false})
	eventually(t, "the app is offline", func() bool {
		res, err := apps.GetApp(ctx, &registryv1.GetAppRequest{AppId: app})
		return err == nil && res.GetApp().GetAppServerInfo().GetStatus() == registryv1.AppServerStatus_APP_SERVER_STATUS_OFFLINE
	})
	gone := make(chan string, 1)
	listening, stop := context.WithCancel(t.Context())
	defer stop()
	go func() {
		_ = b.Consume(listening, "test", func(_ context.Context, event proto.Message) error {
			gone <- event.(*registryv1.AppDeleted).GetAppId()
			return nil
		}, &registryv1.AppDeleted{})
	}()
	if _, err := apps.DeleteApp(ctx, &registryv1.DeleteAppRequest{AppId: app}); err != nil {
		t.Fatal(err)
	}
	select {
	case got := <-gone:
		if got != app {
			t.Errorf("the bus says that %s is gone, want %s", got, app)
		}
	case <-time.After(30 * time.Second):
		t.Error("the bus does not say that the app is gone")
	}
}

// online makes an app with a live version.
func online(ctx context.Context, t *testing.T, apps registryv1.AppsServiceClient) string {
	t.Helper()
	made, err := apps.CreateApp(ctx, &registryv1.CreateAppRequest{Name: "finder"})
	if err != nil {
		t.Fatal(err)
	}
	app := made.GetApp().GetAppId()
	if _, err := apps.RecordUpload(ctx, &registryv1.RecordUploadRequest{AppId: app, BundleId: id.Bundle.New()}); err != nil {
		t.Fatal(err)
	}
	if _, err := apps.DeployApp(ctx, &registryv1.DeployAppRequest{AppId: app}); err != nil {
		t.Fatal(err)
	}
	return app
}

// publish stores an event as a relay of another room does.
func publish(t *testing.T, b *bus.Bus, event proto.Message) {
	t.Helper()
	subject, err := bus.Subject(event)
	if err != nil {
		t.Fatal(err)
	}
	payload, err := proto.Marshal(event)
	if err != nil {
		t.Fatal(err)
	}
	if err := b.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := b.JetStream().Publish(t.Context(), subject, payload, jetstream.WithMsgID(id.Event.New())); err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !holds(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
		time.Sleep(5 * time.Millisecond) //nolint:forbidigo // waits on a condition
	}
}
