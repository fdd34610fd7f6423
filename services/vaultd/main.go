// Command vaultd is a HashiCorp Vault server as one program, for tests and for those
// who want Vault on a laptop: KV, transit and AppRole, in memory or in a folder,
// unsealed by itself on loopback.
//
// It is no production server: whoever reads the folder has the unseal key. It is a
// module of its own, built on request, because Vault's licence (BUSL 1.1) and its
// dependencies must reach no other program of this project.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/mcpagentcloud/agentcloud/services/vaultd/internal/server"
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	var cfg server.Config
	flags := flag.NewFlagSet("vaultd", flag.ContinueOnError)
	flags.StringVar(&cfg.Listen, "listen", "127.0.0.1:8200", "`address`; port 0 picks a free one")
	flags.StringVar(&cfg.Data, "data", "", "`folder` of everything durable; empty: in memory")
	flags.StringVar(&cfg.ReadyFile, "ready-file", "", "`file` to write the address and the root token to, as JSON, once it serves (mode 0600)")
	flags.StringVar(&cfg.LogLevel, "log-level", "error", "debug, info, warn or error")
	if err := flags.Parse(args); err != nil {
		return 2 // the flag package has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := server.Run(ctx, cfg); err != nil {
		_, _ = fmt.Fprintf(os.Stderr, "vaultd: %v\n", err)
		return 1
	}
	return 0
}
