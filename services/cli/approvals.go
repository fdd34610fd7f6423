package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/structpb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const approvalsPath = "/v1/approvals"

func newApprovals() *cobra.Command {
	cmd := &cobra.Command{Use: "approvals", Short: "Questions of runs that wait for a person"}
	a := accessFlags(cmd)
	cmd.AddCommand(newApprovalsList(a), newApprovalsShow(a), newApprovalsAnswer(a), newApprovalsLink(a))
	return cmd
}

// messageOf is what is asked, in one line.
func messageOf(q *schedulerv1.Question) string {
	var params struct {
		Message string `json:"message"`
	}
	if json.Unmarshal([]byte(q.GetParamsJson()), &params) != nil || params.Message == "" {
		return q.GetMethod()
	}
	const most = 80
	if runes := []rune(params.Message); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return params.Message
}

func newApprovalsAnswer(a *access) *cobra.Command {
	var content string
	var decline bool
	cmd := &cobra.Command{
		Use: "answer QUESTION", Short: "Answer a question: the first answer counts", Args: exactly("QUESTION"),
		Example: "  agentcloud approvals answer qst_… --content '{\"approved\": true}'\n  agentcloud approvals answer qst_… --decline",
	}
	cmd.Flags().StringVar(&content, "content", "{}", "values of the form, as a JSON object")
	cmd.Flags().BoolVar(&decline, "decline", false, "say no")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req := &schedulerv1.AnswerQuestionRequest{QuestionId: args[0], Action: "accept", Content: &structpb.Struct{}}
		if err := req.GetContent().UnmarshalJSON([]byte(content)); err != nil {
			return usage("--content must be a JSON object: %v", err)
		}
		if decline {
			req.Action, req.Content = "decline", nil
		}
		var res schedulerv1.AnswerQuestionResponse
		if err := c.call(cmd.Context(), http.MethodPost, approvalsPath+"/"+url.PathEscape(args[0])+"/answer", req, &res); err != nil {
			return err
		}
		if !res.GetAccepted() {
			return fmt.Errorf("somebody else has answered this question before, its time is over, or its run needs no answer any more")
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, "answered")
			return err
		})
	}
	return cmd
}

func newApprovalsLink(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "link QUESTION", Short: "Make a link to a page on which anybody who has it can answer, for 7 days or until the question's deadline", Args: exactly("QUESTION"),
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res structpb.Struct
		if err := c.call(cmd.Context(), http.MethodPost, approvalsPath+"/"+url.PathEscape(args[0])+"/link", nil, &res); err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, res.AsMap(), func(out io.Writer) error {
			_, err := fmt.Fprintln(out, res.GetFields()["url"].GetStringValue())
			return err
		})
	}
	return cmd
}
