package cli

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// mostPages bounds what --all reads, 1000 questions a page.
const mostPages = 1000

var questionStates = []string{"open", "answered", "expired", "withdrawn", "any"}

func newApprovalsList(a *access) *cobra.Command {
	var app, run, state string
	var all bool
	cmd := &cobra.Command{
		Use: "list", Short: "List questions, oldest first: those that are open, unless --state says otherwise", Args: cobra.NoArgs,
		Example: "  agentcloud approvals list\n  agentcloud approvals list --state any --run RUN_ID\n  agentcloud approvals list --all --output json",
	}
	cmd.Flags().StringVar(&app, "app", "", "only of the app with this id")
	cmd.Flags().StringVar(&run, "run", "", "only of the run with this id")
	cmd.Flags().StringVar(&state, "state", "open", "open, answered, expired (nobody had answered at the deadline), withdrawn (the run needs no answer any more) or any")
	cmd.Flags().BoolVar(&all, "all", false, "all pages; without, the first 100")
	_ = cmd.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(questionStates, cobra.ShellCompDirectiveNoFileComp)) // the flag is there
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		query := url.Values{"targetId": {app}, "runId": {run}, "state": {state}}
		res, err := questionPages(cmd, c, query, all)
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error { return questionTable(out, res) })
	}
	return cmd
}

// questionPages reads one page, or all as one.
func questionPages(cmd *cobra.Command, c *client, query url.Values, all bool) (*schedulerv1.ListQuestionsResponse, error) {
	whole := &schedulerv1.ListQuestionsResponse{}
	if all {
		query.Set("pageSize", "1000")
	}
	for range mostPages {
		var page schedulerv1.ListQuestionsResponse
		if err := c.call(cmd.Context(), http.MethodGet, approvalsPath+"?"+query.Encode(), nil, &page); err != nil {
			return nil, err
		}
		whole.Questions, whole.NextPageToken = append(whole.Questions, page.GetQuestions()...), page.GetNextPageToken()
		if !all || whole.GetNextPageToken() == "" {
			break
		}
		query.Set("pageToken", whole.GetNextPageToken())
	}
	return whole, nil
}

func questionTable(out io.Writer, res *schedulerv1.ListQuestionsResponse) error {
	rows := [][]string{{"QUESTION", "STATE", "ASKED", "UNTIL", "RUN", "MESSAGE"}}
	for _, q := range res.GetQuestions() {
		rows = append(rows, []string{q.GetQuestionId(), q.GetState(), localTime(q.GetAskedAt()), localTime(q.GetDeadline()), q.GetWorkflowId(), messageOf(q)})
	}
	if err := table(out, rows); err != nil || res.GetNextPageToken() == "" {
		return err
	}
	_, err := fmt.Fprintln(out, "There are more: --all lists them.")
	return err
}

// localTime is a time for people; a dash where there is none.
func localTime(at *timestamppb.Timestamp) string {
	if at == nil {
		return "-"
	}
	return at.AsTime().Local().Format(time.DateTime)
}

func newApprovalsShow(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "show QUESTION", Short: "Show a question: what is asked, until when, and who answered", Args: exactly("QUESTION"),
		Example: "  agentcloud approvals show qst_…",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res schedulerv1.GetQuestionResponse
		if err := c.call(cmd.Context(), http.MethodGet, approvalsPath+"/"+url.PathEscape(args[0]), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return questionCard(out, res.GetQuestion()) })
	}
	return cmd
}

func questionCard(out io.Writer, q *schedulerv1.Question) error {
	rows := [][]string{
		{"question", q.GetQuestionId()},
		{"state", q.GetState()},
		{"message", messageOf(q)},
		{"run", q.GetWorkflowId() + " " + q.GetRunId()},
		{"asked", localTime(q.GetAskedAt())},
		{"until", localTime(q.GetDeadline())},
	}
	if q.GetAnsweredAt() != nil {
		by := q.GetAnsweredBy()
		if by == "" {
			by = "the client of the run"
		}
		rows = append(rows, []string{"answered", localTime(q.GetAnsweredAt())}, []string{"by", by})
	}
	return table(out, append(rows, []string{"params", q.GetParamsJson()}))
}
