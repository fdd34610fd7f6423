package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// appState is an app with its agents.
type appState struct {
	app    *registryv1.App
	agents *schedulerv1.ListAgentsResponse
}

// MarshalJSON has the names of the REST surface.
func (s appState) MarshalJSON() ([]byte, error) {
	parts := map[string]json.RawMessage{}
	for name, m := range map[string]proto.Message{"app": s.app, "agents": s.agents} {
		raw, err := protojson.MarshalOptions{EmitDefaultValues: true}.Marshal(m)
		if err != nil {
			return nil, err
		}
		parts[name] = raw
	}
	// The list is told as a list, and not as the answer that carried it.
	var carried map[string]json.RawMessage
	if err := json.Unmarshal(parts["agents"], &carried); err != nil {
		return nil, err
	}
	parts["agents"], parts["sleep"] = carried["agents"], carried["sleep"]
	return json.Marshal(parts)
}

func newAppsList(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list", Short: "List apps, their addresses and whether they are awake", Args: cobra.NoArgs,
		Example: "  agentcloud apps list\n  agentcloud apps list --output json",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		all, err := c.appStates(cmd.Context())
		if err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, map[string]any{"apps": all}, func(out io.Writer) error { return appsTable(out, all) })
	}
	return cmd
}

// appStates are all apps that the caller sees.
func (c *client) appStates(ctx context.Context) ([]appState, error) {
	all, req := []appState{}, &registryv1.ListAppsRequest{}
	for range mostPages {
		var res registryv1.ListAppsResponse
		if err := c.call(ctx, http.MethodPost, "/mcp_app/list_apps", req, &res); err != nil {
			return nil, err
		}
		for _, app := range res.GetApps() {
			one, err := c.appState(ctx, app)
			if err != nil {
				return nil, err
			}
			all = append(all, one)
		}
		if req.PageToken = res.GetNextPageToken(); req.GetPageToken() == "" {
			break
		}
	}
	return all, nil
}

// appState adds an app's agents; one that was never deployed has none.
func (c *client) appState(ctx context.Context, app *registryv1.App) (appState, error) {
	s := appState{app: app, agents: &schedulerv1.ListAgentsResponse{}}
	if app.GetAppServerInfo().GetServerUrl() == "" {
		return s, nil
	}
	var err error
	s.agents, err = c.agents(ctx, app.GetAppId())
	return s, err
}

// agents are the processes of an app, sidecars among them, and what sleeps.
func (c *client) agents(ctx context.Context, targetID string) (*schedulerv1.ListAgentsResponse, error) {
	var res schedulerv1.ListAgentsResponse
	return &res, c.call(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(targetID)+"/agents", nil, &res)
}

func newAppsDescribe(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "describe APP", Short: "Show an app: its processes, and when it sleeps", Args: exactly("APP"),
		Example: "  agentcloud apps describe search", ValidArgsFunction: a.completeApps,
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		s, err := c.describeApp(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, s, func(out io.Writer) error { return showAppState(out, s) })
	}
	return cmd
}

func (c *client) describeApp(ctx context.Context, name string) (appState, error) {
	app, err := c.app(ctx, name)
	if err != nil {
		return appState{}, err
	}
	return c.appState(ctx, app)
}

func newAppsWake(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "wake APP", Short: "Start what sleeps of an app, before somebody needs it", Args: exactly("APP"),
		Long:    "Start what sleeps of an app, before somebody needs it. It waits until the app is ready, and does\nnothing when it is awake.",
		Example: "  agentcloud apps wake search", ValidArgsFunction: a.completeApps,
	}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		id, err := c.targetID(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/apps/"+url.PathEscape(id)+"/wake", &schedulerv1.WakeAppRequest{}, &schedulerv1.WakeAppResponse{}); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is awake\n", args[0])
		return err
	}
	return cmd
}

func appsTable(out io.Writer, all []appState) error {
	rows := [][]string{{"APP", "ID", "SERVER", "WORKER", "SLEEPS AFTER", "ADDRESS"}}
	for _, s := range all {
		rows = append(rows, []string{
			s.app.GetName(), s.app.GetAppId(), s.role("server"), s.role("worker"), s.sleepsAfter(), cmp.Or(s.app.GetAppServerInfo().GetServerUrl(), "-"),
		})
	}
	return table(out, rows)
}

// role is how the first of a role is, and how many of its version are so.
func (s appState) role(name string) string {
	state, version, count := schedulerv1.AgentState_AGENT_STATE_UNSPECIFIED, "", 0
	for _, a := range s.agents.GetAgents() {
		switch {
		case a.GetRole() != name:
		case count == 0:
			state, version, count = a.GetState(), a.GetVersionId(), 1
		case a.GetState() == state && a.GetVersionId() == version:
			count++
		}
	}
	switch count {
	case 0:
		return "-"
	case 1:
		return agentWord(state)
	}
	return fmt.Sprintf("%d %s", count, agentWord(state))
}

// processes says how many there may be of a role.
func (s appState) processes() string {
	p := s.agents.GetScale()
	switch {
	case p == nil:
		return "-"
	case p.GetConcurrency() > 0:
		return fmt.Sprintf("%d to %d of a role, a server more for each %d calls at once", p.GetMin(), p.GetMax(), p.GetConcurrency())
	case p.GetMin() == p.GetMax():
		return fmt.Sprintf("%d of a role", p.GetMax())
	}
	return fmt.Sprintf("%d to %d of a role", p.GetMin(), p.GetMax())
}

func (s appState) sleepsAfter() string {
	switch p := s.agents.GetSleep(); {
	case p == nil:
		return "-"
	case p.GetIdle().AsDuration() == 0:
		return "never"
	default:
		return p.GetIdle().AsDuration().String()
	}
}

// agentWord is a state in small letters: "crash loop".
func agentWord(s schedulerv1.AgentState) string {
	return strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(s.String(), "AGENT_STATE_"), "_", " "))
}

func showAppState(out io.Writer, s appState) error {
	why := "the cloud's settings say so"
	if s.agents.GetSleep().GetDeclared() {
		why = "agentcloud.yaml says so"
	}
	if _, err := fmt.Fprintf(out, "%s (%s)\naddress       %s\nsleeps after  %s (%s)\nprocesses     %s\n\n", s.app.GetName(), s.app.GetAppId(),
		cmp.Or(s.app.GetAppServerInfo().GetServerUrl(), "-"), s.sleepsAfter(), why, s.processes()); err != nil {
		return err
	}
	rows := [][]string{{"ROLE", "STATE", "VERSION", "PID", "MEMORY", "RESTARTS", "ASLEEP FOR"}}
	for _, a := range s.agents.GetAgents() {
		slept := "-"
		if a.GetAsleepSince() != nil {
			slept = time.Since(a.GetAsleepSince().AsTime()).Round(time.Second).String()
		}
		rows = append(rows, []string{
			a.GetRole(), agentWord(a.GetState()), a.GetVersionId(), pidWord(a.GetPid()), mebibytes(a.GetMemoryBytes()),
			strconv.Itoa(int(a.GetRestarts())), slept,
		})
	}
	return table(out, rows)
}

func pidWord(pid int64) string {
	if pid == 0 {
		return "-"
	}
	return strconv.FormatInt(pid, 10)
}

func mebibytes(n int64) string {
	if n == 0 {
		return "-"
	}
	return fmt.Sprintf("%d MiB", n>>20)
}
