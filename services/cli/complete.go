package cli

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	completeWithin = 3 * time.Second
	mostChoices    = 50
)

// choose completes with what find gives; a cloud that does not answer offers nothing.
func (a *access) choose(cmd *cobra.Command, find func(context.Context, *client) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	c, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completeWithin)
	defer cancel()
	choices, err := find(ctx, c)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return choices, cobra.ShellCompDirectiveNoFileComp
}

// completeApps offers the names of apps.
func (a *access) completeApps(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.choose(cmd, func(ctx context.Context, c *client) ([]string, error) {
		var res registryv1.ListAppsResponse
		err := c.call(ctx, http.MethodPost, "/mcp_app/list_apps", &registryv1.ListAppsRequest{MaxResults: mostChoices, NameFilter: begun}, &res)
		var names []string
		for _, app := range res.GetApps() {
			names = append(names, app.GetName())
		}
		return names, err
	})
}

// completeRuns offers the newest runs, with what they are.
func (a *access) completeRuns(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return a.choose(cmd, func(ctx context.Context, c *client) ([]string, error) {
		var choices []string
		err := c.newestRuns(ctx, func(run *schedulerv1.Run) {
			if strings.HasPrefix(run.GetRunId(), begun) {
				choices = append(choices, run.GetRunId()+"\t"+run.GetName()+", "+wordOf(run.GetStatus()))
			}
		})
		return choices, err
	})
}

// completeWorkflows offers the names of workflows that have run lately.
func (a *access) completeWorkflows(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	return a.choose(cmd, func(ctx context.Context, c *client) ([]string, error) {
		var names []string
		err := c.newestRuns(ctx, func(run *schedulerv1.Run) {
			if strings.HasPrefix(run.GetName(), begun) {
				names = append(names, run.GetName())
			}
		})
		slices.Sort(names)
		return slices.Compact(names), err
	})
}

func (c *client) newestRuns(ctx context.Context, each func(*schedulerv1.Run)) error {
	var res schedulerv1.ListRunsResponse
	if err := c.call(ctx, http.MethodGet, runsPath+"?pageSize=50&withoutResults=true", nil, &res); err != nil {
		return err
	}
	for _, run := range res.GetRuns() {
		each(run)
	}
	return nil
}
