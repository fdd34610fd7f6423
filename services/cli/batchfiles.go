package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// batchInputs says where inputs come from and what to do with them.
type batchInputs struct {
	file, format      string
	run, tool, toolIn string
	concurrency       int
	skip, watch       bool
	key               string
}

func newBatchesStart(a *access) *cobra.Command {
	in := &batchInputs{}
	cmd := &cobra.Command{
		Use: "start APP WORKFLOW", Short: "Run a workflow or tool for each input of a file", Args: exactly("APP", "WORKFLOW"),
		Long: "Run a workflow or tool for each input of a file, or of a list that a run or a tool returned.\n\n" +
			"The file has a JSON object of arguments a line, or is CSV with the parameters' names in its first row.\n" +
			"Every input is checked first. When one is not valid, nothing starts and the lines are named.",
		Example: "  agentcloud batches start hello Greet --file people.jsonl --concurrency 20 --watch\n" +
			"  agentcloud batches start hello Greet --file people.csv --skip-invalid\n" +
			"  agentcloud batches start shop Refund --from-tool open_orders --arguments '{\"day\": \"monday\"}'",
	}
	flags := cmd.Flags()
	flags.StringVarP(&in.file, "file", "f", "", "file of inputs; - reads standard input")
	flags.StringVar(&in.format, "format", "", "jsonl or csv; else as the file's name ends")
	completeWith(cmd, "format", []string{"jsonl", "csv"})
	flags.StringVar(&in.run, "from-run", "", "take the list that this run of the app returned")
	flags.StringVar(&in.tool, "from-tool", "", "run this tool of the app and take the list that it returns")
	flags.StringVar(&in.toolIn, "arguments", "{}", "arguments of --from-tool, as a JSON object")
	flags.IntVar(&in.concurrency, "concurrency", 0, "how many runs may be open at once (20 when not given)")
	flags.BoolVar(&in.skip, "skip-invalid", false, "leave inputs out that are not valid")
	flags.BoolVar(&in.watch, "watch", false, "follow the batch to its end; the exit code is 1 when an item ends without a result")
	flags.StringVar(&in.key, "idempotency-key", "", "the same key gives the same batch, however often it is started")
	cmd.MarkFlagsOneRequired("file", "from-run", "from-tool")
	cmd.MarkFlagsMutuallyExclusive("file", "from-run", "from-tool")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		res, err := in.start(cmd, c, args[0], args[1])
		if err != nil {
			return err
		}
		if in.watch {
			for _, bad := range res.GetInvalid() {
				_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "skipped line %d: %s\n", bad.GetLine(), bad.GetReason())
			}
			return c.watchBatch(cmd, *format, res.GetBatch().GetBatchId())
		}
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error { return startedText(out, res) })
	}
	return cmd
}

func startedText(out io.Writer, res *schedulerv1.StartBatchResponse) error {
	for _, bad := range res.GetInvalid() {
		_, _ = fmt.Fprintf(out, "skipped line %d: %s\n", bad.GetLine(), bad.GetReason())
	}
	_, err := fmt.Fprintln(out, batchLine(res.GetBatch()))
	return err
}

// start sends the inputs, or says which run has them.
func (in *batchInputs) start(cmd *cobra.Command, c *client, app, workflow string) (*schedulerv1.StartBatchResponse, error) {
	ctx := cmd.Context()
	kind, err := in.contentType()
	if err != nil {
		return nil, err
	}
	appID, err := c.appID(ctx, app)
	if err != nil {
		return nil, err
	}
	query := url.Values{"name": {workflow}, "skipInvalid": {strconv.FormatBool(in.skip)}}
	if in.concurrency != 0 {
		query.Set("concurrency", strconv.Itoa(in.concurrency))
	}
	if in.key != "" {
		query.Set("idempotencyKey", in.key)
	}
	if in.tool != "" {
		if in.run, err = c.runTool(ctx, appID, in.tool, in.toolIn); err != nil {
			return nil, err
		}
	}
	body := io.Reader(strings.NewReader(""))
	if in.run != "" {
		query.Set("sourceRunId", in.run)
	} else {
		file, err := in.open(cmd)
		if err != nil {
			return nil, err
		}
		defer file.Close() //nolint:errcheck // read only
		body = file
	}
	answer, err := c.stream(ctx, http.MethodPost, "/v1/apps/"+url.PathEscape(appID)+"/batches?"+query.Encode(), kind, body)
	if err != nil {
		return nil, err
	}
	defer answer.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(io.LimitReader(answer, maxAnswer))
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.StartBatchResponse{}
	return res, protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(raw, res)
}

