package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/observe"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Main is a room's whole main function. It ends the process: 0 after a drain, 1 when
// the room broke, 2 when the settings are wrong.
func Main[C any](name string, defaults C, build Constructor[C]) {
	os.Exit(run(name, defaults, build, os.Args[1:], os.Stdout, os.Stderr))
}

func run[C any](name string, defaults C, build Constructor[C], args []string, out, errOut io.Writer) int {
	settings := all[C]{Common: DefaultSettings(), Room: defaults}
	err := parse(name, &settings, args, out)
	if errors.Is(err, errAnswered) {
		return 0
	}
	if err != nil {
		_, _ = fmt.Fprintf(errOut, "%s: %v\n", name, err)
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := start(ctx, name, settings.Common, settings.Room, build); err != nil {
		_, _ = fmt.Fprintf(errOut, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

func start[C any](ctx context.Context, name string, common Settings, room C, build Constructor[C]) error {
	log, err := observe.NewLogger(name, observe.Options{Level: common.LogLevel, Format: common.LogFormat})
	if err != nil {
		return err
	}
	flush, err := observe.Setup(ctx, name)
	if err != nil {
		return err
	}
	defer flush(context.WithoutCancel(ctx)) //nolint:errcheck // nobody is left to tell
	var health probes
	stopHealth, err := health.start(ctx, common.Health)
	if err != nil {
		return err
	}
	defer stopHealth()
	env, closeEnv, err := environment(name, common, log)
	if err != nil {
		return err
	}
	defer closeEnv()
	svc, err := build(ctx, room, env)
	if err != nil {
		return err
	}
	lis, err := listen(name, common)
	if err != nil {
		return err
	}
	log.InfoContext(ctx, "serving", "address", lis.Addr().String())
	health.serving(func(ctx context.Context) error { return readiness(ctx, svc) })
	defer context.AfterFunc(ctx, func() { health.serving(nil) })()
	return Serve(ctx, lis, svc, env, ServeOptions{Drain: common.Drain})
}

func environment(name string, common Settings, log *slog.Logger) (Env, func(), error) {
	if err := os.MkdirAll(common.DataDir, 0o700); err != nil {
		return Env{}, nil, err
	}
	dsn, err := common.dsn(name)
	if err != nil {
		return Env{}, nil, err
	}
	options, err := natsOptions(common)
	if err != nil {
		return Env{}, nil, err
	}
	b, err := bus.Connect(bus.Options{URL: common.NATS, Name: name, Log: log, NATS: options, Replicas: common.NATSReplicas})
	if err != nil {
		return Env{}, nil, err
	}
	dialer := mesh.Sockets(common.MeshDir)
	if len(common.Mesh) > 0 {
		dialer = mesh.Addresses(common.Mesh)
	}
	open := func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
		return sqldb.Open(ctx, dsn, migrations)
	}
	env := Env{Name: name, Log: log, Mesh: dialer, Bus: b, OpenDB: open, DataDir: common.DataDir, Now: time.Now}
	return env, func() { _ = dialer.Close(); b.Close() }, nil
}

func listen(name string, common Settings) (net.Listener, error) {
	if path, ok := strings.CutPrefix(common.Listen, "unix:"); ok {
		return mesh.ListenUnix(filepath.Clean(path))
	}
	if common.Listen != "" {
		return net.Listen("tcp", common.Listen)
	}
	return mesh.Listen(common.MeshDir, name)
}
