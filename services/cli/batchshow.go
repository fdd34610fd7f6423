package cli

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	watchEvery = time.Second
	barWidth   = 30
	// patience is how long a cloud that is away is asked again while a batch is watched.
	patience = 2 * time.Minute
)

func batchState(b *schedulerv1.Batch) string { return word(b.GetState().String(), "BATCH_STATE_") }

func endedItems(b *schedulerv1.Batch) int64 {
	return b.GetCompleted() + b.GetFailed() + b.GetCancelled()
}

func percent(b *schedulerv1.Batch) string {
	return fmt.Sprintf("%d%%", 100*endedItems(b)/max(b.GetTotal(), 1))
}

func bar(b *schedulerv1.Batch) string {
	full := int(barWidth * endedItems(b) / max(b.GetTotal(), 1))
	return "[" + strings.Repeat("#", full) + strings.Repeat(".", barWidth-full) + "]"
}

// batchLine is a batch in one line.
func batchLine(b *schedulerv1.Batch) string {
	text := fmt.Sprintf("%s %s %s %s  %d of %d done", b.GetBatchId(), batchState(b), bar(b), percent(b), endedItems(b), b.GetTotal())
	for _, part := range []struct {
		n    int64
		what string
	}{{b.GetRunning(), "running"}, {b.GetFailed(), "failed"}, {b.GetCancelled(), "cancelled"}, {b.GetSkipped(), "skipped"}} {
		if part.n > 0 {
			text += ", " + strconv.FormatInt(part.n, 10) + " " + part.what
		}
	}
	return text
}

// batchText is a batch and why items of it failed.
func batchText(out io.Writer, res *schedulerv1.GetBatchResponse) error {
	if _, err := fmt.Fprintln(out, batchLine(res.GetBatch())); err != nil || len(res.GetFailures()) == 0 {
		return err
	}
	rows := [][]string{{"ITEMS", "FAILED WITH", ""}}
	for _, f := range res.GetFailures() {
		rows = append(rows, []string{strconv.FormatInt(f.GetItems(), 10), f.GetErrorType(), firstLine(f.GetErrorMessage())})
	}
	return table(out, rows)
}

// watchBatch follows a batch to its end: a line that is written anew at a terminal,
// lines that say something new elsewhere, on the error stream.
func (c *client) watchBatch(cmd *cobra.Command, format, batch string) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var res schedulerv1.GetBatchResponse
	said, heard := "", time.Now()
	for {
		err := c.call(cmd.Context(), http.MethodGet, batchPath(batch, ""), nil, &res)
		switch {
		case err == nil:
			heard = time.Now()
		case res.GetBatch() == nil || time.Since(heard) > patience || cmd.Context().Err() != nil:
			return err
		}
		if line := batchLine(res.GetBatch()); err == nil && line != said {
			said = line
			progress(cmd.ErrOrStderr(), line)
		}
		if err == nil && res.GetBatch().GetEndTime() != nil {
			return c.showEnd(cmd, format, &res)
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-ticker.C:
		}
	}
}

func (c *client) showEnd(cmd *cobra.Command, format string, res *schedulerv1.GetBatchResponse) error {
	b := res.GetBatch()
	if terminal(cmd.ErrOrStderr()) {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr())
	}
	if err := showMessage(cmd.OutOrStdout(), format, res, func(out io.Writer) error { return batchText(out, res) }); err != nil {
		return err
	}
	if missing := b.GetTotal() - b.GetCompleted(); missing > 0 {
		return fmt.Errorf("%d of %d items have no result; `agentcloud batches results %s --failed` lists them, `agentcloud batches retry %[3]s` runs them again",
			missing, b.GetTotal(), b.GetBatchId())
	}
	return nil
}

func progress(out io.Writer, line string) {
	if terminal(out) {
		_, _ = fmt.Fprintf(out, "\r\x1b[K%s", line)
		return
	}
	_, _ = fmt.Fprintln(out, line)
}

func terminal(out io.Writer) bool {
	file, ok := out.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

// firstLine is the sentence of an error; what comes after it is its detail.
func firstLine(text string) string {
	first, _, _ := strings.Cut(text, "\n")
	return first
}
