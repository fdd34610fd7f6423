// Package builder is the room that turns source bundles into artifacts: it takes in
// files, plans, installs packages with uv and npm, and keeps what versions need.
package builder

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/artifact"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/bundle"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// Config is the room's settings.
type Config struct {
	// Bundle bounds uploads.
	Bundle        bundle.Limits `koanf:"bundle"`
	UploadTimeout time.Duration `koanf:"upload_timeout" help:"how long one upload may take"`
	// Engine is how packages are resolved and installed.
	Engine   engine.Config `koanf:"engine"`
	Parallel int           `koanf:"parallel" help:"how many builds run at a time; others wait"`
	Abandon  time.Duration `koanf:"abandon" help:"how long a build goes on after its last listener has left"`
	Grace    time.Duration `koanf:"grace" help:"how old a thing must be before it is garbage, whatever the caller says"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{
		Bundle: bundle.DefaultLimits(), UploadTimeout: 10 * time.Minute, Engine: engine.Defaults(),
		Parallel: 2, Abandon: 30 * time.Second, Grace: time.Hour,
	}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	if c.Parallel < 1 {
		return fmt.Errorf("parallel is %d; at least one build must be able to run", c.Parallel)
	}
	if c.UploadTimeout <= 0 || c.Abandon < 0 || c.Grace < c.Engine.Deadline {
		return fmt.Errorf("upload_timeout must be above zero and grace (%s) at least the engine's deadline (%s)", c.Grace, c.Engine.Deadline)
	}
	return errors.Join(c.Bundle.Validate(), c.Engine.Validate())
}

type room struct {
	bundles *bundle.Service
	builds  *artifact.Service
	disk    *disk.Disk
}

// New builds the room.
func New(ctx context.Context, cfg Config, env service.Env) (service.Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	files, err := disk.Open(env.DataDir)
	if err != nil {
		return nil, err
	}
	db, err := env.OpenDB(ctx, store.Migrations())
	if err != nil {
		return nil, errors.Join(err, files.Close())
	}
	memory := store.New(db)
	packages := engine.New(cfg.Engine, engine.Deps{Store: memory, Disk: files, Now: env.Now, Environ: os.Environ()})
	return &room{
		disk: files,
		bundles: bundle.NewService(bundle.Deps{
			Store: memory, Disk: files, Limits: cfg.Bundle, Timeout: cfg.UploadTimeout, Now: env.Now, NewID: id.Bundle.New,
		}),
		builds: artifact.NewService(artifact.Deps{
			Store: memory, Disk: files, Engine: packages, Publish: env.Bus.PublishLogs, Log: env.Log, Now: env.Now, NewID: id.Line.New,
			Options: artifact.Options{
				Prefer: cfg.Engine.PreferPythons, NodeScripts: cfg.Engine.NodeScripts, Deadline: cfg.Engine.Deadline, Parallel: cfg.Parallel,
				Abandon: cfg.Abandon, Grace: cfg.Grace, ResolutionAge: cfg.Engine.ResolutionAge,
			},
		}),
	}, nil
}

// Register serves the contracts.
func (r *room) Register(s grpc.ServiceRegistrar) {
	builderv1.RegisterBundlesServiceServer(s, r.bundles)
	builderv1.RegisterBuildsServiceServer(s, r.builds)
}

// Run waits for the end and for builds to be killed.
func (r *room) Run(ctx context.Context) error {
	return errors.Join(r.builds.Run(ctx), r.disk.Close())
}

// Drain lets running builds finish as long as there is time.
func (r *room) Drain(ctx context.Context) error { return r.builds.Drain(ctx) }
