// Package cli is the platform's own command line: what a platform team and a person
// with a laptop need beside the public `mcp-agent`. It is a thin client of the REST
// surface and of the apps' MCP servers.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mcpagentcloud/agentcloud/pkg/service"
)

// Exit codes.
const (
	exitFailed  = 1
	exitUsage   = 2
	exitStopped = 130
)

// errUsage marks what the person can put right on the command line.
var errUsage = errors.New("usage")

func usage(format string, a ...any) error {
	return fmt.Errorf("%w: %s", errUsage, fmt.Sprintf(format, a...))
}

// New returns the root command with further commands of the binary that hosts it.
func New(out io.Writer, more ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:   "agentcloud",
		Short: "MCP Agent Cloud on your own machines",
		Long: "MCP Agent Cloud turns an agent into a production service.\n\n" +
			"Agents are deployed with the public `mcp-agent` command line, servers of other kinds with this one,\nwhich also starts a cloud, hands out keys and calls what was deployed.",
		Version: service.Version(), SilenceUsage: true, SilenceErrors: true,
	}
	root.SetOut(out)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return usage("%v; see `%s --help`", err, cmd.CommandPath()) })
	root.AddCommand(more...)
	root.AddCommand(
		newEnv(), newDoctor(), newKeys(), newUsers(), newApps(), newVersions(), newRollouts(), newApprovals(), newHealth(), newLimits(), newRuns(),
		newSchedules(), newSchema(), newCheck(), newPriorities(), newQueues(), newBatches(), newSidecars(), newCall(), newDeploy(), newRun(),
	)
	return root
}

// Main runs the command line and returns the exit code.
func Main(root *cobra.Command, errOut io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	err := root.ExecuteContext(ctx)
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		return exitStopped
	case errors.Is(err, errUsage):
		_, _ = fmt.Fprintf(errOut, "agentcloud: %v\n", err)
		return exitUsage
	default:
		_, _ = fmt.Fprintf(errOut, "agentcloud: %v\n", err)
		return exitFailed
	}
}
