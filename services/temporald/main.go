// Command temporald is a Temporal server as one program: all four services and the
// Web UI in one process, on a SQLite file, on loopback.
//
// It is a module of its own, outside the workspace: Temporal's server needs older
// OpenTelemetry packages than the rest of the project, and a workspace has one
// build list.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/mcpagentcloud/agentcloud/services/temporald/internal/server"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	if len(args) == 1 && args[0] == "version" {
		fmt.Println(version())
		return 0
	}
	cfg, err := parse(args)
	if err != nil {
		return 2 // the flag package has said why
	}
	// The supervisor's death must not leave a server behind that holds the file.
	server.DieWithParent()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := server.Run(ctx, cfg); err != nil {
		fmt.Fprintf(os.Stderr, "temporald: %v\n", err)
		return 1
	}
	return 0
}

func parse(args []string) (server.Config, error) {
	var cfg server.Config
	flags := flag.NewFlagSet("temporald", flag.ContinueOnError)
	flags.StringVar(&cfg.Database, "db", "", "SQLite `file`; made when it is not there")
	flags.StringVar(&cfg.GRPC, "grpc", "127.0.0.1:7233", "`address` of the frontend; port 0 picks a free one")
	flags.StringVar(&cfg.UI, "http-ui", "", "`address` of the Web UI; empty: none; port 0 picks a free one")
	flags.StringVar(&cfg.ReadyFile, "ready-file", "", "`file` to write the addresses to, as JSON, once the frontend serves")
	flags.StringVar(&cfg.LogLevel, "log-level", "error", "debug, info, warn or error")
	flags.Func("namespace", "a namespace to have from the start; may be repeated", func(s string) error {
		cfg.Namespaces = append(cfg.Namespaces, s)
		return nil
	})
	if err := flags.Parse(args); err != nil {
		return cfg, err
	}
	if cfg.Database == "" {
		fmt.Fprintln(os.Stderr, "temporald: -db FILE is needed: where the server keeps its state")
		return cfg, flag.ErrHelp
	}
	return cfg, nil
}

func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	for _, dep := range info.Deps {
		if dep.Path == "go.temporal.io/server" {
			return "temporald with Temporal " + dep.Version
		}
	}
	return "temporald"
}
