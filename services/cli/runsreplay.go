package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// newRunsPast are the commands that look at runs of the past, and go on from them.
func newRunsPast(a *access) []*cobra.Command {
	return []*cobra.Command{newRunsReplay(a), newRunsFork(a), newRunsDiff(a), newRunsCheck(a)}
}

func versionFlag(cmd *cobra.Command, otherwise string) *string {
	return cmd.Flags().String("version", "", "number or id of the version; "+otherwise+" when not given")
}

func newRunsReplay(a *access) *cobra.Command {
	var format, version *string
	cmd := runCommand(a, "replay RUN", "Run a run's history against a version's code: does it take the same steps?", func(cmd *cobra.Command, c *client, run string) error {
		var res schedulerv1.ReplayRunResponse
		if err := c.call(cmd.Context(), http.MethodPost, runPath(run, "/replay"), &schedulerv1.ReplayRunRequest{Version: *version}, &res); err != nil {
			return err
		}
		r := res.GetReplay()
		err := showMessage(cmd.OutOrStdout(), *format, &res, say("%s of %s, %d events, on version %d: %s", r.GetRunId(), r.GetName(), res.GetEvents(), res.GetVersionNumber(), verdict(r)))
		if err == nil && r.GetVerdict() != schedulerv1.ReplayVerdict_REPLAY_VERDICT_DETERMINISTIC {
			err = fmt.Errorf("the run does not replay on version %d", res.GetVersionNumber())
		}
		return err
	})
	cmd.Long = "Run a run's history against a version's code, in a process of its own that reaches nothing, and say whether the\n" +
		"code takes the same steps. Nothing of the run is done again. The exit code is 1 when it does not replay."
	cmd.Example = "  agentcloud runs replay RUN\n  agentcloud runs replay RUN --version 7"
	version, format = versionFlag(cmd, "the one that the run is on"), formatFlag(cmd)
	return cmd
}

// verdict says what a replay found.
func verdict(r *schedulerv1.Replay) string {
	switch r.GetVerdict() {
	case schedulerv1.ReplayVerdict_REPLAY_VERDICT_DETERMINISTIC:
		return "deterministic"
	case schedulerv1.ReplayVerdict_REPLAY_VERDICT_NON_DETERMINISTIC:
		if r.GetExpected() == "" {
			return "not deterministic: " + r.GetMessage()
		}
		return fmt.Sprintf("not deterministic: event %d of the history is %q, the code asks for %q", r.GetEventId(), r.GetExpected(), r.GetGot())
	case schedulerv1.ReplayVerdict_REPLAY_VERDICT_FAILED, schedulerv1.ReplayVerdict_REPLAY_VERDICT_MISSING:
		return strings.TrimSpace("not replayed: " + r.GetMessage() + "\n" + r.GetDetail())
	case schedulerv1.ReplayVerdict_REPLAY_VERDICT_UNSPECIFIED:
	}
	return "unknown"
}

func newRunsFork(a *access) *cobra.Command {
	var format, version *string
	req := &schedulerv1.ForkRunRequest{}
	cmd := runCommand(a, "fork RUN --from STEP", "Start a run that takes over what another did up to a step, and goes on from there", func(cmd *cobra.Command, c *client, run string) error {
		var res schedulerv1.ForkRunResponse
		req.Version = *version
		if err := c.call(cmd.Context(), http.MethodPost, runPath(run, "/fork"), req, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, say("%s goes on after event %d on version %d, with %d steps taken over", res.GetRunId(), res.GetEventId(), res.GetVersionNumber(), res.GetReusedSteps()))
	})
	cmd.Long = "Start a run that takes over what another did up to a step, and goes on from there. Nothing that is taken over is\n" +
		"done again. The other run stays as it is when it is over; an open one is ended by the fork, if you say so.\n\n" +
		"STEP is the last step that is taken over: the name of an activity, child or signal (\"fetch\", or \"fetch#2\" for\n" +
		"its second time), the number of an event as `agentcloud runs history` shows it, \"last\", or \"start\" for none."
	cmd.Example = "  agentcloud runs fork RUN --from fetch\n  agentcloud runs fork RUN --from last --version 7"
	flags := cmd.Flags()
	flags.StringVar(&req.From, "from", "last", "the last step that is taken over")
	flags.BoolVar(&req.EndOriginal, "end-original", false, "end the open run of the same workflow id")
	flags.BoolVar(&req.KeepSignals, "keep-signals", false, "deliver the signals again that came after the step")
	flags.BoolVar(&req.SkipReplay, "skip-replay", false, "do not look first whether another version's code takes the same steps up to there")
	_ = cmd.RegisterFlagCompletionFunc("from", cobra.FixedCompletions([]string{"last", "start"}, cobra.ShellCompDirectiveNoFileComp))
	version, format = versionFlag(cmd, "the one that the run is on"), formatFlag(cmd)
	return cmd
}