func (in *batchInputs) open(cmd *cobra.Command) (io.ReadCloser, error) {
	if in.file == "-" {
		return io.NopCloser(cmd.InOrStdin()), nil
	}
	file, err := os.Open(in.file)
	if err != nil {
		return nil, usage("--file: %v", err)
	}
	return file, nil
}

func (in *batchInputs) contentType() (string, error) {
	format := in.format
	if format == "" && strings.EqualFold(filepath.Ext(in.file), ".csv") {
		format = "csv"
	}
	switch format {
	case "csv":
		return "text/csv", nil
	case "", "jsonl":
		return "application/jsonl", nil
	}
	return "", usage("--format %s: use jsonl or csv", format)
}

// runTool runs a tool to its end and returns the id of the run.
func (c *client) runTool(ctx context.Context, appID, tool, arguments string) (string, error) {
	if !json.Valid([]byte(arguments)) {
		return "", usage("--arguments must be a JSON object")
	}
	path := "/v1/apps/" + url.PathEscape(appID) + "/runs"
	var started schedulerv1.StartRunResponse
	err := c.call(ctx, http.MethodPost, path, &schedulerv1.StartRunRequest{Name: tool, ArgumentsJson: arguments}, &started)
	for err == nil {
		var res schedulerv1.GetRunResponse
		err = c.call(ctx, http.MethodGet, path+"/"+started.GetRunId()+"?wait=30s", nil, &res)
		if err == nil && res.GetRun().GetCloseTime() != nil {
			break
		}
	}
	return started.GetRunId(), err
}

func newBatchesResults(a *access) *cobra.Command {
	var format, file string
	var failed bool
	cmd := &cobra.Command{
		Use: "results BATCH", Short: "Write the results so far, in the order of the inputs", Args: exactly("BATCH"),
		Example: "  agentcloud batches results bat_… > results.jsonl\n  agentcloud batches results bat_… --output csv --failed",
	}
	cmd.Flags().StringVarP(&format, "output", "o", "jsonl", "jsonl or csv")
	completeWith(cmd, "output", []string{"jsonl", "csv"})
	cmd.Flags().BoolVar(&failed, "failed", false, "only items that failed, with their inputs and errors")
	cmd.Flags().StringVarP(&file, "file", "f", "", "write to this file instead of standard output")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		query := url.Values{}
		switch format {
		case "jsonl", "json":
			query.Set("format", "RESULT_FORMAT_JSON_LINES")
		case "csv":
			query.Set("format", "RESULT_FORMAT_CSV")
		default:
			return usage("--output %s: use jsonl or csv", format)
		}
		if failed {
			query.Set("state", "BATCH_ITEM_STATE_FAILED")
		}
		c, err := a.client()
		if err != nil {
			return err
		}
		text, err := c.stream(cmd.Context(), http.MethodGet, batchPath(args[0], "results")+"?"+query.Encode(), "", nil)
		if err != nil {
			return err
		}
		defer text.Close() //nolint:errcheck // read only
		return writeTo(cmd.OutOrStdout(), file, text)
	}
	return cmd
}

// writeTo copies text to a file, or to out when none is named.
func writeTo(out io.Writer, file string, text io.Reader) error {
	if file == "" {
		_, err := io.Copy(out, text)
		return err
	}
	to, err := os.Create(file)
	if err != nil {
		return err
	}
	if _, err := io.Copy(to, text); err != nil {
		_ = to.Close()
		return fmt.Errorf("the results did not come whole: %w", err)
	}
	return to.Close()
}

// stream sends body (nil: none) and returns the body of the answer, both of any length.
func (c *client) stream(ctx context.Context, method, path, contentType string, body io.Reader) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+path, body)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+c.key)
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone() //nolint:forcetypeassert // the library's own
	transport.ResponseHeaderTimeout = 10 * time.Minute           //nolint:mnd // inputs are checked before the answer begins
	res, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, fmt.Errorf("the cloud at %s does not answer: %w", c.url, err)
	}
	if res.StatusCode != http.StatusOK {
		defer res.Body.Close() //nolint:errcheck // read only
		raw, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
		if err != nil {
			return nil, err
		}
		return nil, refused(res.StatusCode, raw)
	}
	return res.Body, nil
}
