package cli

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// need is a program that the cloud or its users want.
type need struct {
	Name string `json:"name"`
	// Why it is wanted, and Get how to have it.
	Why string `json:"why"`
	Get string `json:"get"`
	// Found is where it is and what version; empty when missing.
	Found string `json:"found"`
	// Required says that nothing runs without it.
	Required bool `json:"required"`

	own     bool
	version string
}

var needs = []need{
	{Name: "temporald", own: true, Required: true, Why: "keeps workflows", Get: "make build"},
	{Name: "python3", version: "--version", Required: true, Why: "runs agents", Get: "apt-get install python3 python3-venv, or uv python install"},
	{Name: "uv", own: true, version: "--version", Required: true, Why: "installs agents' packages", Get: "make setup, or pipx install uv"},
	{Name: "mcp-agent", own: true, version: "version", Why: "deploys agents (the public command line)", Get: "make setup, or uv tool install 'mcp-agent' --with 'mcp<2'"},
	{Name: "node", version: "--version", Why: "the public command line's uploader; Node servers, and those started by npx", Get: "apt-get install nodejs npm"},
	{Name: "runc", version: "--version", Why: "runs OCI images", Get: "apt-get install runc"},
	{Name: "npx", version: "--version", Why: "the public command line's uploader; MCP servers started by npx", Get: "apt-get install npm"},
	{Name: "git", version: "--version", Why: "source metadata of deploys", Get: "apt-get install git"},
}

func newDoctor() *cobra.Command {
	cmd := &cobra.Command{
		Use: "doctor", Short: "Say what is missing on this machine and how to get it", Args: cobra.NoArgs,
		Long: "Say what is missing on this machine and how to get it. Ends with 1 when something required is missing.",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		found, missing := examine(cmd.Context())
		err := show(cmd.OutOrStdout(), *format, found, func(out io.Writer) error { return table(out, lines(found)) })
		if missing {
			err = errors.Join(err, errors.New("something required is missing"))
		}
		return err
	}
	return cmd
}

func examine(ctx context.Context) (found []need, missing bool) {
	for _, n := range needs {
		n.Found = n.look(ctx)
		missing = missing || n.Required && n.Found == ""
		found = append(found, n)
	}
	return found, missing
}

func (n need) look(ctx context.Context) string {
	path, err := exec.LookPath(n.Name)
	if n.own {
		path, err = localcloud.Find(n.Name, "")
	}
	if err != nil {
		return ""
	}
	if n.version == "" {
		return path
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, n.version).CombinedOutput()
	if err != nil {
		return path
	}
	first, _, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	return path + "  " + first
}

func lines(found []need) [][]string {
	var rows [][]string
	for _, n := range found {
		switch {
		case n.Found != "":
			rows = append(rows, []string{"ok", n.Name, n.Found})
		case n.Required:
			rows = append(rows, []string{"MISSING", n.Name, n.Why + ": " + n.Get})
		default:
			rows = append(rows, []string{"optional", n.Name, n.Why + ": " + n.Get})
		}
	}
	return rows
}
