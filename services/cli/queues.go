package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

var queueKinds = map[schedulerv1.QueueKind]string{
	schedulerv1.QueueKind_QUEUE_KIND_WORKFLOWS: "workflows",
	schedulerv1.QueueKind_QUEUE_KIND_STEPS:     "steps",
	schedulerv1.QueueKind_QUEUE_KIND_TOOLS:     "tools",
}

func newQueues() *cobra.Command {
	cmd := &cobra.Command{
		Use: "queues", Short: "What waits for the agents of apps, and how fast they may take it (administrators bound it)",
		Long: "What waits for the agents of apps, and how fast they may take it.\n\n" +
			"An app has a queue of workflows (next moves of runs), one of steps (their activities), and for each\n" +
			"version one of tools (bodies of tools that run durably).",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(newQueuesList(a), newQueuesGet(a), newQueuesSet(a))
	return cmd
}

func newQueuesList(a *access) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List the queues of your organisation's apps", Args: cobra.NoArgs}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		all := &schedulerv1.ListQueuesResponse{}
		for query := (url.Values{}); ; query.Set("pageToken", all.GetNextPageToken()) {
			var res schedulerv1.ListQueuesResponse
			if err := c.call(cmd.Context(), http.MethodGet, "/v1/queues?"+query.Encode(), nil, &res); err != nil {
				return err
			}
			all.Targets, all.NextPageToken = append(all.Targets, res.GetTargets()...), res.GetNextPageToken()
			if all.GetNextPageToken() == "" {
				break
			}
		}
		return showMessage(cmd.OutOrStdout(), *format, all, func(out io.Writer) error { return queuesTable(out, all.GetTargets()) })
	}
	return cmd
}

func newQueuesGet(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "get APP", Short: "Show the queues of an app: what waits, by priority, and who takes it", Args: exactly("APP"),
		Example: "  agentcloud queues get search\n  agentcloud queues get search --output json",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		path, err := c.queuesPath(cmd, args[0])
		if err != nil {
			return err
		}
		var res schedulerv1.GetQueuesResponse
		if err := c.call(cmd.Context(), http.MethodGet, path, nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res.GetTarget(), func(out io.Writer) error { return showQueues(out, res.GetTarget()) })
	}
	return cmd
}

// queuesPath is where an app's queues are: by name, or by id of app or configuration.
func (c *client) queuesPath(cmd *cobra.Command, app string) (string, error) {
	id, err := c.targetID(cmd.Context(), app)
	return "/v1/apps/" + url.PathEscape(id) + "/queues", err
}

func queuesTable(out io.Writer, targets []*schedulerv1.TargetQueues) error {
	rows := [][]string{{"APP", "QUEUE", "VERSION", "WAITING", "OLDEST", "IN/S", "OUT/S", "POLLERS", "RATE", "RATE OF A SHARE"}}
	for _, t := range targets {
		for _, q := range t.GetQueues() {
			rows = append(rows, []string{
				t.GetAppName(), queueKinds[q.GetKind()], cmp.Or(q.GetVersionId(), "all"), strconv.FormatInt(q.GetBacklog(), 10),
				q.GetBacklogAge().AsDuration().Round(time.Second).String(), oneDecimal(q.GetAddRate()), oneDecimal(q.GetDispatchRate()),
				strconv.Itoa(len(q.GetPollers())), numberOr(q.GetRate(), "any"), numberOr(q.GetShareRate(), "any"),
			})
		}
	}
	return table(out, rows)
}

func oneDecimal(n float64) string { return strconv.FormatFloat(n, 'f', 1, 64) }

func showQueues(out io.Writer, t *schedulerv1.TargetQueues) error {
	if err := queuesTable(out, []*schedulerv1.TargetQueues{t}); err != nil {
		return err
	}
	rows := [][]string{{"QUEUE", "PRIORITY", "WAITING"}}
	for _, q := range t.GetQueues() {
		for p := int32(1); p <= 5; p++ {
			if n := q.GetBacklogByPriority()[p]; n > 0 {
				rows = append(rows, []string{queueKinds[q.GetKind()], strconv.Itoa(int(p)), strconv.FormatInt(n, 10)})
			}
		}
	}
	if len(rows) > 1 {
		_, _ = fmt.Fprintln(out)
		if err := table(out, rows); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintln(out)
	return queueLimitsTable(out, t.GetLimits())
}

func queueLimitsTable(out io.Writer, l *schedulerv1.QueueLimits) error {
	return table(out, [][]string{
		{"RATE", "RATE OF A SHARE", "WORKFLOWS AT ONCE", "STEPS AT ONCE", "TOOLS AT ONCE"},
		{
			numberOr(l.GetRate(), "any"), numberOr(l.GetShareRate(), "any"), numberOr(float64(l.GetWorkflows()), "usual"),
			numberOr(float64(l.GetSteps()), "usual"), numberOr(float64(l.GetTools()), "usual"),
		},
	})
}

func newQueuesSet(a *access) *cobra.Command {
	limits := &schedulerv1.QueueLimits{}
	cmd := &cobra.Command{
		Use: "set APP", Short: "Bound the queues of an app", Args: exactly("APP"),
		Long: "Bound the queues of an app. What is left out stays as it is; 0 takes a bound away. Rates hold at\n" +
			"once; how much a version works on at once holds from the next deploy, or start of the cloud.",
		Example: "  agentcloud queues set search --rate 10 --share-rate 2\n" +
			"  agentcloud queues set search --steps 4 --tools 4\n" +
			"  agentcloud queues set search --rate 0",
	}
	flags := cmd.Flags()
	flags.Float64Var(&limits.Rate, "rate", 0, "steps and bodies of tools a second; 0: any")
	flags.Float64Var(&limits.ShareRate, "share-rate", 0, "the same of each caller's share, times its weight; 0: any")
	flags.Int32Var(&limits.Workflows, "workflows", 0, "moves of workflows at once, of a version; 0: as usual, else at least 2")
	flags.Int32Var(&limits.Steps, "steps", 0, "steps at once, of a version; 0: as usual")
	flags.Int32Var(&limits.Tools, "tools", 0, "bodies of tools at once, of a version; 0: as usual")
	cmd.MarkFlagsOneRequired("rate", "share-rate", "workflows", "steps", "tools")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		path, err := c.queuesPath(cmd, args[0])
		if err != nil {
			return err
		}
		var now schedulerv1.GetQueuesResponse
		if err := c.call(cmd.Context(), http.MethodGet, path, nil, &now); err != nil {
			return err
		}
		keep(cmd, limits, now.GetTarget().GetLimits())
		var res schedulerv1.SetQueueLimitsResponse
		if err := c.call(cmd.Context(), http.MethodPut, path+"/limits", &schedulerv1.SetQueueLimitsRequest{Limits: limits}, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res.GetLimits(), func(out io.Writer) error { return queueLimitsTable(out, res.GetLimits()) })
	}
	return cmd
}

// keep fills in what the command line left out.
func keep(cmd *cobra.Command, limits, now *schedulerv1.QueueLimits) {
	given := cmd.Flags().Changed
	if !given("rate") {
		limits.Rate = now.GetRate()
	}
	if !given("share-rate") {
		limits.ShareRate = now.GetShareRate()
	}
	if !given("workflows") {
		limits.Workflows = now.GetWorkflows()
	}
	if !given("steps") {
		limits.Steps = now.GetSteps()
	}
	if !given("tools") {
		limits.Tools = now.GetTools()
	}
}
