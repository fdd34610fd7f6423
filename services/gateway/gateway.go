// Package gateway is the room that speaks every foreign dialect: REST, the upload
// dialect, the sign-in page, and MCP for the apps. It holds nothing durable but the keys
// that seal what clients keep for it; sessions are in NATS and questions wait in the
// scheduler.
package gateway

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/approve"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/signin"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/wrangler"
)

// Config is the room's settings.
type Config struct {
	HTTP   string          `koanf:"http" help:"HOST:PORT of the API, the upload service and the apps under a domain"`
	Edge   edge.Config     `koanf:"edge"`
	Upload wrangler.Limits `koanf:"upload"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{HTTP: "127.0.0.1:8080", Edge: edge.Defaults(), Upload: wrangler.Defaults()}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	var errs []error
	for name, address := range map[string]string{"http": c.HTTP, "edge.callbacks": c.Edge.Callbacks} {
		if _, _, err := net.SplitHostPort(address); err != nil {
			errs = append(errs, fmt.Errorf("%s is %q; write host:port", name, address))
		}
	}
	if c.Edge.QuestionWait <= 0 {
		errs = append(errs, fmt.Errorf("edge.question_wait is %s; write a duration above 0", c.Edge.QuestionWait))
	}
	if c.Edge.Outcomes <= 0 {
		errs = append(errs, fmt.Errorf("edge.outcomes is %s; write a duration above 0", c.Edge.Outcomes))
	}
	if c.Edge.WakeWaiters < 1 {
		errs = append(errs, fmt.Errorf("edge.wake_waiters is %d; at least one call must be able to wait", c.Edge.WakeWaiters))
	}
	return errors.Join(append(errs, c.Edge.Limits.Validate())...)
}

type room struct {
	env       service.Env
	cfg       Config
	auth      *auth.Auth
	edge      *edge.Edge
	api       http.Handler
	listening net.Listener
}

// conns are the rooms behind this one.
type conns struct {
	registry, scheduler, builder, secrets, telemetry *grpc.ClientConn
}

func dial(env service.Env) (conns, error) {
	var c conns
	for name, conn := range map[string]**grpc.ClientConn{
		"registry": &c.registry, "scheduler": &c.scheduler, "builder": &c.builder, "secretsbroker": &c.secrets, "telemetry": &c.telemetry,
	} {
		dialled, err := env.Mesh.Dial(name)
		if err != nil {
			return conns{}, err
		}
		*conn = dialled
	}
	return c, nil
}

// New builds the room. It listens at once, so that nobody is refused while the rest starts.
func New(ctx context.Context, cfg Config, env service.Env) (service.Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	to, err := dial(env)
	if err != nil {
		return nil, err
	}
	ring, err := seal.Load(cmp.Or(cfg.Edge.SealKeys, filepath.Join(env.DataDir, "seal.keys")))
	if err != nil {
		return nil, err
	}
	who := auth.New(registryv1.NewAccountsServiceClient(to.registry))
	r := &room{env: env, cfg: cfg, auth: who, edge: edge.New(edge.Deps{
		Log: env.Log, Auth: who, Bus: env.Bus, Config: cfg.Edge, Seal: ring,
		Limits: registryv1.NewLimitsServiceClient(to.registry), Registry: registryv1.NewAppsServiceClient(to.registry), Scheduler: schedulerv1.NewDeploymentsServiceClient(to.scheduler),
		Runs: schedulerv1.NewRunsServiceClient(to.scheduler), Calls: schedulerv1.NewCallsServiceClient(to.scheduler), Sleep: schedulerv1.NewSleepServiceClient(to.scheduler), Outcomes: schedulerv1.NewRolloutOutcomesServiceClient(to.scheduler), Telemetry: telemetryv1.NewLogsServiceClient(to.telemetry),
	})}
	if r.api, err = r.routes(ctx, to, ring); err != nil {
		return nil, err
	}
	var config net.ListenConfig
	if r.listening, err = config.Listen(ctx, "tcp", cfg.HTTP); err != nil {
		return nil, fmt.Errorf("http: %w", err)
	}
	return r, nil
}

// routes are the paths of the platform itself.
func (r *room) routes(ctx context.Context, to conns, ring *seal.Ring) (http.Handler, error) {
	api, err := rest.New(ctx, rest.Conns{Registry: to.registry, Scheduler: to.scheduler, Secrets: to.secrets, Telemetry: to.telemetry}, r.auth)
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle(rest.Prefix+"/", api)
	mux.Handle(signin.Path, signin.New(r.auth, registryv1.NewAccountsServiceClient(to.registry)))
	mux.Handle(wrangler.Prefix, wrangler.New(wrangler.Deps{
		Auth: r.auth, Registry: registryv1.NewAppsServiceClient(to.registry),
		Bundles: builderv1.NewBundlesServiceClient(to.builder), Secrets: secretsv1.NewSecretsServiceClient(to.secrets), Limits: r.cfg.Upload,
	}))
	approve.New(approve.Deps{Auth: r.auth, Runs: schedulerv1.NewRunsServiceClient(to.scheduler), Seal: ring, Now: r.env.Now}).Routes(mux)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("ok\n")) })
	mux.HandleFunc("GET /readyz", r.readyz)
	mux.HandleFunc("/", welcome)
	return mux, nil
}

// Register serves no contract: this room is called over HTTP only.
func (r *room) Register(grpc.ServiceRegistrar) {}

// Ready fails while the table of apps and the limits have not been read.
func (r *room) Ready(context.Context) error {
	if !r.edge.Ready() {
		return fault.Unavailable.Errorf("the table of apps and the limits have not been read yet")
	}
	return nil
}

// Run serves HTTP, the apps and what agents phone home.
func (r *room) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.edge.Run(ctx) })
	group.Go(func() error { return r.auth.Run(ctx, r.env.Bus) })
	group.Go(func() error { return r.serveHTTP(ctx) })
	return group.Wait()
}
