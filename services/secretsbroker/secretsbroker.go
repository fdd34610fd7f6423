// Package secretsbroker is the room that keeps secret values: it stands before
// Vault, or before a sealed store of its own on a laptop.
package secretsbroker

import (
	"context"
	"fmt"
	"path/filepath"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/secrets"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/embedded"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault/hashicorp"
)

// Config is the room's settings.
type Config struct {
	Driver        string `koanf:"driver" help:"where values are kept: embedded or hashicorp"`
	MasterKeyFile string `koanf:"master_key_file" help:"seals the embedded store; empty: master-key.json in the data folder"`
	// Hashicorp says where Vault (or OpenBao) is.
	Hashicorp hashicorp.Config `koanf:"hashicorp"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{Driver: "embedded", Hashicorp: hashicorp.Defaults()}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	switch c.Driver {
	case "embedded":
		return nil
	case "hashicorp":
		return c.Hashicorp.Validate()
	}
	return fmt.Errorf("driver is %q; use \"embedded\" or \"hashicorp\"", c.Driver)
}

type room struct {
	service *secrets.Service
	vault   vault.Vault
	env     service.Env
	db      *sqldb.DB
}

// New builds the room.
func New(ctx context.Context, cfg Config, env service.Env) (service.Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	db, err := env.OpenDB(ctx, store.Migrations())
	if err != nil {
		return nil, err
	}
	values, err := openVault(ctx, cfg, env)
	if err != nil {
		return nil, err
	}
	deps := secrets.Deps{Store: store.New(db), Vault: values, Log: env.Log, Now: env.Now}
	return &room{service: secrets.NewService(deps), vault: values, env: env, db: db}, nil
}

// openVault chooses the driver.
func openVault(ctx context.Context, cfg Config, env service.Env) (vault.Vault, error) {
	if cfg.Driver == "hashicorp" {
		return hashicorp.New(cfg.Hashicorp, env.Log)
	}
	db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(env.DataDir, "vault.db"), embedded.Migrations())
	if err != nil {
		return nil, err
	}
	keyFile := cfg.MasterKeyFile
	if keyFile == "" {
		keyFile = filepath.Join(env.DataDir, "master-key.json")
	}
	return embedded.Open(ctx, db, keyFile)
}

// Register serves the contract.
func (r *room) Register(s grpc.ServiceRegistrar) {
	secretsv1.RegisterSecretsServiceServer(s, r.service)
}

// Ready fails while values cannot be read.
func (r *room) Ready(ctx context.Context) error { return r.vault.Ready(ctx) }

// Run keeps the vault signed in, the outbox empty and half-done work finished.
func (r *room) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.vault.Run(ctx) })
	group.Go(func() error { return r.service.Run(ctx) })
	group.Go(func() error { return r.env.Bus.Relay(ctx, r.db) })
	return group.Wait()
}
