package server

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"

	"go.temporal.io/server/common/authorization"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/log"
	"go.temporal.io/server/common/membership/static"
	sqliteplugin "go.temporal.io/server/common/persistence/sql/sqlplugin/sqlite"
	"go.temporal.io/server/common/primitives"
	"go.temporal.io/server/schema/sqlite"
	"go.temporal.io/server/temporal"
)

// Run starts the server, says so in the ready file, and stops it when ctx ends.
func Run(ctx context.Context, cfg Config) error {
	var err error
	if cfg.GRPC, err = withPort(cfg.GRPC); err != nil {
		return err
	}
	settings, err := serverConfig(cfg)
	if err != nil {
		return err
	}
	if err := prepare(ctx, cfg); err != nil {
		return err
	}
	srv, err := newServer(settings, cfg.LogLevel)
	if err != nil {
		return err
	}
	if err := srv.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	defer srv.Stop() //nolint:errcheck // the process ends
	done := make(chan error, 1)
	go func() { done <- checkpoints(ctx, cfg.Database) }()
	ui, err := startUI(cfg)
	if err != nil {
		return err
	}
	defer ui.stop()
	if err := announce(ctx, cfg, ui.address); err != nil {
		return err
	}
	return <-done // when ctx ends
}

func newServer(settings *config.Config, level string) (temporal.Server, error) {
	logger := log.NewZapLogger(log.BuildZapLogger(log.Config{Stdout: false, Level: level}))
	return temporal.NewServer(
		temporal.WithConfig(settings),
		temporal.ForServices(temporal.DefaultServices),
		temporal.WithStaticHosts(hosts(settings)),
		temporal.WithLogger(logger),
		temporal.WithDynamicConfigClient(dynamicConfig()),
		temporal.WithAuthorizer(authorization.NewNoopAuthorizer()),
		temporal.WithClaimMapper(func(*config.Config) authorization.ClaimMapper { return authorization.NewNoopClaimMapper() }),
	)
}

// hosts says that every service is here. Without that the server asks the database
// for its peers, finds its own former life, and tries to join it for half a minute.
func hosts(settings *config.Config) map[primitives.ServiceName]static.Hosts {
	all := map[primitives.ServiceName]static.Hosts{}
	for name, service := range settings.Services {
		address := net.JoinHostPort(settings.Global.Membership.BroadcastAddress, strconv.Itoa(service.RPC.GRPCPort))
		all[primitives.ServiceName(name)] = static.SingleLocalHost(address)
	}
	return all
}

// prepare makes the schema when there is no file, in a file beside it that takes
// its place when it is whole, and then the namespaces.
func prepare(ctx context.Context, cfg Config) error {
	_, err := os.Stat(cfg.Database)
	if errors.Is(err, os.ErrNotExist) {
		err = makeSchema(ctx, cfg.Database)
	}
	if err != nil {
		return fmt.Errorf("database %s: %w", cfg.Database, err)
	}
	namespaces := make([]*sqlite.NamespaceConfig, 0, len(cfg.Namespaces))
	for _, name := range cfg.Namespaces {
		namespace, err := sqlite.NewNamespaceConfig(clusterName, name, false, nil)
		if err != nil {
			return fmt.Errorf("namespace %s: %w", name, err)
		}
		namespaces = append(namespaces, namespace)
	}
	if err := sqlite.CreateNamespaces(database(cfg.Database, sqliteplugin.PluginName), namespaces...); err != nil {
		return fmt.Errorf("make namespaces: %w", err)
	}
	return nil
}

func makeSchema(ctx context.Context, file string) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	unfinished := file + ".new"
	if err := os.Remove(unfinished); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	store := database(unfinished, sqliteplugin.PluginName)
	store.ConnectAttributes["journal_mode"] = "delete" // so that one file holds everything
	if err := sqlite.SetupSchema(store); err != nil {
		return fmt.Errorf("make the schema: %w", err)
	}
	if err := improve(ctx, unfinished); err != nil {
		return fmt.Errorf("make the schema: %w", err)
	}
	return os.Rename(unfinished, file)
}
