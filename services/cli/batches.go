package cli

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const batchesPath = "/v1/batches"

func newBatches() *cobra.Command {
	cmd := &cobra.Command{
		Use: "batches", Short: "Run a workflow or tool for many inputs",
		Long: "Run a workflow or tool for many inputs.\n\n" +
			"Each input is a run of its own, which starts once. A batch goes on whatever is restarted meanwhile.",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(newBatchesStart(a), newBatchesList(a), newBatchesGet(a), newBatchesItems(a), newBatchesResults(a),
		newBatchesRetry(a), newBatchesPause(a), newBatchesResume(a), newBatchesCancel(a))
	return cmd
}

func batchPath(batch, verb string) string {
	path := batchesPath + "/" + url.PathEscape(batch)
	if verb != "" {
		path += "/" + verb
	}
	return path
}

func newBatchesList(a *access) *cobra.Command {
	var app, state string
	var limit int
	cmd := &cobra.Command{Use: "list", Short: "List batches of your organisation, newest first", Args: cobra.NoArgs, Example: "  agentcloud batches list --app hello --state running"}
	cmd.Flags().StringVar(&app, "app", "", "only of this app: its name or id")
	cmd.Flags().StringVar(&state, "state", "", "only those that are running, paused, cancelling, completed or cancelled")
	completeWith(cmd, "state", batchStateNames())
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many") //nolint:mnd // as the API
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		query := url.Values{"pageSize": {strconv.Itoa(limit)}}
		if err := enumQuery(query, "state", state, "BATCH_STATE_", schedulerv1.BatchState_value); err != nil {
			return err
		}
		if app != "" {
			id, err := c.appID(cmd.Context(), app)
			if err != nil {
				return err
			}
			query.Set("targetId", id)
		}
		var res schedulerv1.ListBatchesResponse
		if err := c.call(cmd.Context(), http.MethodGet, batchesPath+"?"+query.Encode(), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			rows := [][]string{{"BATCH", "NAME", "STATE", "DONE", "FAILED", "OF", "STARTED"}}
			for _, b := range res.GetBatches() {
				rows = append(rows, []string{
					b.GetBatchId(), b.GetName(), batchState(b), percent(b), strconv.FormatInt(b.GetFailed(), 10),
					strconv.FormatInt(b.GetTotal(), 10), b.GetStartTime().AsTime().Local().Format(time.DateTime),
				})
			}
			return table(out, rows)
		})
	}
	return cmd
}

func newBatchesGet(a *access) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "get BATCH", Short: "Show how a batch is, and why items failed", Args: exactly("BATCH"),
		Long:    "Show how a batch is, and why items failed.\n\nWith --watch the exit code is 1 when an item ended without a result.",
		Example: "  agentcloud batches get bat_… --watch",
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "follow it to its end")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if watch {
			return c.watchBatch(cmd, *format, args[0])
		}
		var res schedulerv1.GetBatchResponse
		if err := c.call(cmd.Context(), http.MethodGet, batchPath(args[0], ""), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return batchText(out, &res) })
	}
	return cmd
}

