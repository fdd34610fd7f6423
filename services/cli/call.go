package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
	"github.com/spf13/cobra"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

// newCall calls one tool as an MCP client does.
func newCall() *cobra.Command {
	var answer string
	var wait time.Duration
	cmd := &cobra.Command{
		Use: "call APP TOOL [ARGUMENTS]", Short: "Call a tool of a deployed app, as an MCP client does",
		Long:    "Call a tool of a deployed app, as an MCP client does. ARGUMENTS is a JSON object.",
		Example: "  agentcloud call hello add '{\"a\": 1, \"b\": 2}'", Args: cobra.RangeArgs(2, 3),
	}
	a := accessFlags(cmd)
	callFlags(cmd, &answer, &wait)
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withApp(cmd.Context(), args, answer, wait, func(ctx context.Context, s *mcp.ClientSession, arguments map[string]any) error {
			res, err := s.CallTool(ctx, &mcp.CallToolParams{Name: args[1], Arguments: arguments})
			if err != nil {
				return err
			}
			if err := show(cmd.OutOrStdout(), *format, res, func(out io.Writer) error { return writeContent(out, res) }); err != nil {
				return err
			}
			if res.IsError {
				return errors.New("the tool says that it failed")
			}
			return nil
		})
	}
	return cmd
}

func callFlags(cmd *cobra.Command, answer *string, wait *time.Duration) {
	cmd.Flags().StringVar(answer, "answer", "", "JSON object that answers the questions the app asks meanwhile")
	cmd.Flags().DurationVar(wait, "timeout", 5*time.Minute, "how long to wait for the result")
}

// withApp opens an MCP session with the app that args names.
func (a *access) withApp(ctx context.Context, args []string, answer string, wait time.Duration,
	do func(context.Context, *mcp.ClientSession, map[string]any) error,
) error {
	arguments := map[string]any{}
	if len(args) > 2 {
		if err := json.Unmarshal([]byte(args[2]), &arguments); err != nil {
			return usage("the arguments must be a JSON object: %v", err)
		}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	address, err := c.serverURL(ctx, args[0])
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, wait, fmt.Errorf("no result within %s", wait))
	defer cancel()
	session, err := c.open(ctx, address, answer)
	if err != nil {
		return fmt.Errorf("the app at %s does not take a session: %w", address, err)
	}
	defer session.Close() //nolint:errcheck // the work is done
	if err := do(ctx, session, arguments); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return err
	}
	return nil
}

// serverURL finds an app's address by its name, its id or the address itself.
func (c *client) serverURL(ctx context.Context, app string) (string, error) {
	if strings.HasPrefix(app, "http://") || strings.HasPrefix(app, "https://") {
		return strings.TrimSuffix(app, "/"), nil
	}
	found, err := c.app(ctx, app)
	return strings.TrimSuffix(found.GetAppServerInfo().GetServerUrl(), "/"), err
}

// appID finds an app's id by its name; an id is itself.
func (c *client) appID(ctx context.Context, app string) (string, error) {
	if strings.HasPrefix(app, "app_") {
		return app, nil
	}
	found, err := c.app(ctx, app)
	return found.GetAppId(), err
}

// targetID finds an app's id by its name; an id of an app or a configuration is itself.
func (c *client) targetID(ctx context.Context, target string) (string, error) {
	if strings.HasPrefix(target, "apcnf_") {
		return target, nil
	}
	return c.appID(ctx, target)
}

// app finds an app by its name or its id.
func (c *client) app(ctx context.Context, app string) (*registryv1.App, error) {
	var res registryv1.ListAppsResponse
	req := &registryv1.ListAppsRequest{MaxResults: 1000} //nolint:mnd // the API's own maximum
	if !strings.HasPrefix(app, "app_") {
		req.NameFilter = app
	}
	if err := c.call(ctx, http.MethodPost, "/mcp_app/list_apps", req, &res); err != nil {
		return nil, err
	}
	for _, found := range res.GetApps() {
		if found.GetName() == app || found.GetAppId() == app {
			return found, nil
		}
	}
	return nil, fmt.Errorf("%w %q; `mcp-agent cloud servers list` shows those there are", errNoApp, app)
}

var errNoApp = errors.New("there is no app")

// keyed adds the caller's key to each request.
type keyed struct{ key string }

func (k keyed) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+k.key)
	return http.DefaultTransport.RoundTrip(r)
}

func (c *client) open(ctx context.Context, address, answer string) (*mcp.ClientSession, error) {
	options := &mcp.ClientOptions{}
	if answer != "" {
		options.ElicitationHandler = func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			var content map[string]any
			if err := json.Unmarshal([]byte(answer), &content); err != nil {
				return nil, usage("--answer must be a JSON object: %v", err)
			}
			return &mcp.ElicitResult{Action: "accept", Content: content}, nil
		}
	}
	caller := mcp.NewClient(&mcp.Implementation{Name: "agentcloud", Version: "1"}, options)
	return caller.Connect(ctx, &mcp.StreamableClientTransport{Endpoint: address + "/mcp", HTTPClient: &http.Client{Transport: keyed{c.key}}}, nil)
}

// writeContent shows a result's parts to people.
func writeContent(out io.Writer, res *mcp.CallToolResult) error {
	for _, part := range res.Content {
		if text, ok := part.(*mcp.TextContent); ok {
			if _, err := fmt.Fprintln(out, text.Text); err != nil {
				return err
			}
			continue
		}
		raw, err := part.MarshalJSON()
		if err != nil {
			return err
		}
		if _, err := fmt.Fprintln(out, string(raw)); err != nil {
			return err
		}
	}
	return nil
}
