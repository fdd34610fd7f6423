package cli

import (
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

func newUsers() *cobra.Command {
	cmd := &cobra.Command{Use: "users", Short: "Add people to the cloud (administrators only)"}
	a := accessFlags(cmd)
	cmd.AddCommand(newUsersCreate(a))
	return cmd
}

func newUsersCreate(a *access) *cobra.Command {
	req := &registryv1.CreateUserRequest{}
	cmd := &cobra.Command{Use: "create EMAIL", Short: "Add a user and print a first key, which is shown this once", Args: exactly("EMAIL")}
	cmd.Flags().StringVar(&req.Name, "name", "", "display name; the mail address when empty")
	cmd.Flags().StringVar(&req.NewOrgName, "new-org", "", "name of a new organisation for the user; yours when empty")
	cmd.Flags().BoolVar(&req.Admin, "admin", false, "let the user administer the organisation")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if req.Email = args[0]; req.Name == "" {
			req.Name = req.Email
		}
		var res registryv1.CreateUserResponse
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/users", req, &res); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, res.GetApiKey())
			return err
		})
	}
	return cmd
}
