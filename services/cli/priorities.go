package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const prioritiesPath = "/v1/priorities"

func newPriorities() *cobra.Command {
	cmd := &cobra.Command{
		Use: "priorities", Short: "Who may be served how early, and how large whose share is (administrators change it)",
		Long: "Who may be served how early, and how large whose share of the queues is.\n\n" +
			"A run has a priority from 1 (served first) to 5 (last), usually 3. Among runs of the same priority\n" +
			"callers share by weight. Of the rules that fit a caller the most specific decides: app and caller,\n" +
			"caller, app, all. Without a rule administrators may ask for 1, users for 2, others for 3.",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(newPrioritiesList(a), newPrioritiesSet(a), newPrioritiesDelete(a))
	return cmd
}

func newPrioritiesList(a *access) *cobra.Command {
	var app string
	cmd := &cobra.Command{Use: "list", Short: "List the rules of your organisation, oldest first", Args: cobra.NoArgs}
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
		var res schedulerv1.ListPriorityRulesResponse
		if err := c.call(cmd.Context(), http.MethodGet, prioritiesPath+"?"+query.Encode(), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return prioritiesTable(out, res.GetRules()) })
	}
	return cmd
}

func prioritiesTable(out io.Writer, all []*schedulerv1.PriorityRule) error {
	rows := [][]string{{"RULE", "APP", "CALLER", "HIGHEST", "WEIGHT"}}
	for _, r := range all {
		rows = append(rows, []string{
			r.GetRuleId(), cmp.Or(r.GetAppId(), "all"), cmp.Or(r.GetCaller(), "each"),
			numberOr(float64(r.GetHighest()), "-"), numberOr(r.GetWeight(), "-"),
		})
	}
	return table(out, rows)
}

func newPrioritiesSet(a *access) *cobra.Command {
	req := &schedulerv1.PutPriorityRuleRequest{}
	var app string
	cmd := &cobra.Command{
		Use: "set", Short: "Set the rule of an app and a caller, or change the one there is", Args: cobra.NoArgs,
		Long: "Set the rule of an app and a caller, or change the one there is. It holds for runs that start\n" +
			"after it. Without --app, it is for all apps; without --caller, for each caller.",
		Example: "  agentcloud priorities set --app search --caller u_… --highest 1\n" +
			"  agentcloud priorities set --caller u_… --weight 3\n" +
			"  agentcloud priorities set --app search --caller anonymous --highest 5 --weight 0.1",
	}
	flags := cmd.Flags()
	flags.StringVar(&app, "app", "", "one app: its name or id")
	flags.StringVar(&req.Caller, "caller", "", "one user or another organisation, by id; or anonymous: callers without a key")
	flags.Int32Var(&req.Highest, "highest", 0, "the highest priority that may be asked for: 1 (all) to 5 (only the last)")
	flags.Float64Var(&req.Weight, "weight", 0, "weight of the share, 0.001 to 1000; whoever has none has 1")
	cmd.MarkFlagsOneRequired("highest", "weight")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if app != "" {
			if req.AppId, err = c.appID(cmd.Context(), app); err != nil {
				return err
			}
		}
		var res schedulerv1.PutPriorityRuleResponse
		if err := c.call(cmd.Context(), http.MethodPut, prioritiesPath, req, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res.GetRule(), func(out io.Writer) error {
			return prioritiesTable(out, []*schedulerv1.PriorityRule{res.GetRule()})
		})
	}
	return cmd
}

func newPrioritiesDelete(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "delete RULE", Short: "Delete a rule", Args: exactly("RULE"), Example: "  agentcloud priorities delete prr_…",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res schedulerv1.DeletePriorityRuleResponse
		if err := c.call(cmd.Context(), http.MethodDelete, prioritiesPath+"/"+url.PathEscape(args[0]), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, "deleted")
			return err
		})
	}
	return cmd
}

// priorityFlag adds --priority and returns where its value is; 0 when none was given.
func priorityFlag(cmd *cobra.Command) *int32 {
	priority := cmd.Flags().Int32("priority", 0, "1 (served first) to 5 (last); default: as the app says, else 3")
	_ = cmd.RegisterFlagCompletionFunc("priority", cobra.FixedCompletions([]string{"1", "2", "3", "4", "5"}, cobra.ShellCompDirectiveNoFileComp))
	cmd.PreRunE = func(cmd *cobra.Command, _ []string) error {
		if cmd.Flags().Changed("priority") && (*priority < 1 || *priority > 5) {
			return usage("--priority %s: use 1 (served first) to 5 (last)", strconv.Itoa(int(*priority)))
		}
		return nil
	}
	return priority
}
