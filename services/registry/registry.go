// Package registry is the room that knows what should be: organisations, users,
// keys, apps, versions, configurations, addresses, limits. It does not know how anything runs.
package registry

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/access"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/accounts"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/apps"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/limits"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// Config is the room's settings.
type Config struct {
	AppDomain        string `koanf:"app_domain" help:"wildcard domain of app addresses, for example apps.example.com; empty: a port per app on loopback"`
	AppScheme        string `koanf:"app_scheme" help:"how apps are reached under the domain: https or http"`
	AppPublicPort    int    `koanf:"app_public_port" help:"added to addresses under the domain; 0: the scheme's own"`
	AppHost          string `koanf:"app_host" help:"loopback address of apps that have a port each"`
	AppPorts         string `koanf:"app_ports" help:"range of such ports, FIRST-LAST"`
	BootstrapKeyFile string `koanf:"bootstrap_key_file" help:"file that gets the key of the first administrator; empty: none is made"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{AppScheme: "https", AppHost: "127.0.0.1", AppPorts: "8100-8999"}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	if c.AppDomain != "" {
		return c.validateDomain()
	}
	if ip := net.ParseIP(c.AppHost); ip == nil || !ip.IsLoopback() {
		return errors.New("app_host must be a loopback address; for any other, configure app_domain")
	}
	_, _, err := apps.ParsePorts(c.AppPorts)
	return err
}

func (c Config) validateDomain() error {
	switch {
	case c.AppDomain != strings.ToLower(c.AppDomain) || strings.ContainsAny(c.AppDomain, "/:* "):
		return fmt.Errorf("app_domain is %q; write a plain lower-case domain, for example apps.example.com", c.AppDomain)
	case c.AppScheme != "https" && c.AppScheme != "http":
		return errors.New("app_scheme is https or http")
	case c.AppPublicPort < 0 || c.AppPublicPort > 65535:
		return fmt.Errorf("app_public_port is %d; write a port, or 0 for the scheme's own", c.AppPublicPort)
	}
	return nil
}

func (c Config) places() apps.Places {
	first, last, _ := apps.ParsePorts(c.AppPorts) // Validate has read it
	return apps.Places{
		Scheme: c.AppScheme, Domain: c.AppDomain, PublicPort: c.AppPublicPort,
		Host: c.AppHost, FirstPort: first, LastPort: last,
	}
}

type room struct {
	env      service.Env
	db       *sqldb.DB
	apps     *apps.Service
	accounts *accounts.Service
	access   *access.Service
	limits   *limits.Service
}

// New builds the room and makes the first administrator's key.
func New(ctx context.Context, cfg Config, env service.Env) (service.Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	db, err := env.OpenDB(ctx, store.Migrations())
	if err != nil {
		return nil, err
	}
	scheduler, err := env.Mesh.Dial("scheduler")
	if err != nil {
		return nil, err
	}
	secrets, err := env.Mesh.Dial("secretsbroker")
	if err != nil {
		return nil, err
	}
	rows := store.New(db)
	r := &room{
		env: env, db: db, access: access.NewService(rows),
		accounts: accounts.NewService(accounts.Deps{Store: rows, Now: env.Now}),
		apps: apps.NewService(apps.Deps{
			Store: rows, Scheduler: schedulerv1.NewDeploymentsServiceClient(scheduler), Versions: schedulerv1.NewVersionsServiceClient(scheduler),
			Rollouts: schedulerv1.NewRolloutsServiceClient(scheduler),
			Secrets:  secretsv1.NewSecretsServiceClient(secrets), Places: cfg.places(),
			Log: env.Log, Now: env.Now, Changed: apps.NewBroadcast(),
		}),
		limits: limits.NewService(limits.Deps{Store: rows, Now: env.Now, Changed: apps.NewBroadcast()}),
	}
	return r, r.accounts.Bootstrap(ctx, cfg.BootstrapKeyFile)
}

// Register serves the contracts.
func (r *room) Register(s grpc.ServiceRegistrar) {
	registryv1.RegisterAppsServiceServer(s, r.apps)
	registryv1.RegisterVersionsServiceServer(s, r.apps)
	registryv1.RegisterRolloutsServiceServer(s, r.apps)
	registryv1.RegisterAccountsServiceServer(s, r.accounts)
	registryv1.RegisterAccessServiceServer(s, r.access)
	registryv1.RegisterLimitsServiceServer(s, r.limits)
}

// Run sends and learns facts.
func (r *room) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.env.Bus.Relay(ctx, r.db) })
	group.Go(func() error { return r.apps.Run(ctx, r.env.Bus) })
	group.Go(func() error { return r.limits.Run(ctx, r.env.Bus) })
	return group.Wait()
}
