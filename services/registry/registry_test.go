package registry_test

import (
	"context"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
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

// The room works before any of its neighbours does.
func TestRoomAlone(t *testing.T) {
	t.Parallel()
	dir, data := grpctest.SocketDir(t), t.TempDir()
	dialer := mesh.Sockets(dir)
	t.Cleanup(func() { _ = dialer.Close() })
	env := service.Env{
		Name: "registry", Log: grpctest.Logger(t), Mesh: dialer, DataDir: data, Now: time.Now,
		OpenDB: func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
			db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(data, "registry.db"), migrations)
			if err == nil {
				t.Cleanup(func() { _ = db.Close() })
			}
			return db, err
		},
	}
	cfg := registry.Defaults()
	cfg.BootstrapKeyFile = filepath.Join(data, "key.json")
	room, err := registry.New(t.Context(), cfg, env)
	if err != nil {
		t.Fatal(err)
	}
	conn := grpctest.Serve(t, room.Register)
	known, err := registryv1.NewAccountsServiceClient(conn).Authenticate(t.Context(), &registryv1.AuthenticateRequest{ApiKey: registrytest.KeyIn(t, cfg.BootstrapKeyFile)})
	if err != nil || !known.GetUser().GetAdmin() {
		t.Fatalf("Authenticate(first key) = %v, %v, want an administrator", known, err)
	}
	ctx := principal.With(t.Context(), principal.Principal{Kind: principal.User, UserID: known.GetUser().GetUserId(), OrgID: known.GetUser().GetOrgId()})
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
