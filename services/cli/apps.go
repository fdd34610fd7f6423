package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

func newApps() *cobra.Command {
	cmd := &cobra.Command{Use: "apps", Short: "List and show apps, wake them, and connect servers that run elsewhere"}
	a := accessFlags(cmd)
	cmd.AddCommand(newAppsList(a), newAppsDescribe(a), newAppsWake(a), newAppsConnect(a))
	return cmd
}

func newAppsConnect(a *access) *cobra.Command {
	req := &registryv1.ConnectAppRequest{}
	var open, closed bool
	cmd := &cobra.Command{
		Use: "connect NAME --url URL", Short: "Put an app's address in front of an MCP server that runs elsewhere", Args: exactly("NAME"),
		Long: "Put an app's address in front of an MCP server that runs elsewhere.\n\n" +
			"The server is shaken hands with first; it must speak streamable HTTP. A second time, the app\nstands before another server. Callers' keys are never passed on to it.",
		Example: "  agentcloud apps connect search --url https://mcp.example.com/mcp",
	}
	cmd.Flags().StringVar(&req.Url, "url", "", "where the server takes MCP messages")
	_ = cmd.MarkFlagRequired("url")
	cmd.Flags().BoolVar(&open, "no-auth", false, "let everybody call the app without a key")
	cmd.Flags().BoolVar(&closed, "auth", false, "ask for a key again")
	cmd.MarkFlagsMutuallyExclusive("no-auth", "auth")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if req.Name = args[0]; open || closed {
			req.UnauthenticatedAccess = proto.Bool(open)
		}
		var res registryv1.ConnectAppResponse
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/apps/connect", req, &res); err != nil {
			return err
		}
		return showApp(cmd.OutOrStdout(), *format, res.GetApp())
	}
	return cmd
}

// showApp prints an app, as JSON with the names that the REST surface has and its
// address in reach.
func showApp(out io.Writer, format string, app *registryv1.App) error {
	url := app.GetAppServerInfo().GetServerUrl()
	if format != "json" {
		return show(out, format, nil, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "%s (%s) answers at %s\n", app.GetName(), app.GetAppId(), url)
			return err
		})
	}
	raw, err := protojson.Marshal(app)
	if err != nil {
		return err
	}
	var fields map[string]any
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	fields["serverUrl"] = url
	return show(out, format, fields, nil)
}
