package cli

import (
	"cmp"
	"io"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// sidecarRole is that of sidecars among agents.
const sidecarRole = "sidecar"

func newSidecars() *cobra.Command {
	cmd := &cobra.Command{
		Use: "sidecars", Short: "The stdio MCP servers that run beside apps",
		Long: "The stdio MCP servers that run beside apps.\n\n" +
			"A server that an app's settings start by a command (mcp.servers) is a process of its own, shared by\n" +
			"the processes of a version. It starts when it is first used; docs/sidecars.md tells more.",
	}
	cmd.AddCommand(newSidecarsList(accessFlags(cmd)))
	return cmd
}

func newSidecarsList(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list APP", Short: "List an app's stdio servers: how each is, how often it was started again, why it last ended", Args: exactly("APP"),
		Example: "  agentcloud sidecars list search\n  agentcloud sidecars list search --output json",
	}
	format := formatFlag(cmd)
	cmd.ValidArgsFunction = a.completeApps
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		id, err := c.targetID(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		res, err := c.agents(cmd.Context(), id)
		if err != nil {
			return err
		}
		res.Agents = slices.DeleteFunc(res.GetAgents(), func(one *schedulerv1.Agent) bool { return one.GetRole() != sidecarRole })
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error { return sidecarsTable(out, res.GetAgents()) })
	}
	return cmd
}

func sidecarsTable(out io.Writer, all []*schedulerv1.Agent) error {
	const mib = 20
	rows := [][]string{{"SERVER", "STATE", "CLIENTS", "RESTARTS", "MEMORY", "VERSION", "LAST END"}}
	for _, one := range all {
		rows = append(rows, []string{
			one.GetServer(), sidecarState(one.GetState()), strconv.Itoa(int(one.GetClients())), strconv.Itoa(int(one.GetRestarts())),
			strconv.FormatInt(one.GetMemoryBytes()>>mib, 10) + " MiB", one.GetVersionId(), cmp.Or(one.GetLastError(), "-"),
		})
	}
	return table(out, rows)
}

// sidecarState is a state in a word; one that is stopped begins when it is used.
func sidecarState(s schedulerv1.AgentState) string {
	if s == schedulerv1.AgentState_AGENT_STATE_STOPPED {
		return "idle"
	}
	return agentWord(s)
}