func newRunsDiff(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "diff RUN OTHER", Short: "Lay the steps of two runs side by side", Args: exactly("RUN", "OTHER"), ValidArgsFunction: a.completeRuns,
		Long:    "Lay the steps of two runs side by side, with inputs, results and how long they took, and say where they part.\nSecrets are handles in inputs and results.",
		Example: "  agentcloud runs diff RUN FORK\n  agentcloud runs diff RUN OTHER --output json",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		var res schedulerv1.DiffRunsResponse
		if err := c.call(cmd.Context(), http.MethodGet, runPath(args[0], "/diff/"+url.PathEscape(args[1])), nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return diffTable(out, &res) })
	}
	return cmd
}

func diffTable(out io.Writer, d *schedulerv1.DiffRunsResponse) error {
	rows := [][]string{{"", "EVENTS", "STEP", "TOOK", "LEFT", "RIGHT"}}
	for _, p := range d.GetPairs() {
		rows = append(rows, diffRow(p))
	}
	if err := table(out, rows); err != nil {
		return err
	}
	first := int(d.GetFirstDivergence())
	switch {
	case first < 0:
		return say("\nthe runs took the same steps with the same results")(out)
	case first >= len(d.GetPairs()):
		return say("\nthe runs part at step %d, which is not shown", first)(out)
	}
	p := d.GetPairs()[first]
	return say("\nthe runs part at step %d: %s", first, parting(p))(out)
}

func parting(p *schedulerv1.StepPair) string {
	switch {
	case p.GetLeft() == nil:
		return "only the right one has " + stepName(p.GetRight())
	case p.GetRight() == nil:
		return "only the left one has " + stepName(p.GetLeft())
	case stepName(p.GetLeft()) != stepName(p.GetRight()):
		return stepName(p.GetLeft()) + " or " + stepName(p.GetRight())
	}
	return strings.Join(p.GetDifferences(), " and ") + " of " + stepName(p.GetLeft())
}

func stepName(s *schedulerv1.RunStep) string {
	return strings.TrimSpace(s.GetKind() + " " + s.GetName())
}

func diffRow(p *schedulerv1.StepPair) []string {
	left, right, mark := p.GetLeft(), p.GetRight(), "="
	if len(p.GetDifferences()) > 0 {
		mark = "≠"
	}
	name := stepName(left)
	if other := stepName(right); other != name {
		name = strings.Trim(name+" | "+other, " |")
	}
	row := []string{mark, both(eventOf(left), eventOf(right)), name, both(tookStep(left), tookStep(right)), shownStep(left), shownStep(right)}
	if mark == "=" {
		row[len(row)-1] = "〃"
	}
	return row
}

// both is one text when two are the same.
func both(left, right string) string {
	if left == right {
		return left
	}
	return left + " | " + right
}

func eventOf(s *schedulerv1.RunStep) string {
	if s == nil {
		return "-"
	}
	return fmt.Sprint(s.GetEventId())
}

func tookStep(s *schedulerv1.RunStep) string {
	if s.GetDuration() == nil {
		return "-"
	}
	return short(s.GetDuration().AsDuration())
}

// shownStep is what came of a step, or what went in when nothing did.
func shownStep(s *schedulerv1.RunStep) string {
	switch {
	case s == nil:
		return "-"
	case s.GetError() != "":
		return oneLine(s.GetError())
	case s.GetResultJson() != "":
		return oneLine(plain(json.RawMessage(s.GetResultJson())))
	}
	return oneLine(s.GetInputJson())
}

func oneLine(text string) string {
	const most = 60
	text = strings.Join(strings.Fields(text), " ")
	if runes := []rune(text); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return text
}

func newRunsCheck(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "check APP", Short: "Say what a deploy found when it replayed past runs on the new code", Args: exactly("APP"), ValidArgsFunction: a.completeApps,
		Long: "Before a version goes live, the last closed runs of the app's workflows are replayed on its code. This says what was\n" +
			"found. What becomes of a deploy on whose code past runs would take other steps is a setting of the cloud\n(scheduler: deploy.replay). The exit code is 1 when one would.",
		Example: "  agentcloud runs check shop\n  agentcloud runs check shop --version 7",
	}
	version, format := versionFlag(cmd, "the live one"), formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		c, err := a.client()
		if err != nil {
			return err
		}
		app, err := c.appID(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		var res schedulerv1.GetDeployReplaysResponse
		path := "/v1/apps/" + url.PathEscape(app) + "/replays?" + url.Values{"version": {*version}}.Encode()
		if err := c.call(cmd.Context(), http.MethodGet, path, nil, &res); err != nil {
			return err
		}
		if err := showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return checkTable(out, &res) }); err != nil {
			return err
		}
		for _, r := range res.GetReplays() {
			if r.GetVerdict() == schedulerv1.ReplayVerdict_REPLAY_VERDICT_NON_DETERMINISTIC {
				return fmt.Errorf("version %d takes other steps than past runs did", res.GetVersionNumber())
			}
		}
		return nil
	}
	return cmd
}

func checkTable(out io.Writer, res *schedulerv1.GetDeployReplaysResponse) error {
	if err := say("version %d: %s", res.GetVersionNumber(), res.GetSummary())(out); err != nil || len(res.GetReplays()) == 0 {
		return err
	}
	rows := [][]string{{"RUN", "WORKFLOW ID", "FOUND"}}
	for _, r := range res.GetReplays() {
		rows = append(rows, []string{r.GetRunId(), r.GetWorkflowId(), verdict(r)})
	}
	return table(out, rows)
}
