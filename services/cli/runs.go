package cli

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/timestamppb"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	runsPath = "/v1/runs"
	bulkPath = "/v1/bulk-operations"
	// waitPerCall is how long one request waits for news, below askLimit.
	waitPerCall = 30 * time.Second
)

func newRuns() *cobra.Command {
	cmd := &cobra.Command{
		Use: "runs", Short: "Runs of workflows: find them, look into them, change their course",
		Long: "Runs of workflows and tools of your organisation: find them, look into them, change their course.\n\n" +
			"RUN is a run id, which `agentcloud runs list` shows and which starting a run prints.",
		Example: "  agentcloud runs list --app shop --status failed --since 24h\n" +
			"  agentcloud runs get RUN\n" +
			"  agentcloud runs watch RUN\n" +
			"  agentcloud runs reset RUN --before charge_card --reason 'the key was wrong'\n" +
			"  agentcloud runs bulk terminate --app shop --label team=red --reason 'wrong input'",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(
		newRunsStart(a), newRunsList(a), newRunsCount(a), newRunsGet(a), newRunsResult(a), newRunsHistory(a), newRunsWatch(a),
		newRunsCancel(a), newRunsTerminate(a), newRunsPause(a), newRunsUnpause(a), newRunsReset(a), newRunsSignal(a), newRunsQuery(a),
		newRunsBulk(a),
	)
	cmd.AddCommand(newRunsPast(a)...)
	return cmd
}

// runPath is the address of a run, or of something below it.
func runPath(run, below string) string { return runsPath + "/" + url.PathEscape(run) + below }

// wordOf is a status as people read and write it: "timed-out".
func wordOf(status schedulerv1.RunStatus) string {
	return strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(status.String(), "RUN_STATUS_")), "_", "-")
}

// statusWords are what --status takes.
func statusWords() []string {
	var words []string
	for number := range schedulerv1.RunStatus_name {
		if number != 0 {
			words = append(words, wordOf(schedulerv1.RunStatus(number)))
		}
	}
	slices.Sort(words)
	return words
}

func statusNamed(word string) (schedulerv1.RunStatus, error) {
	name := "RUN_STATUS_" + strings.ToUpper(strings.ReplaceAll(word, "-", "_"))
	if number := schedulerv1.RunStatus_value[name]; number != 0 {
		return schedulerv1.RunStatus(number), nil
	}
	return 0, usage("--status %s: use one of %s", word, strings.Join(statusWords(), ", "))
}

// moment is a time as a table shows it.
func moment(t *timestamppb.Timestamp) string {
	if t == nil {
		return "-"
	}
	return t.AsTime().Local().Format(time.DateTime)
}

// took is how long a run has taken so far.
func took(run *schedulerv1.Run) string {
	if run.GetStartTime() == nil {
		return "-"
	}
	end := time.Now()
	if run.GetCloseTime() != nil {
		end = run.GetCloseTime().AsTime()
	}
	return short(end.Sub(run.GetStartTime().AsTime()))
}

// short is a duration with as many digits as say something.
func short(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return d.Round(10 * time.Millisecond).String() //nolint:mnd // hundredths
	}
	return d.Round(time.Second).String()
}

// getRun asks for a run; with a wait, it answers when the run has ended or that is over.
func (c *client) getRun(ctx context.Context, run string, wait time.Duration) (*schedulerv1.Run, error) {
	query := ""
	if wait > 0 {
		query = "?wait=" + seconds(wait)
	}
	var res schedulerv1.GetRunResponse
	err := c.call(ctx, http.MethodGet, runPath(run, query), nil, &res)
	return res.GetRun(), err
}

// seconds is a duration as the API reads it.
func seconds(d time.Duration) string { return fmt.Sprintf("%.3fs", d.Seconds()) }

// ended is nil for a run with a result, else the error that a script wants to see.
func ended(run *schedulerv1.Run) error {
	if run.GetStatus() == schedulerv1.RunStatus_RUN_STATUS_COMPLETED {
		return nil
	}
	return fmt.Errorf("the run %s ended as %s: %s", run.GetRunId(), wordOf(run.GetStatus()), cmp.Or(run.GetErrorMessage(), "no reason given"))
}

// runCommand is a command about one run.
func runCommand(a *access, use, shortText string, do func(cmd *cobra.Command, c *client, run string) error) *cobra.Command {
	cmd := &cobra.Command{Use: use, Short: shortText, Args: exactly("RUN"), ValidArgsFunction: a.completeRuns}
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		return do(cmd, c, args[0])
	}
	return cmd
}

// say writes one line for people.
func say(format string, args ...any) func(io.Writer) error {
	return func(out io.Writer) error {
		_, err := fmt.Fprintf(out, format+"\n", args...)
		return err
	}
}
