package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

func sorted(all []string) []string {
	slices.Sort(all)
	return all
}

func newRunsGet(a *access) *cobra.Command {
	var format *string
	cmd := runCommand(a, "get RUN", "Tell all about a run: what it waits for, what fails, its result", func(cmd *cobra.Command, c *client, run string) error {
		var res schedulerv1.DescribeRunResponse
		if err := c.call(cmd.Context(), http.MethodGet, runPath(run, "/description"), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return runText(out, &res) })
	})
	format = formatFlag(cmd)
	return cmd
}

// runText is a run in lines of a name and a value; what does not apply is left out.
func runText(out io.Writer, d *schedulerv1.DescribeRunResponse) error {
	run := d.GetRun()
	rows := [][]string{
		{"run", run.GetRunId()},
		{"workflow id", run.GetWorkflowId()},
		{"workflow", run.GetName()},
		{"status", wordOf(run.GetStatus())},
		{"started", moment(run.GetStartTime()) + by(run.GetStartedBy())},
	}
	add := func(name, value string) {
		if value != "" {
			rows = append(rows, []string{name, value})
		}
	}
	add("took", took(run))
	add("app", run.GetTargetId())
	add("version", strings.TrimSpace(run.GetVersionId()+" "+d.GetVersioning().GetBehavior()))
	add("labels", labelText(run.GetLabels()))
	add("parent", run.GetParentRunId())
	add("history", fmt.Sprintf("%d events, %d bytes", run.GetHistoryLength(), d.GetHistorySizeBytes()))
	if p := d.GetPause(); p != nil {
		add("paused", moment(p.GetTime())+by(p.GetBy())+reason(p.GetReason()))
	}
	add("reset to", d.GetResetRunId())
	if d.GetCancelRequested() && run.GetCloseTime() == nil {
		add("asked to end", "yes")
	}
	for _, q := range d.GetQuestions() {
		add("waits for", q.GetQuestionId()+": "+messageOf(q))
	}
	for _, p := range d.GetPendingActivities() {
		add("activity", pendingText(p))
	}
	for _, child := range d.GetPendingChildren() {
		add("child", child.GetType()+" "+child.GetRunId())
	}
	if step := d.GetPendingStep(); step.GetAttempt() > 1 {
		add("step of the code", "fails again and again, try "+strconv.Itoa(int(step.GetAttempt())))
	}
	add("error", strings.TrimSpace(run.GetErrorType()+" "+run.GetErrorMessage()))
	if run.GetResultJson() != "" {
		add("result", plain(json.RawMessage(run.GetResultJson())))
	}
	return table(out, rows)
}

func by(who string) string {
	if who == "" {
		return ""
	}
	return " by " + who
}

func reason(why string) string {
	if why == "" {
		return ""
	}
	return ": " + why
}

func pendingText(p *schedulerv1.PendingActivity) string {
	text := p.GetName() + " " + strings.ReplaceAll(p.GetState(), "_", " ")
	if p.GetAttempt() > 1 {
		text += fmt.Sprintf(", try %d", p.GetAttempt())
		if p.GetMaximumAttempts() > 0 {
			text += fmt.Sprintf(" of %d", p.GetMaximumAttempts())
		}
	}
	if at := p.GetNextAttemptTime(); at != nil {
		text += ", next at " + moment(at)
	}
	if at := p.GetLastHeartbeatTime(); at != nil {
		text += ", last heartbeat " + moment(at)
	}
	if p.GetLastErrorMessage() != "" {
		text += ", last error: " + strings.TrimSpace(p.GetLastErrorType()+" "+p.GetLastErrorMessage())
	}
	return text
}

func newRunsResult(a *access) *cobra.Command {
	var format *string
	var wait time.Duration
	cmd := runCommand(a, "result RUN", "Print a run's result, when it has one", func(cmd *cobra.Command, c *client, id string) error {
		run, err := c.awaitRun(cmd.Context(), id, wait)
		if err != nil {
			return err
		}
		if run.GetCloseTime() == nil {
			return fmt.Errorf("the run is %s; --wait 5m waits for its end", wordOf(run.GetStatus()))
		}
		if err := ended(run); err != nil {
			return err
		}
		result := json.RawMessage(cmp.Or(run.GetResultJson(), "null"))
		return show(cmd.OutOrStdout(), *format, result, say("%s", plain(result)))
	})
	cmd.Long = "Print a run's result, when it has one. A run that ended otherwise is an error (exit code 1)."
	cmd.Flags().DurationVar(&wait, "wait", 0, "wait this long for its end")
	format = formatFlag(cmd)
	return cmd
}

// awaitRun returns a run when it has ended or the wait is over.
func (c *client) awaitRun(ctx context.Context, id string, wait time.Duration) (*schedulerv1.Run, error) {
	for deadline := time.Now().Add(wait); ; {
		left := min(time.Until(deadline), waitPerCall)
		run, err := c.getRun(ctx, id, left)
		if err != nil || run.GetCloseTime() != nil || left <= 0 {
			return run, err
		}
	}
}
