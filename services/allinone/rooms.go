package allinone

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/config"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/builder"
	"github.com/mcpagentcloud/agentcloud/services/gateway"
	"github.com/mcpagentcloud/agentcloud/services/registry"
	"github.com/mcpagentcloud/agentcloud/services/scheduler"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker"
	"github.com/mcpagentcloud/agentcloud/services/telemetry"
)

// roomNames are all rooms.
var roomNames = []string{"telemetry", "secretsbroker", "builder", "scheduler", "registry", "gateway"}

// overrides are what a cloud on one machine sets otherwise than the rooms' defaults.
func (c *cloud) overrides() map[string][]string {
	return map[string][]string{
		"gateway":   {"http=" + c.ports.HTTP, "edge.callbacks=" + c.ports.Callbacks},
		"registry":  {"bootstrap_key_file=" + c.folder.path("admin-key.json")},
		"scheduler": {"temporal.address=" + c.ports.Temporal, "callback_url=http://" + c.ports.Callbacks},
	}
}

// rooms are the parts that serve the contracts, in this process or in six.
func (c *cloud) rooms() (map[string]part, error) {
	set, err := c.settings()
	if err != nil {
		return nil, err
	}
	if c.cfg.Processes {
		return c.processes(set)
	}
	return map[string]part{
		"gateway":       room(c, "gateway", set, gateway.Defaults(), gateway.New),
		"registry":      room(c, "registry", set, registry.Defaults(), registry.New),
		"scheduler":     room(c, "scheduler", set, scheduler.Defaults(), scheduler.New),
		"builder":       room(c, "builder", set, builder.Defaults(), builder.New),
		"secretsbroker": room(c, "secretsbroker", set, secretsbroker.Defaults(), secretsbroker.New),
		"telemetry":     room(c, "telemetry", set, telemetry.Defaults(), telemetry.New),
	}, nil
}

// settings adds what people asked for to our own.
func (c *cloud) settings() (map[string][]string, error) {
	set := c.overrides()
	for _, entry := range c.cfg.Set {
		name, rest, ok := strings.Cut(entry, ".")
		known := false
		for _, room := range roomNames {
			known = known || room == name
		}
		if !ok || !known || !strings.Contains(rest, "=") {
			return nil, fmt.Errorf("--set %s: write room.key=value; the rooms are %s", entry, strings.Join(roomNames, ", "))
		}
		set[name] = append(set[name], rest)
	}
	return set, nil
}

// room runs one room in this process.
func room[C any](c *cloud, name string, set map[string][]string, cfg C, build service.Constructor[C]) part {
	return part{name: name, run: func(ctx context.Context) error {
		if err := config.Load(&cfg, config.Sources{Set: set[name]}); err != nil {
			return err
		}
		env, done, err := c.env(name)
		if err != nil {
			return err
		}
		defer done()
		svc, err := build(ctx, cfg, env)
		if err != nil {
			return err
		}
		lis, err := mesh.Listen(c.folder.run, name)
		if err != nil {
			return err
		}
		return service.Serve(ctx, lis, svc, env, service.ServeOptions{})
	}}
}

// env is what a room gets from a laptop.
func (c *cloud) env(name string) (service.Env, func(), error) {
	log, err := c.folder.logger(name, c.cfg.LogLevel)
	if err != nil {
		return service.Env{}, nil, err
	}
	dir := c.folder.path(name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return service.Env{}, nil, err
	}
	b, err := bus.Connect(bus.Options{Name: name, Log: log, Settle: busSettle, NATS: []nats.Option{c.bus.inProcess()}})
	if err != nil {
		return service.Env{}, nil, err
	}
	dialer := mesh.Sockets(c.folder.run).Within(c.process)
	open := func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
		return sqldb.Open(ctx, "sqlite:"+c.folder.path(name, name+".db"), migrations)
	}
	env := service.Env{Name: name, Log: log, Mesh: dialer, Process: c.process, Bus: b, OpenDB: open, DataDir: dir, Now: time.Now}
	return env, func() { closeEnv(log, dialer, b) }, nil
}

func closeEnv(log *slog.Logger, dialer *mesh.Dialer, b *bus.Bus) {
	if err := dialer.Close(); err != nil {
		log.Warn("close connections", "error", err)
	}
	b.Close()
}
