package cli

import (
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

// newEnv prints what the public command line must be told.
func newEnv() *cobra.Command {
	var data string
	cmd := &cobra.Command{
		Use:   "env",
		Short: "Print the export lines that the public mcp-agent command needs",
		Example: "  eval \"$(agentcloud env)\"\n" +
			"  mcp-agent deploy hello --working-dir examples/hello",
		Args: cobra.NoArgs,
	}
	cmd.Flags().StringVar(&data, "data", localcloud.DefaultData(), "data folder of the cloud")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		here, err := localcloud.Read(data)
		if err != nil {
			return err
		}
		key, err := here.Key()
		if err != nil {
			return err
		}
		names := []string{"MCP_API_BASE_URL", "MCP_API_KEY", "MCP_DEPLOYMENTS_UPLOAD_API_BASE_URL"}
		values := map[string]string{names[0]: here.URL + "/api", names[1]: key, names[2]: here.URL}
		return show(cmd.OutOrStdout(), *format, values, func(out io.Writer) error {
			for _, name := range names {
				if _, err := fmt.Fprintf(out, "export %s=%s\n", name, values[name]); err != nil {
					return err
				}
			}
			return nil
		})
	}
	return cmd
}
