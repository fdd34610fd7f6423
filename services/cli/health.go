package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

func newHealth() *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "health [APP]", Short: "What is wrong with workflows: stuck, slow or failing runs, queues that nobody empties",
		Long: "What is wrong with the workflows of an app, or of all apps of the organisation.\n\n" +
			"The exit code is 0 when nothing is, 1 when something is or the cloud does not say. With --watch it\n" +
			"prints again whenever something changes, until Ctrl-C.",
		Example: "  agentcloud health\n  agentcloud health approval --watch\n  agentcloud health approval --output json", Args: cobra.MaximumNArgs(1),
	}
	a := accessFlags(cmd)
	cmd.ValidArgsFunction = a.completeApps
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "print again whenever something changes, until Ctrl-C")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var target string
		if len(args) > 0 {
			if target, err = c.appID(cmd.Context(), args[0]); err != nil {
				return err
			}
		}
		res, err := c.health(cmd.Context(), target)
		if err != nil {
			return err
		}
		if err := showHealth(cmd.OutOrStdout(), *format, res); err != nil {
			return err
		}
		if watch {
			return c.watchHealth(cmd.Context(), cmd.OutOrStdout(), *format, target, res)
		}
		if !res.GetHealthy() {
			return fmt.Errorf("not healthy: %d of these need attention", len(res.GetConditions()))
		}
		return nil
	}
	return cmd
}

// health reads all there is of a target; of all targets when it is empty.
func (c *client) health(ctx context.Context, target string) (*schedulerv1.GetAppHealthResponse, error) {
	whole := &schedulerv1.GetAppHealthResponse{}
	if target != "" {
		return whole, c.call(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(target)+"/health", nil, whole)
	}
	query := url.Values{"pageSize": {"1000"}}
	for range mostPages {
		var page schedulerv1.ListHealthResponse
		if err := c.call(ctx, http.MethodGet, "/v1/health?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		whole.Conditions = append(whole.Conditions, page.GetConditions()...)
		if page.GetNextPageToken() == "" {
			break
		}
		query.Set("pageToken", page.GetNextPageToken())
	}
	whole.Healthy = len(whole.GetConditions()) == 0
	return whole, nil
}

// watchHealth prints what changes until ctx ends.
func (c *client) watchHealth(ctx context.Context, out io.Writer, format, target string, last *schedulerv1.GetAppHealthResponse) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-ticker.C:
		}
		res, err := c.health(ctx, target)
		if err != nil {
			return err
		}
		if proto.Equal(steady(res), steady(last)) {
			continue
		}
		last = res
		if err := showHealth(out, format, res); err != nil {
			return err
		}
	}
}

// steady leaves out what changes while nothing does.
func steady(res *schedulerv1.GetAppHealthResponse) *schedulerv1.GetAppHealthResponse {
	same := proto.CloneOf(res)
	for _, c := range same.GetConditions() {
		c.LastSeen, c.Message = nil, "" // how long and how often is in the words
	}
	return same
}

func showHealth(out io.Writer, format string, res *schedulerv1.GetAppHealthResponse) error {
	return showMessage(out, format, res, func(out io.Writer) error {
		if res.GetHealthy() {
			_, err := fmt.Fprintln(out, "healthy")
			return err
		}
		rows := [][]string{{"APP", "CONDITION", "REASON", "OF", "STATUS", "SINCE", "RUNS"}}
		for _, c := range res.GetConditions() {
			rows = append(rows, []string{c.GetAppName(), c.GetType(), c.GetReason(), c.GetSubject(), c.GetStatus(), localTime(c.GetSince()), fmt.Sprint(c.GetRuns())})
		}
		if err := table(out, rows); err != nil {
			return err
		}
		for _, c := range res.GetConditions() {
			if err := conditionNote(out, c); err != nil {
				return err
			}
		}
		return nil
	})
}

func conditionNote(out io.Writer, c *schedulerv1.HealthCondition) error {
	if _, err := fmt.Fprintf(out, "\n%s of %s, %s:\n  %s\n", c.GetType(), c.GetAppName(), c.GetSubject(), c.GetMessage()); err != nil {
		return err
	}
	for _, id := range c.GetRunIds() {
		if _, err := fmt.Fprintln(out, "  run", id); err != nil {
			return err
		}
	}
	return nil
}
