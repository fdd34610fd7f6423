package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/cli/sources"
)

// deployment is what `agentcloud deploy` is asked for.
type deployment struct {
	folder, app, description string
	variables                []string
	// open is nil: as it is.
	open *bool
	wait time.Duration
	say  io.Writer
}

// newDeploy deploys a folder of any kind. The public command line wants to see a main.py.
func newDeploy() *cobra.Command {
	d := deployment{}
	var open, closed bool
	cmd := &cobra.Command{
		Use: "deploy [FOLDER]", Short: "Deploy a folder as an app: a server of any kind", Args: cobra.MaximumNArgs(1),
		Long: "Deploy a folder as an app: a Python app, a Node server, or any program that speaks MCP.\n\n" +
			"What is hidden, node_modules and what .mcpacignore lists is not sent. A project with mcp_agent.secrets.yaml is\n" +
			"deployed with `mcp-agent deploy`, which keeps its values as secrets.",
		Example: "  agentcloud deploy examples/typescript\n" +
			"  API_TOKEN=… agentcloud deploy . --app search --env API_TOKEN",
	}
	cmd.ValidArgsFunction = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveFilterDirs
	}
	a := accessFlags(cmd)
	flags := cmd.Flags()
	flags.StringVar(&d.app, "app", "", "the app's name; without it the folder's")
	flags.StringVarP(&d.description, "description", "d", "", "what the app is, for people")
	flags.StringArrayVar(&d.variables, "env", nil, "NAME or NAME=VALUE: a variable that is kept as a secret of the app; NAME alone takes the shell's value")
	flags.BoolVar(&open, "no-auth", false, "let everybody call the app without a key")
	flags.BoolVar(&closed, "auth", false, "ask for a key again")
	flags.DurationVar(&d.wait, "timeout", 15*time.Minute, "how long to wait until the app serves")
	cmd.MarkFlagsMutuallyExclusive("no-auth", "auth")
	_ = cmd.RegisterFlagCompletionFunc("app", func(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
		return a.completeApps(cmd, nil, begun)
	})
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if d.folder = "."; len(args) > 0 {
			d.folder = args[0]
		}
		if open || closed {
			d.open = proto.Bool(open)
		}
		if *format != "json" && *format != "text" {
			return usage("--output %s: use text or json", *format)
		}
		d.say = cmd.ErrOrStderr()
		c, err := a.client()
		if err != nil {
			return err
		}
		app, err := d.run(cmd.Context(), c)
		if err != nil {
			return err
		}
		return showApp(cmd.OutOrStdout(), *format, app)
	}
	return cmd
}

func (d deployment) run(ctx context.Context, c *client) (*registryv1.App, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, d.wait, fmt.Errorf("the app does not serve after %s; the deploy goes on, and the app's log tells how", d.wait))
	defer cancel()
	c.http = &http.Client{} // ctx bounds it
	app, err := d.deploy(ctx, c)
	if err != nil && context.Cause(ctx) != nil {
		return nil, context.Cause(ctx)
	}
	return app, err
}

func (d deployment) deploy(ctx context.Context, c *client) (*registryv1.App, error) {
	name, files, err := d.read()
	if err != nil {
		return nil, err
	}
	app, err := d.ensureApp(ctx, c, name)
	if err != nil {
		return nil, err
	}
	if err := d.setVariables(ctx, c, app.GetAppId()); err != nil {
		return nil, err
	}
	d.tell("sending %d files (%d KiB) to %s", len(files.Names), (files.Bytes+1023)>>10, name)
	if err := files.Send(ctx, c.http, c.url, c.key, app.GetAppId()); err != nil {
		return nil, err
	}
	d.tell("building and starting it")
	var res registryv1.DeployAppResponse
	req := &registryv1.DeployAppRequest{AppId: app.GetAppId(), DeploymentMetadata: source(ctx, d.folder)}
	if err := c.call(ctx, http.MethodPost, "/mcp_app/deploy_app", req, &res); err != nil {
		return nil, fmt.Errorf("the deploy failed: %w", err)
	}
	return res.GetApp(), nil
}

func (d deployment) tell(format string, args ...any) {
	_, _ = fmt.Fprintf(d.say, format+"\n", args...)
}

// read looks at the folder, and finds mistakes before anything is sent.
func (d deployment) read() (name string, files sources.Files, err error) {
	folder, err := filepath.Abs(d.folder)
	if err != nil {
		return "", files, err
	}
	if name = d.app; name == "" {
		name = filepath.Base(folder)
	}
	text, err := os.ReadFile(filepath.Join(folder, projectfile.Name)) //nolint:gosec // the person's own folder
	if err == nil {
		_, err = projectfile.Parse(text)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", files, err
	}
	files, err = sources.Find(folder)
	return name, files, err
}

// ensureApp finds the app or makes it.
func (d deployment) ensureApp(ctx context.Context, c *client, name string) (*registryv1.App, error) {
	app, err := c.app(ctx, name)
	if errors.Is(err, errNoApp) {
		req := &registryv1.CreateAppRequest{Name: name, UnauthenticatedAccess: d.open}
		if d.description != "" {
			req.Description = &d.description
		}
		var res registryv1.CreateAppResponse
		err = c.call(ctx, http.MethodPost, "/mcp_app/create_app", req, &res)
		return res.GetApp(), err
	}
	if err != nil || d.open == nil && d.description == "" {
		return app, err
	}
	req := &registryv1.UpdateAppRequest{AppId: app.GetAppId(), UnauthenticatedAccess: d.open}
	if d.description != "" {
		req.Description = &d.description
	}
	var res registryv1.UpdateAppResponse
	err = c.call(ctx, http.MethodPut, "/mcp_app/update_app", req, &res)
	return res.GetApp(), err
}

// source is what git says of the folder; nil where it says nothing.
func source(ctx context.Context, folder string) *structpb.Struct {
	git := func(args ...string) (string, bool) {
		out, err := exec.CommandContext(ctx, "git", append([]string{"-C", folder}, args...)...).Output() //nolint:gosec // fixed words
		return strings.TrimSpace(string(out)), err == nil
	}
	commit, ok := git("rev-parse", "HEAD")
	if !ok {
		return nil
	}
	short, _ := git("rev-parse", "--short", "HEAD")
	branch, _ := git("rev-parse", "--abbrev-ref", "HEAD")
	message, _ := git("log", "-1", "--format=%s")
	changed, _ := git("status", "--porcelain", "--", ".")
	facts, err := structpb.NewStruct(map[string]any{
		"source": "git", "commit": commit, "short": short, "branch": branch, "message": message, "dirty": changed != "",
	})
	if err != nil {
		return nil // a message that is no UTF-8
	}
	return facts
}
