package main

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpagentcloud/agentcloud/services/allinone"
	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// newUp brings the cloud up on this machine.
func newUp() *cobra.Command {
	var cfg allinone.Config
	var domain, appPorts, vault, vaultToken string
	cmd := &cobra.Command{
		Use: "up", Short: "Bring the whole cloud up on this machine and stay until Ctrl-C",
		Long: "Bring the whole cloud up on this machine and stay until Ctrl-C.\n\n" +
			"Everything durable is in the data folder. Started again, the cloud goes on where it was,\nrunning agents and workflows included.",
		Example: "  agentcloud up\n  agentcloud up --data ./cloud --http 127.0.0.1:9000",
		Args:    cobra.NoArgs,
	}
	flags := cmd.Flags()
	flags.StringVar(&cfg.Data, "data", localcloud.DefaultData(), "folder of everything durable")
	flags.StringVar(&cfg.HTTP, "http", "127.0.0.1:8080", "HOST:PORT of the API; port 0 takes a free one")
	flags.StringVar(&cfg.TemporalUI, "temporal-ui", "127.0.0.1:0", "HOST:PORT of Temporal's Web UI; empty: none")
	flags.StringVar(&domain, "app-domain", "", "wildcard domain of the apps' addresses; empty: a port per app on loopback")
	flags.StringVar(&appPorts, "app-ports", "8100-8999", "range of the apps' ports, FIRST-LAST")
	flags.StringVar(&vault, "vault", "", "address of a Vault or OpenBao server that keeps the secrets; empty: a sealed store in the data folder")
	flags.StringVar(&vaultToken, "vault-token-file", "", "file with a token for it; for AppRole use --set secretsbroker.hashicorp.role_id_file=… and secret_id_file")
	flags.BoolVar(&cfg.Processes, "processes", false, "run each room as a process of its own")
	flags.StringVar(&cfg.LogLevel, "log-level", "info", "debug, info, warn or error")
	flags.StringArrayVar(&cfg.Set, "set", nil, "one setting of a room as `room.key=value`; may be repeated")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if vaultToken != "" && vault == "" {
			return errors.New("--vault-token-file is for the server that --vault names; give both")
		}
		out := cmd.OutOrStdout()
		cfg.Progress = out
		cfg.Ready = func(here localcloud.Cloud) { announce(out, here) }
		cfg.Set = slices.Concat(addresses(domain, appPorts), vaultSettings(vault, vaultToken), cfg.Set)
		_, _ = fmt.Fprintf(out, "MCP Agent Cloud, data in %s\n", cfg.Data)
		return allinone.Up(cmd.Context(), cfg)
	}
	return cmd
}

func addresses(domain, ports string) []string {
	if domain != "" {
		return []string{"registry.app_domain=" + domain}
	}
	return []string{"registry.app_ports=" + ports}
}

func vaultSettings(address, tokenFile string) []string {
	if address == "" {
		return nil
	}
	set := []string{"secretsbroker.driver=hashicorp", "secretsbroker.hashicorp.address=" + address}
	if tokenFile != "" {
		set = append(set, "secretsbroker.hashicorp.token_file="+tokenFile)
	}
	return set
}

func announce(out io.Writer, here localcloud.Cloud) {
	_, _ = fmt.Fprintf(out, "\nThe cloud is up after %s.\n\n", here.Took.Round(time.Millisecond))
	_, _ = fmt.Fprintf(out, "  API        %s/api  (described by /api/openapi.json)\n", here.URL)
	_, _ = fmt.Fprintf(out, "  Sign in    %s/api/auth/signin\n", here.URL)
	if here.TemporalUI != "" {
		_, _ = fmt.Fprintf(out, "  Workflows  %s  (Temporal's Web UI)\n", here.TemporalUI)
	}
	_, _ = fmt.Fprintf(out, "  Logs       %s\n\nNext, in another terminal:\n\n", here.Logs)
	_, _ = fmt.Fprintf(out, "  eval \"$(agentcloud env --data %s)\"\n  mcp-agent deploy hello --working-dir examples/hello\n\nCtrl-C stops.\n", here.Data)
}
