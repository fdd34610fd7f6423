package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

const (
	limitsPath = "/v1/limits"
	// together is all callers as one, as the API writes it.
	together = "*"
)

func newLimits() *cobra.Command {
	cmd := &cobra.Command{
		Use: "limits", Short: "How often and how many at once callers may call (administrators change them)",
		Long: "How often and how many at once callers may call the apps of your organisation.\n\n" +
			"Every limit that fits a call holds. Who is refused gets 429 and is told when to come back.",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(newLimitsList(a), newLimitsSet(a), newLimitsDelete(a))
	return cmd
}

func newLimitsList(a *access) *cobra.Command {
	var app string
	cmd := &cobra.Command{Use: "list", Short: "List the limits of your organisation, oldest first", Args: cobra.NoArgs}
	cmd.Flags().StringVar(&app, "app", "", "only of this app: its name or id")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		query := url.Values{}
		if app != "" {
			id, err := c.appID(cmd.Context(), app)
			if err != nil {
				return err
			}
			query.Set("appId", id)
		}
		var res registryv1.ListLimitsResponse
		if err := c.call(cmd.Context(), http.MethodGet, limitsPath+"?"+query.Encode(), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return limitsTable(out, res.GetLimits()) })
	}
	return cmd
}

func limitsTable(out io.Writer, all []*registryv1.Limit) error {
	rows := [][]string{{"LIMIT", "APP", "CALLER", "TOOL", "PER SECOND", "BURST", "AT ONCE"}}
	for _, l := range all {
		caller := cmp.Or(l.GetCaller(), "each")
		if caller == together {
			caller = "all together"
		}
		rows = append(rows, []string{
			l.GetLimitId(), cmp.Or(l.GetAppId(), "all together"), caller, cmp.Or(l.GetTool(), "all requests"),
			numberOr(l.GetCallsPerSecond(), "any"), numberOr(float64(l.GetBurst()), "-"), numberOr(float64(l.GetConcurrent()), "any"),
		})
	}
	return table(out, rows)
}

func numberOr(n float64, none string) string {
	if n == 0 {
		return none
	}
	return strconv.FormatFloat(n, 'f', -1, 64)
}

func newLimitsSet(a *access) *cobra.Command {
	req := &registryv1.PutLimitRequest{}
	var app string
	var asOne bool
	cmd := &cobra.Command{
		Use: "set", Short: "Set the limit of an app, a caller and a tool, or change the one there is", Args: cobra.NoArgs,
		Long: "Set the limit of an app, a caller and a tool, or change the one there is.\n\n" +
			"What is left out is not asked about: without --app, the limit is for all apps of the organisation\n" +
			"together; without --tool, for all requests; without --caller and --together, for each caller by itself.",
		Example: "  agentcloud limits set --calls-per-second 10 --burst 50\n" +
			"  agentcloud limits set --app search --tool crawl --together --concurrent 4\n" +
			"  agentcloud limits set --app search --caller u_… --calls-per-second 0.5",
	}
	flags := cmd.Flags()
	flags.StringVar(&app, "app", "", "one app: its name or id")
	flags.StringVar(&req.Caller, "caller", "", "one user, by id")
	flags.BoolVar(&asOne, "together", false, "all callers as one, not each by itself")
	flags.StringVar(&req.Tool, "tool", "", "one tool, by name")
	flags.Float64Var(&req.CallsPerSecond, "calls-per-second", 0, "calls per second in the long run; 0: any")
	flags.Int32Var(&req.Burst, "burst", 0, "calls at one moment after a quiet time; 0: as many as in one second")
	flags.Int32Var(&req.Concurrent, "concurrent", 0, "calls that run at the same time; 0: any")
	cmd.MarkFlagsMutuallyExclusive("caller", "together")
	cmd.MarkFlagsOneRequired("calls-per-second", "concurrent")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if asOne {
			req.Caller = together
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		var res registryv1.PutLimitResponse
		if err := c.setLimit(cmd.Context(), app, req, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res.GetLimit(), func(out io.Writer) error {
			return limitsTable(out, []*registryv1.Limit{res.GetLimit()})
		})
	}
	return cmd
}

func (c *client) setLimit(ctx context.Context, app string, req *registryv1.PutLimitRequest, res *registryv1.PutLimitResponse) (err error) {
	if app != "" {
		if req.AppId, err = c.appID(ctx, app); err != nil {
			return err
		}
	}
	return c.call(ctx, http.MethodPut, limitsPath, req, res)
}

func newLimitsDelete(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete LIMIT", Short: "Delete a limit", Args: exactly("LIMIT"), Example: "  agentcloud limits delete lim_…",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res registryv1.DeleteLimitResponse
		if err := c.call(cmd.Context(), http.MethodDelete, limitsPath+"/"+url.PathEscape(args[0]), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, "deleted")
			return err
		})
	}
	return cmd
}
