package cli

import (
	"bufio"
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

// progressEvery is how often the progress of a bulk operation is asked for.
const progressEvery = time.Second

func newRunsBulk(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "bulk", Short: "Do one thing to many runs",
		Long: "Do one thing to many runs: those that the flags name, as for `agentcloud runs list`. How many they are is shown and\n" +
			"asked about first; --yes answers. Cancel, terminate and signal touch open runs only.\n\n" +
			"It goes on in the background when this command is ended; your organisation has one at work at a time.",
		Example: "  agentcloud runs bulk cancel --app shop --label team=red\n" +
			"  agentcloud runs bulk reset --app shop --status failed --since 2h --to first --yes\n" +
			"  agentcloud runs bulk list\n  agentcloud runs bulk stop BULK",
	}
	var signal, payload, to string
	signals := newBulkDo(a, "signal", "Send each run a signal", func(req *schedulerv1.StartBulkOperationRequest) error {
		req.Operation = &schedulerv1.StartBulkOperationRequest_Signal{Signal: &schedulerv1.BulkSignal{SignalName: signal, PayloadJson: payload}}
		return nil
	})
	signals.Flags().StringVar(&signal, "name", "", "the signal's name; resume when empty")
	signals.Flags().StringVar(&payload, "payload", "", "the signal's payload, as JSON")
	resets := newBulkDo(a, "reset", "Go back in each run, also in those that are over", func(req *schedulerv1.StartBulkOperationRequest) error {
		if to != "first" && to != "last" {
			return usage("--to %s: use first or last", to)
		}
		req.Operation = &schedulerv1.StartBulkOperationRequest_Reset_{Reset_: &schedulerv1.BulkReset{FirstStep: to == "first"}}
		return nil
	})
	resets.Flags().StringVar(&to, "to", "last", "first or last step of the code")
	cmd.AddCommand(
		newBulkDo(a, "cancel", "Ask each run to end", func(req *schedulerv1.StartBulkOperationRequest) error {
			req.Operation = &schedulerv1.StartBulkOperationRequest_Cancel{Cancel: &schedulerv1.BulkCancel{}}
			return nil
		}),
		newBulkDo(a, "terminate", "End each run by force", func(req *schedulerv1.StartBulkOperationRequest) error {
			req.Operation = &schedulerv1.StartBulkOperationRequest_Terminate{Terminate: &schedulerv1.BulkTerminate{}}
			return nil
		}),
		signals, resets, newBulkList(a), newBulkGet(a), newBulkStop(a),
	)
	return cmd
}

func newBulkDo(a *access, verb, shortText string, operation func(*schedulerv1.StartBulkOperationRequest) error) *cobra.Command {
	req := &schedulerv1.StartBulkOperationRequest{}
	var yes, background bool
	cmd := &cobra.Command{Use: verb, Short: shortText, Args: cobra.NoArgs}
	filter := filterFlags(cmd, a)
	flags := cmd.Flags()
	flags.StringVar(&req.Reason, "reason", "", "why, for whoever looks at the runs later")
	flags.Float32Var(&req.RunsPerSecond, "rate", 0, "runs per second; 0: 50, which is the most")
	flags.BoolVar(&req.All, "all", false, "really all runs of the organisation")
	flags.BoolVarP(&yes, "yes", "y", false, "do not ask")
	flags.BoolVar(&background, "background", false, "do not wait for the end")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if req.Filter, err = filter.message(cmd.Context(), c); err != nil {
			return err
		}
		if err := operation(req); err != nil {
			return err
		}
		if !yes {
			if err := c.confirm(cmd, verb, req); err != nil {
				return err
			}
		}
		return c.doBulk(cmd, *format, req, background)
	}
	return cmd
}

// confirm asks on the terminal whether that many runs are meant.
func (c *client) confirm(cmd *cobra.Command, verb string, req *schedulerv1.StartBulkOperationRequest) error {
	req.DryRun = true
	defer func() { req.DryRun = false }()
	var res schedulerv1.StartBulkOperationResponse
	if err := c.call(cmd.Context(), http.MethodPost, bulkPath, req, &res); err != nil {
		return err
	}
	if res.GetFound() == 0 {
		return fmt.Errorf("no run fits the filter")
	}
	_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s %d runs? [y/N] ", verb, res.GetFound())
	line, _ := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 100)).ReadString('\n') //nolint:mnd // an answer is short; its end is an answer, too
	switch strings.ToLower(strings.TrimSpace(line)) {
	case "y", "yes":
		return nil
	}
	return usage("nothing was done: answer y, or add --yes")
}