func newBatchesItems(a *access) *cobra.Command {
	var state, next string
	var limit int
	cmd := &cobra.Command{
		Use: "items BATCH", Short: "List the items of a batch and their runs, in the order of the inputs", Args: exactly("BATCH"),
		Example: "  agentcloud batches items bat_… --state running",
	}
	cmd.Flags().StringVar(&state, "state", "", "only those that are pending, running, completed, failed or cancelled")
	completeWith(cmd, "state", []string{"pending", "running", "completed", "failed", "cancelled"})
	cmd.Flags().IntVar(&limit, "limit", 100, "at most this many, up to 1000") //nolint:mnd // as the API
	cmd.Flags().StringVar(&next, "next", "", "continue an earlier list: its nextPageToken")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		query := url.Values{"pageSize": {strconv.Itoa(limit)}, "pageToken": {next}}
		if err := enumQuery(query, "state", state, "BATCH_ITEM_STATE_", schedulerv1.BatchItemState_value); err != nil {
			return err
		}
		var res schedulerv1.ListBatchItemsResponse
		if err := c.call(cmd.Context(), http.MethodGet, batchPath(args[0], "items")+"?"+query.Encode(), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			rows := [][]string{{"INDEX", "STATE", "RUN", "ERROR"}}
			for _, i := range res.GetItems() {
				rows = append(rows, []string{
					strconv.FormatInt(i.GetIndex(), 10), word(i.GetState().String(), "BATCH_ITEM_STATE_"), cmp.Or(i.GetRunId(), "-"), firstLine(i.GetErrorMessage()),
				})
			}
			if err := table(out, rows); err != nil || res.GetNextPageToken() == "" {
				return err
			}
			_, err := fmt.Fprintf(out, "more: --next %s\n", res.GetNextPageToken())
			return err
		})
	}
	return cmd
}

func newBatchesRetry(a *access) *cobra.Command {
	req := &schedulerv1.RetryBatchRequest{}
	var watch bool
	cmd := &cobra.Command{
		Use: "retry BATCH", Short: "Run the items again that failed; each gets a new run", Args: exactly("BATCH"),
		Example: "  agentcloud batches retry bat_… --watch",
	}
	cmd.Flags().BoolVar(&req.Cancelled, "cancelled", false, "also those that were cancelled")
	cmd.Flags().BoolVar(&watch, "watch", false, "follow the batch to its end")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		req.BatchId = args[0]
		var res schedulerv1.RetryBatchResponse
		if err := c.call(cmd.Context(), http.MethodPost, batchPath(args[0], "retry"), req, &res); err != nil {
			return err
		}
		if watch {
			return c.watchBatch(cmd, *format, args[0])
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "%d items are tried again\n", res.GetItems())
			return err
		})
	}
	return cmd
}

func newBatchesPause(a *access) *cobra.Command {
	var res schedulerv1.PauseBatchResponse
	return batchVerb(a, "pause", "Let open runs end and start no more", &res, res.GetBatch)
}

func newBatchesResume(a *access) *cobra.Command {
	var res schedulerv1.ResumeBatchResponse
	return batchVerb(a, "resume", "Go on with a batch that was paused", &res, res.GetBatch)
}

func newBatchesCancel(a *access) *cobra.Command {
	var res schedulerv1.CancelBatchResponse
	return batchVerb(a, "cancel", "Start no more runs and cancel those that are open; results stay", &res, res.GetBatch)
}

// batchVerb makes a command that changes a batch and shows it.
func batchVerb(a *access, verb, short string, res proto.Message, batch func() *schedulerv1.Batch) *cobra.Command {
	cmd := &cobra.Command{Use: verb + " BATCH", Short: short, Args: exactly("BATCH"), Example: "  agentcloud batches " + verb + " bat_…"}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		if err := c.call(cmd.Context(), http.MethodPost, batchPath(args[0], verb), nil, res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, batchLine(batch()))
			return err
		})
	}
	return cmd
}

func batchStateNames() []string {
	return []string{"running", "paused", "cancelling", "completed", "cancelled"}
}

func completeWith(cmd *cobra.Command, flag string, words []string) {
	_ = cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp))
}

// enumQuery sets a query parameter to a value of an enum that a person wrote in short.
func enumQuery(query url.Values, name, value, prefix string, values map[string]int32) error {
	if value == "" {
		return nil
	}
	full := prefix + strings.ToUpper(value)
	if n, ok := values[full]; !ok || n == 0 {
		return usage("--%s %s: there is none like that; see --help", name, value)
	}
	query.Set(name, full)
	return nil
}

// word is a value of an enum in short.
func word(full, prefix string) string { return strings.ToLower(strings.TrimPrefix(full, prefix)) }
