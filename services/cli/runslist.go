package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	listedRuns = 50
	mostListed = 1000 // the API's own maximum of a page
	// relistEvery is how often a list that is watched is read again.
	relistEvery = 2 * time.Second
)

func newRunsList(a *access) *cobra.Command {
	var limit int
	var token string
	var watch bool
	cmd := &cobra.Command{
		Use: "list", Short: "List runs, newest first", Args: cobra.NoArgs,
		Example: "  agentcloud runs list --app shop --status failed --since 24h\n" +
			"  agentcloud runs list --label order=A-17\n" +
			"  agentcloud runs list --status running --watch",
	}
	filter := filterFlags(cmd, a)
	cmd.Flags().IntVar(&limit, "limit", listedRuns, "at most this many")
	cmd.Flags().StringVar(&token, "page-token", "", "go on after an earlier list, by its nextPageToken")
	cmd.Flags().BoolVar(&watch, "watch", false, "stay, and print runs that are new or have changed")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if limit < 1 {
			return usage("--limit must be at least 1")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		m, err := filter.message(cmd.Context(), c)
		if err != nil {
			return err
		}
		if watch {
			return c.watchList(cmd.Context(), cmd.OutOrStdout(), *format, m, min(limit, mostListed))
		}
		res, err := c.listRuns(cmd.Context(), m, limit, token)
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error { return runsTable(out, res) })
	}
	return cmd
}

// listRuns reads as many pages as limit needs.
func (c *client) listRuns(ctx context.Context, filter *schedulerv1.RunFilter, limit int, token string) (*schedulerv1.ListRunsResponse, error) {
	all := &schedulerv1.ListRunsResponse{}
	for {
		query := values(filter, "")
		query.Set("withoutResults", "true")
		query.Set("pageSize", strconv.Itoa(min(limit-len(all.GetRuns()), mostListed)))
		if token != "" {
			query.Set("pageToken", token)
		}
		var res schedulerv1.ListRunsResponse
		if err := c.call(ctx, http.MethodGet, runsPath+"?"+query.Encode(), nil, &res); err != nil {
			return nil, err
		}
		all.Runs = append(all.Runs, res.GetRuns()...)
		token = res.GetNextPageToken()
		all.NextPageToken = token
		if token == "" || len(all.GetRuns()) >= limit {
			return all, nil
		}
	}
}

func runsTable(out io.Writer, res *schedulerv1.ListRunsResponse) error {
	rows := [][]string{{"RUN", "WORKFLOW", "STATUS", "STARTED", "TOOK", "APP", "BY", "PRIORITY", "LABELS"}}
	for _, run := range res.GetRuns() {
		rows = append(rows, runRow(run))
	}
	if err := table(out, rows); err != nil {
		return err
	}
	if res.GetNextPageToken() != "" {
		return say("\nThere is more: --limit N, or --page-token %s", res.GetNextPageToken())(out)
	}
	return nil
}

func runRow(run *schedulerv1.Run) []string {
	return []string{
		run.GetRunId(), run.GetName(), wordOf(run.GetStatus()), moment(run.GetStartTime()), took(run),
		run.GetTargetId(), cmp.Or(run.GetStartedBy(), "-"), priorityText(run.GetPriority()), cmp.Or(labelText(run.GetLabels()), "-"),
	}
}

// priorityText is "-" for runs from before there were priorities.
func priorityText(priority int32) string {
	if priority == 0 {
		return "-"
	}
	return strconv.Itoa(int(priority))
}

