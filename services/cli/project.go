package cli

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use: "schema", Short: "Print the JSON schema of agentcloud.yaml, for editors", Args: cobra.NoArgs,
		Example: "  agentcloud schema > agentcloud.schema.json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(projectfile.Schema)
			return err
		},
	}
}

// newCheck reads agentcloud.yaml as the builder will.
func newCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use: "check [FOLDER]", Short: "Check a project's agentcloud.yaml before a deploy does", Args: cobra.MaximumNArgs(1),
		Long: "Check a project's agentcloud.yaml before a deploy does. Whether the app has the workflows that it names\n" +
			"is known only at a deploy.",
		Example: "  agentcloud check examples/hello",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		folder := "."
		if len(args) > 0 {
			folder = args[0]
		}
		text, err := os.ReadFile(filepath.Join(folder, projectfile.Name))
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("there is no %s in %s; a project may do without", projectfile.Name, folder)
		}
		if err != nil {
			return err
		}
		d, err := projectfile.Parse(text)
		if err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, d.File, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "%s is fine: %d schedules\n", projectfile.Name, len(d.File.Schedules))
			return err
		})
	}
	return cmd
}
