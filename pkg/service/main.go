package service

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/config"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/observe"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// Settings are what every process has besides its room's own.
type Settings struct {
	// Listen is where the room answers: "unix:/path" (the default: a socket in
	// mesh_dir) or "host:port".
	Listen string `koanf:"listen"`
	// MeshDir is the folder of the rooms' sockets.
	MeshDir string `koanf:"mesh_dir"`
	// Mesh gives each neighbour's host:port instead.
	Mesh map[string]string `koanf:"mesh"`
	// NATS is the URL of the bus.
	NATS string `koanf:"nats"`
	// NATSTokenFile holds a token for the bus; empty: none.
	NATSTokenFile string `koanf:"nats_token_file"`
	// NATSReplicas is how many servers keep each stream.
	NATSReplicas int `koanf:"nats_replicas"`
	// Database is the room's own; empty: a SQLite file in data_dir.
	Database string `koanf:"database"`
	// DataDir is the room's own folder.
	DataDir string `koanf:"data_dir"`
	// Health is where GET /healthz and /readyz answer, "host:port"; empty: nowhere.
	Health string `koanf:"health"`
	// LogLevel is debug, info, warn or error.
	LogLevel string `koanf:"log_level"`
	// LogFormat is json or text.
	LogFormat string `koanf:"log_format"`
	// Drain is how long calls may take to finish at the end.
	Drain time.Duration `koanf:"drain"`
}

func defaultSettings() Settings {
	return Settings{NATS: "nats://127.0.0.1:4222", NATSReplicas: 1, LogLevel: "info", LogFormat: "json", Drain: defaultDrain}
}

// all is the shape of a settings file: the common keys, and the room's under its name.
type all[C any] struct {
	Common Settings `koanf:"service"`
	Room   C        `koanf:"room"`
}

// Validate lets the room's own settings speak.
func (a *all[C]) Validate() error {
	if v, ok := any(a.Room).(config.Validator); ok {
		return v.Validate()
	}
	if v, ok := any(&a.Room).(config.Validator); ok {
		return v.Validate()
	}
	return nil
}

// Main is a room's whole main function. It ends the process: 0 after a drain, 1 when
// the room broke, 2 when the settings are wrong.
func Main[C any](name string, defaults C, build Constructor[C]) {
	os.Exit(run(name, defaults, build, os.Args[1:], os.Stdout, os.Stderr))
}

func run[C any](name string, defaults C, build Constructor[C], args []string, out, errOut io.Writer) int {
	settings := all[C]{Common: defaultSettings(), Room: defaults}
	err := parse(name, &settings, args, out)
	if errors.Is(err, flag.ErrHelp) {
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

func parse[C any](name string, settings *all[C], args []string, out io.Writer) error {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(out)
	file := flags.String("config", "", "YAML `file` with the settings")
	version := flags.Bool("version", false, "print the version and exit")
	var set []string
	flags.Func("set", "one setting as `key=value`; may be repeated", func(s string) error { set = append(set, s); return nil })
	prefix := "AGENTCLOUD_" + strings.ToUpper(name) + "_"
	flags.Usage = func() { usage(flags, out, name, prefix, settings) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; see --help", flags.Arg(0))
	}
	if *version {
		_, _ = fmt.Fprintln(out, Version())
		return flag.ErrHelp
	}
	return config.Load(settings, config.Sources{File: *file, EnvPrefix: prefix, Environ: config.Environ(), Set: set})
}

func usage(flags *flag.FlagSet, out io.Writer, name, prefix string, settings any) {
	_, _ = fmt.Fprintf(out, "%s is one room of MCP Agent Cloud.\n\nFlags:\n", name)
	flags.PrintDefaults()
	_, _ = fmt.Fprintf(out, "\nSettings, with their defaults (also as environment variables, for example %sSERVICE__LISTEN):\n", prefix)
	for _, line := range config.Describe(settings) {
		_, _ = fmt.Fprintln(out, "  "+line)
	}
}

// Version is what the binary was built from.
func Version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
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
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return Serve(ctx, lis, svc, env, ServeOptions{Drain: common.Drain}) })
	if common.Health != "" {
		group.Go(func() error { return serveHealth(ctx, common.Health, svc) })
	}
	return group.Wait()
}

func environment(name string, common Settings, log *slog.Logger) (Env, func(), error) {
	if common.DataDir == "" {
		return Env{}, nil, errors.New("service.data_dir is needed: the folder for this room's files")
	}
	if err := os.MkdirAll(common.DataDir, 0o700); err != nil {
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
	dsn := common.Database
	if dsn == "" {
		dsn = "sqlite:" + filepath.Join(common.DataDir, name+".db")
	}
	open := func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
		return sqldb.Open(ctx, dsn, migrations)
	}
	env := Env{Name: name, Log: log, Mesh: dialer, Bus: b, OpenDB: open, DataDir: common.DataDir, Now: time.Now}
	return env, func() { _ = dialer.Close(); b.Close() }, nil
}

func listen(name string, common Settings) (net.Listener, error) {
	if path, ok := strings.CutPrefix(common.Listen, "unix:"); ok {
		return mesh.Listen(filepath.Dir(path), strings.TrimSuffix(filepath.Base(path), ".sock"))
	}
	if common.Listen != "" {
		return net.Listen("tcp", common.Listen)
	}
	if common.MeshDir == "" {
		return nil, errors.New("service.listen or service.mesh_dir is needed: where this room answers")
	}
	return mesh.Listen(common.MeshDir, name)
}

// serveHealth answers probes that speak HTTP.
func serveHealth(ctx context.Context, address string, svc Service) error {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		err := readiness(r.Context(), svc)
		if ctx.Err() != nil {
			err = errors.New("draining")
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "ready\n")
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(defaultDrain, func() { _ = server.Close() }) })
	defer stop()
	go func() { <-ctx.Done(); _ = server.Shutdown(context.WithoutCancel(ctx)) }()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("health listener: %w", err)
	}
	return nil
}
