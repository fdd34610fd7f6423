// Package telemetry is the room that keeps what was said: log lines of agents and
// builds, stored within bounds, found again, and followed live.
package telemetry

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/service"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/telemetry/internal/ingest"
	"github.com/mcpagentcloud/agentcloud/services/telemetry/internal/logs"
	"github.com/mcpagentcloud/agentcloud/services/telemetry/internal/store"
)

// Config is the room's settings.
type Config struct {
	// Retention bounds what is kept.
	Retention  store.Bounds  `koanf:"retention"`
	TrimEvery  time.Duration `koanf:"trim_every" help:"how often the bounds are enforced"`
	CatchUp    time.Duration `koanf:"catch_up" help:"how long a question waits for lines that are still on their way"`
	MaxReaders int           `koanf:"max_readers" help:"how many may follow logs at a time"`
}

// Defaults are the settings of a laptop.
func Defaults() Config {
	return Config{
		Retention: store.Bounds{Age: 14 * 24 * time.Hour, LinesPerTarget: 500_000, BytesPerTarget: 256 << 20, TotalBytes: 4 << 30},
		TrimEvery: time.Minute, CatchUp: 3 * time.Second, MaxReaders: 1000,
	}
}

// Validate says what is wrong with the settings.
func (c Config) Validate() error {
	var wrong error
	if c.TrimEvery <= 0 || c.CatchUp <= 0 || c.MaxReaders <= 0 {
		wrong = fmt.Errorf("trim_every, catch_up and max_readers must be above zero")
	}
	return errors.Join(wrong, c.Retention.Validate())
}

type room struct {
	cfg    Config
	env    service.Env
	store  *store.Store
	ingest *ingest.Ingest
	live   *logs.Live
	logs   *logs.Service
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
	memory := store.New(db)
	in := ingest.New(ingest.Deps{Bus: env.Bus, Store: memory, Log: env.Log, Age: cfg.Retention.Age})
	live := logs.NewLive(env.Bus.Conn(), cfg.MaxReaders)
	return &room{
		cfg: cfg, env: env, store: memory, ingest: in, live: live,
		logs: logs.NewService(logs.Deps{
			Store: memory, CatchUp: in.CatchUp, CatchUpLimit: cfg.CatchUp, Live: live, Log: env.Log, Now: env.Now,
		}),
	}, nil
}

// Register serves the contract.
func (r *room) Register(s grpc.ServiceRegistrar) { telemetryv1.RegisterLogsServiceServer(s, r.logs) }

// Ready fails while the database does not answer.
func (r *room) Ready(ctx context.Context) error { return r.store.Ready(ctx) }

// Run stores lines as they come and takes away what is out of bounds.
func (r *room) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.ingest.Run(ctx) })
	group.Go(func() error { r.trim(ctx); return nil })
	err := group.Wait()
	r.live.Close()
	return err
}

func (r *room) trim(ctx context.Context) {
	ticker := time.NewTicker(r.cfg.TrimEvery)
	defer ticker.Stop()
	for {
		if err := r.store.Trim(ctx, r.cfg.Retention, r.env.Now()); err != nil && ctx.Err() == nil {
			r.env.Log.WarnContext(ctx, "old log lines stay until the next try", "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
	}
}

// Drain ends the readers, who would hold the listener open for ever.
func (r *room) Drain(context.Context) error {
	r.live.Close()
	return nil
}
