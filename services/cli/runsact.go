package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

func newRunsCancel(a *access) *cobra.Command {
	var format *string
	cmd := runCommand(a, "cancel RUN", "Ask a run to end; its code may clean up", func(cmd *cobra.Command, c *client, run string) error {
		var res schedulerv1.CancelRunResponse
		if err := c.call(cmd.Context(), http.MethodPost, runPath(run, "/cancel"), &schedulerv1.CancelRunRequest{}, &res); err != nil {
			return err
		}
		if !res.GetFound() {
			return fmt.Errorf("there is no open run %s", run)
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("asked to end"))
	})
	format = formatFlag(cmd)
	return cmd
}

// actCommand is a command that does something to a run for a reason.
func actCommand(a *access, use, shortText string, do func(c *client, cmd *cobra.Command, run, reason string) (proto.Message, string, error)) *cobra.Command {
	var format *string
	var why string
	cmd := runCommand(a, use, shortText, func(cmd *cobra.Command, c *client, run string) error {
		res, said, err := do(c, cmd, run, why)
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res, say("%s", said))
	})
	cmd.Flags().StringVar(&why, "reason", "", "why, for whoever looks at the run later")
	format = formatFlag(cmd)
	return cmd
}

func newRunsTerminate(a *access) *cobra.Command {
	return actCommand(a, "terminate RUN", "End a run by force; its code is not asked", func(c *client, cmd *cobra.Command, run, why string) (proto.Message, string, error) {
		res := &schedulerv1.TerminateRunResponse{}
		err := c.call(cmd.Context(), http.MethodPost, runPath(run, "/terminate"), &schedulerv1.TerminateRunRequest{Reason: why}, res)
		return res, "terminated", err
	})
}

func newRunsPause(a *access) *cobra.Command {
	return actCommand(a, "pause RUN", "Hold a run: it takes no further step until it is unpaused", func(c *client, cmd *cobra.Command, run, why string) (proto.Message, string, error) {
		res := &schedulerv1.PauseRunResponse{}
		err := c.call(cmd.Context(), http.MethodPost, runPath(run, "/pause"), &schedulerv1.PauseRunRequest{Reason: why}, res)
		if !res.GetChanged() {
			return res, "it was paused before", err
		}
		return res, "paused", err
	})
}

func newRunsUnpause(a *access) *cobra.Command {
	return actCommand(a, "unpause RUN", "Let a run that was held go on", func(c *client, cmd *cobra.Command, run, why string) (proto.Message, string, error) {
		res := &schedulerv1.UnpauseRunResponse{}
		err := c.call(cmd.Context(), http.MethodPost, runPath(run, "/unpause"), &schedulerv1.UnpauseRunRequest{Reason: why}, res)
		if !res.GetChanged() {
			return res, "it was not paused", err
		}
		return res, "it goes on", err
	})
}

func newRunsReset(a *access) *cobra.Command {
	var to, before string
	var noSignals bool
	cmd := actCommand(a, "reset RUN", "Go back to a point of a run and do everything after it again", func(c *client, cmd *cobra.Command, run, why string) (proto.Message, string, error) {
		point, err := pointOf(to, before)
		if err != nil {
			return nil, "", err
		}
		res := &schedulerv1.ResetRunResponse{}
		req := &schedulerv1.ResetRunRequest{Point: point, Reason: why, WithoutSignals: noSignals}
		err = c.call(cmd.Context(), http.MethodPost, runPath(run, "/reset"), req, res)
		return res, res.GetRunId(), err
	})
	cmd.Long = "Go back to a point of a run and do everything after it again, as a new run, whose id is printed. What was done before\n" +
		"the point is not done again: its results are taken from the history. The run itself ends when it is open.\n" +
		"Signals that came after the point are delivered again."
	cmd.Example = "  agentcloud runs reset RUN --before charge_card --reason 'the key was wrong'\n" +
		"  agentcloud runs reset RUN --to first      # everything again\n" +
		"  agentcloud runs reset RUN --to 23         # the last step that ended at event 23 or earlier; `agentcloud runs history` shows events"
	cmd.Flags().StringVar(&to, "to", "last", "first, last, or the number of an event")
	cmd.Flags().StringVar(&before, "before", "", "before the activity of this name was asked for")
	cmd.Flags().BoolVar(&noSignals, "without-signals", false, "do not deliver later signals again")
	cmd.MarkFlagsMutuallyExclusive("to", "before")
	_ = cmd.RegisterFlagCompletionFunc("to", cobra.FixedCompletions([]string{"first", "last"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

func pointOf(to, before string) (*schedulerv1.ResetPoint, error) {
	switch {
	case before != "":
		return &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_BeforeActivity{BeforeActivity: before}}, nil
	case to == "first":
		return &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_FirstStep{FirstStep: true}}, nil
	case to == "last":
		return &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_LastStep{LastStep: true}}, nil
	}
	event, err := strconv.ParseInt(to, 10, 64)
	if err != nil || event < 1 {
		return nil, usage("--to %s: use first, last, or the number of an event", to)
	}
	return &schedulerv1.ResetPoint{Point: &schedulerv1.ResetPoint_EventId{EventId: event}}, nil
}

func newRunsSignal(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "signal RUN [NAME] [PAYLOAD]", Short: "Send a run a signal",
		Long:    "Send a run a signal. NAME is resume unless given, PAYLOAD is JSON.",
		Example: "  agentcloud runs signal RUN resume '{\"approved\": true}'",
		Args:    cobra.RangeArgs(1, 3), ValidArgsFunction: a.completeRuns,
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req := &schedulerv1.SignalRunRequest{SignalName: argument(args, 1), PayloadJson: argument(args, 2)}
		var res schedulerv1.SignalRunResponse
		if err := c.call(cmd.Context(), http.MethodPost, runPath(args[0], "/signal"), req, &res); err != nil {
			return err
		}
		if !res.GetFound() {
			return fmt.Errorf("there is no open run %s", args[0])
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("sent"))
	}
	return cmd
}

// argument is empty when it was not given.
func argument(args []string, i int) string {
	if i < len(args) {
		return args[i]
	}
	return ""
}

func newRunsQuery(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "query RUN [QUERY] [ARGUMENTS]", Short: "Ask a run's code by a query that it answers",
		Long:    "Ask a run's code by a query that it answers. QUERY is __stack_trace unless given, which every run answers: where its\ncode waits. ARGUMENTS is a JSON array.",
		Example: "  agentcloud runs query RUN\n  agentcloud runs query RUN progress '[\"short\"]'",
		Args:    cobra.RangeArgs(1, 3), ValidArgsFunction: a.completeRuns,
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req := &schedulerv1.QueryRunRequest{Query: argument(args, 1), ArgumentsJson: argument(args, 2)}
		if req.GetQuery() == "" {
			req.Query = "__stack_trace"
		}
		var res schedulerv1.QueryRunResponse
		if err := c.call(cmd.Context(), http.MethodPost, runPath(args[0], "/query"), req, &res); err != nil {
			return err
		}
		result := json.RawMessage(res.GetResultJson())
		return show(cmd.OutOrStdout(), *format, result, func(out io.Writer) error { return say("%s", plain(result))(out) })
	}
	return cmd
}
