package cli

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/encoding/protojson"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const payloadColumn = 80

func newRunsHistory(a *access) *cobra.Command {
	var format *string
	cmd := runCommand(a, "history RUN", "Tell what has happened in a run, step by step", func(cmd *cobra.Command, c *client, run string) error {
		if *format == "json" {
			var res schedulerv1.GetRunHistoryResponse
			if err := c.call(cmd.Context(), http.MethodGet, runPath(run, "/history"), nil, &res); err != nil {
				return err
			}
			return show(cmd.OutOrStdout(), *format, json.RawMessage(res.GetHistoryJson()), nil)
		}
		rows := [][]string{{"EVENT", "TIME", "WHAT", "TOOK", "DETAIL"}}
		_, err := c.timeline(cmd.Context(), run, false, func(e *schedulerv1.TimelineEntry) error {
			rows = append(rows, entryRow(e))
			return nil
		})
		if err != nil {
			return err
		}
		return show(cmd.OutOrStdout(), *format, nil, func(out io.Writer) error { return table(out, rows) })
	})
	cmd.Long = "Tell what has happened in a run, step by step. With --output json it is Temporal's own history, complete;\nsecrets are handles in both."
	format = formatFlag(cmd)
	return cmd
}

func newRunsWatch(a *access) *cobra.Command {
	var format *string
	cmd := runCommand(a, "watch RUN", "Follow a run until it ends", func(cmd *cobra.Command, c *client, id string) error {
		out := cmd.OutOrStdout()
		last, err := c.timeline(cmd.Context(), id, true, func(e *schedulerv1.TimelineEntry) error {
			if *format == "json" {
				return writeLine(out, e)
			}
			row := entryRow(e)
			_, err := fmt.Fprintln(out, strings.TrimSpace(row[1]+"  "+row[2]+"  "+strings.Trim(row[3], "-")+"  "+row[4]))
			return err
		})
		if err != nil {
			return err
		}
		run, err := c.getRun(cmd.Context(), last, 0)
		if err != nil {
			return err
		}
		return ended(run)
	})
	cmd.Long = "Follow a run until it ends: each step is a line, with --output json a JSON object. The exit code is 0 when the\nrun completed, else 1. A run that is reset or goes on as a new run is followed there."
	format = formatFlag(cmd)
	return cmd
}

// writeLine writes an entry as one line of JSON.
func writeLine(out io.Writer, e *schedulerv1.TimelineEntry) error {
	raw, err := protojson.Marshal(e)
	if err != nil {
		return err
	}
	line := &bytes.Buffer{}
	if err := json.Compact(line, raw); err != nil {
		return err
	}
	_, err = fmt.Fprintln(out, line)
	return err
}

// timeline gives what has happened; with follow, also what happens until the run ends.
// It returns the run that it came to: the same, or the one that went on with its work.
func (c *client) timeline(ctx context.Context, run string, follow bool, each func(*schedulerv1.TimelineEntry) error) (string, error) {
	for after := int64(0); ; {
		query := url.Values{"afterEventId": {strconv.FormatInt(after, 10)}}
		if follow {
			query.Set("wait", seconds(waitPerCall))
		}
		var res schedulerv1.GetRunTimelineResponse
		if err := c.call(ctx, http.MethodGet, runPath(run, "/timeline?"+query.Encode()), nil, &res); err != nil {
			return run, err
		}
		for _, e := range res.GetEntries() {
			if err := each(e); err != nil {
				return run, err
			}
		}
		after = res.GetLastEventId()
		switch {
		case res.GetComplete() && follow && res.GetNextRunId() != "":
			run, after = res.GetNextRunId(), 0
		case res.GetComplete() || !follow && len(res.GetEntries()) == 0:
			return run, nil
		}
	}
}

func entryRow(e *schedulerv1.TimelineEntry) []string {
	what := strings.TrimSpace(e.GetWhat() + " " + e.GetName())
	if e.GetAttempt() > 1 {
		what += fmt.Sprintf(" (try %d)", e.GetAttempt())
	}
	length := "-"
	if e.GetDuration() != nil {
		length = short(e.GetDuration().AsDuration())
	}
	detail := strings.TrimSpace(e.GetErrorType() + " " + e.GetErrorMessage())
	if detail == "" {
		detail = clip(e.GetPayload(), payloadColumn)
	}
	if e.GetBy() != "" {
		detail = strings.TrimSpace("by " + e.GetBy() + " " + detail)
	}
	return []string{strconv.FormatInt(e.GetEventId(), 10), e.GetTime().AsTime().Local().Format(time.TimeOnly + ".000"), what, length, cmp.Or(detail, "")}
}

// clip takes the beginning of a text, in one line.
func clip(text string, most int) string {
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}