// watchList prints the runs that fit, and later those that are new or in another state.
func (c *client) watchList(ctx context.Context, out io.Writer, format string, filter *schedulerv1.RunFilter, limit int) error {
	known := map[string]schedulerv1.RunStatus{}
	ticker := time.NewTicker(relistEvery)
	defer ticker.Stop()
	for {
		res, err := c.listRuns(ctx, filter, limit, "")
		if err != nil {
			return err
		}
		news := &schedulerv1.ListRunsResponse{}
		seen := map[string]schedulerv1.RunStatus{}
		for _, run := range res.GetRuns() {
			seen[run.GetRunId()] = run.GetStatus()
			if status, ok := known[run.GetRunId()]; !ok || status != run.GetStatus() {
				news.Runs = append(news.Runs, run)
			}
		}
		if len(news.GetRuns()) > 0 {
			if err := showMessage(out, format, news, func(out io.Writer) error { return runsTable(out, news) }); err != nil {
				return err
			}
		}
		known = seen
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
	}
}

func newRunsCount(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "count", Short: "Count runs, altogether and by status", Args: cobra.NoArgs,
		Example: "  agentcloud runs count --app shop --since 7d",
	}
	filter := filterFlags(cmd, a)
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		m, err := filter.message(cmd.Context(), c)
		if err != nil {
			return err
		}
		var res schedulerv1.CountRunsResponse
		if err := c.call(cmd.Context(), http.MethodGet, runsPath+":count?"+values(m, "filter.").Encode(), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			rows := [][]string{}
			for _, s := range res.GetStatuses() {
				rows = append(rows, []string{wordOf(s.GetStatus()), strconv.FormatInt(s.GetCount(), 10)})
			}
			return table(out, append(rows, []string{"together", strconv.FormatInt(res.GetCount(), 10)}))
		})
	}
	return cmd
}

func newRunsStart(a *access) *cobra.Command {
	req := &schedulerv1.StartRunRequest{}
	var labels []string
	cmd := &cobra.Command{
		Use: "start APP WORKFLOW [ARGUMENTS]", Short: "Start a run and print its id",
		Long:    "Start a run of a workflow or tool and print its run id, without waiting. ARGUMENTS is a JSON object.",
		Example: "  agentcloud runs start shop Order '{\"id\": \"A-17\"}' --label order=A-17 --key A-17\n  agentcloud runs watch $(agentcloud runs start shop Order '{\"id\": \"A-18\"}')",
		Args:    cobra.RangeArgs(2, 3), ValidArgsFunction: a.completeStart,
	}
	cmd.Flags().StringArrayVar(&labels, "label", nil, "tie key=value to the run, to find it by; may be repeated")
	cmd.Flags().StringVar(&req.IdempotencyKey, "key", "", "the same key is the same run, for as long as runs are kept")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if req.Labels, err = labelMap(labels); err != nil {
			return err
		}
		if req.TargetId, err = c.appID(cmd.Context(), args[0]); err != nil {
			return err
		}
		if req.Name = args[1]; len(args) > 2 {
			req.ArgumentsJson = args[2]
		}
		var res schedulerv1.StartRunResponse
		if err := c.call(cmd.Context(), http.MethodPost, "/v1/apps/"+url.PathEscape(req.GetTargetId())+"/runs", req, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("%s", res.GetRunId()))
	}
	return cmd
}

// completeStart offers apps, then workflows.
func (a *access) completeStart(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	switch len(args) {
	case 0:
		return a.completeApps(cmd, args, begun)
	case 1:
		return a.completeWorkflows(cmd, args, begun)
	}
	return nil, cobra.ShellCompDirectiveNoFileComp
}

func labelMap(labels []string) (map[string]string, error) {
	all := map[string]string{}
	for _, label := range labels {
		key, value, ok := strings.Cut(label, "=")
		if !ok {
			return nil, usage("--label %s: write key=value", label)
		}
		if _, twice := all[key]; twice {
			return nil, usage("--label %s: the key is there twice", label)
		}
		all[key] = value
	}
	return all, nil
}

func labelText(labels map[string]string) string {
	var all []string
	for key, value := range labels {
		all = append(all, fmt.Sprintf("%s=%s", key, value))
	}
	return strings.Join(sorted(all), ",")
}