// doBulk starts an operation and, unless it is to stay in the background, tells how far
// it is until it ends.
func (c *client) doBulk(cmd *cobra.Command, format string, req *schedulerv1.StartBulkOperationRequest, background bool) error {
	var res schedulerv1.StartBulkOperationResponse
	if err := c.call(cmd.Context(), http.MethodPost, bulkPath, req, &res); err != nil {
		return err
	}
	if background {
		return showMessage(cmd.OutOrStdout(), format, &res, say("%s", res.GetBulkId()))
	}
	operation, err := c.awaitBulk(cmd.Context(), res.GetBulkId(), func(o *schedulerv1.BulkOperation) {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "%s: %d of %d\n", o.GetBulkId(), o.GetDone()+o.GetFailed(), o.GetTotal())
	})
	if err != nil {
		return err
	}
	if err := showMessage(cmd.OutOrStdout(), format, operation, func(out io.Writer) error { return bulkText(out, operation) }); err != nil {
		return err
	}
	if operation.GetState() != "completed" || operation.GetFailed() > 0 {
		return fmt.Errorf("the operation %s; %d of %d runs were not reached", operation.GetState(), operation.GetTotal()-operation.GetDone(), operation.GetTotal())
	}
	return nil
}

func (c *client) awaitBulk(ctx context.Context, id string, progress func(*schedulerv1.BulkOperation)) (*schedulerv1.BulkOperation, error) {
	ticker := time.NewTicker(progressEvery)
	defer ticker.Stop()
	for {
		operation, err := c.getBulk(ctx, id)
		if err != nil || operation.GetState() != "running" {
			return operation, err
		}
		progress(operation)
		select {
		case <-ctx.Done():
			return operation, fmt.Errorf("it goes on: agentcloud runs bulk get %s", id)
		case <-ticker.C:
		}
	}
}

func (c *client) getBulk(ctx context.Context, id string) (*schedulerv1.BulkOperation, error) {
	var res schedulerv1.GetBulkOperationResponse
	err := c.call(ctx, http.MethodGet, bulkPath+"/"+url.PathEscape(id), nil, &res)
	return res.GetOperation(), err
}

func bulkText(out io.Writer, o *schedulerv1.BulkOperation) error {
	return table(out, [][]string{
		{"BULK", "WHAT", "STATE", "RUNS", "DONE", "FAILED", "BY", "REASON"},
		{
			o.GetBulkId(), o.GetKind(), o.GetState(), strconv.FormatInt(o.GetTotal(), 10), strconv.FormatInt(o.GetDone(), 10),
			strconv.FormatInt(o.GetFailed(), 10), o.GetBy(), o.GetReason(),
		},
	})
}

func newBulkGet(a *access) *cobra.Command {
	cmd := &cobra.Command{Use: "get BULK", Short: "Tell how far a bulk operation is", Args: exactly("BULK")}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		operation, err := c.getBulk(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, operation, func(out io.Writer) error { return bulkText(out, operation) })
	}
	return cmd
}

func newBulkList(a *access) *cobra.Command {
	cmd := &cobra.Command{Use: "list", Short: "List bulk operations, newest first", Args: cobra.NoArgs}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res schedulerv1.ListBulkOperationsResponse
		if err := c.call(cmd.Context(), http.MethodGet, bulkPath, nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			rows := [][]string{{"BULK", "WHAT", "STATE", "STARTED", "ENDED"}}
			for _, o := range res.GetOperations() {
				rows = append(rows, []string{o.GetBulkId(), o.GetKind(), o.GetState(), moment(o.GetStartTime()), moment(o.GetCloseTime())})
			}
			return table(out, rows)
		})
	}
	return cmd
}

func newBulkStop(a *access) *cobra.Command {
	req := &schedulerv1.StopBulkOperationRequest{}
	cmd := &cobra.Command{Use: "stop BULK", Short: "End a bulk operation; what is done stays done", Args: exactly("BULK")}
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res schedulerv1.StopBulkOperationResponse
		if err := c.call(cmd.Context(), http.MethodPost, bulkPath+"/"+url.PathEscape(args[0])+"/stop", req, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("stopped"))
	}
	return cmd
}
