package cli

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// latestRollout is what the API calls an app's newest one.
const latestRollout = "latest"

func newRollouts() *cobra.Command {
	cmd := &cobra.Command{
		Use: "rollouts", Short: "Try a version with a share of the traffic before it becomes live",
		Long: "Try a version with a share of the traffic before it becomes live.\n\n" +
			"A rollout gives a version a growing share of an app's sessions and calls, and ends by itself when more of\n" +
			"its calls fail, or are slow, than the live version's. After its last step the version is promoted. Commands\n" +
			"without a ROLLOUT mean the app's newest; docs/canary.md tells more.",
		Example: "  agentcloud rollouts start hello 4 --step 5%:5m --step 25%:10m --watch\n  agentcloud rollouts describe hello\n  agentcloud rollouts abort hello --reason 'wrong prices'",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(newRolloutsStart(a), newRolloutsList(a), newRolloutsDescribe(a), newRolloutsPause(a), newRolloutsResume(a), newRolloutsPromote(a), newRolloutsAbort(a))
	return cmd
}

func newRolloutsStart(a *access) *cobra.Command {
	var said rolloutFlags
	var watch bool
	cmd := &cobra.Command{
		Use: "start APP VERSION", Short: "Begin to try a version", Args: exactly("APP", "VERSION"), ValidArgsFunction: a.completeVersions(1),
		Long: "Begin to try a version. Without --step it is tried as its agentcloud.yaml says (deploy.rollout), or with 5%\n" +
			"for 5 minutes, 25% for 10 and 50% for 10. With --watch the exit code is 1 unless the version becomes live.",
		Example: "  agentcloud rollouts start hello 4 --step 5%:5m --step 25%:10m\n  agentcloud rollouts start hello 4 --step 0%:1h --header 'X-Beta: 1' --min-calls 0\n" +
			"  agentcloud rollouts start hello 4 --step 10%:30m --max-error-rate 0.5% --max-failed-users 2%",
	}
	said.add(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "follow it to its end")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		plan, err := said.plan(cmd)
		if err != nil {
			return err
		}
		var res registryv1.StartRolloutResponse
		err = a.onVersions(cmd.Context(), http.MethodPost, args[0], []string{"versions", args[1], "rollout"}, &registryv1.StartRolloutRequest{Plan: plan}, &res)
		if err != nil {
			return err
		}
		if watch {
			return a.watchRollout(cmd, *format, args[0], res.GetRollout().GetRolloutId())
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return table(out, rolloutRows(res.GetRollout())) })
	}
	return cmd
}

func newRolloutsList(a *access) *cobra.Command {
	cmd := &cobra.Command{
		Use: "list APP", Short: "List the rollouts of an app, newest first", Args: exactly("APP"), ValidArgsFunction: a.completeRollouts,
		Example: "  agentcloud rollouts list hello",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var res registryv1.ListRolloutsResponse
		if err := a.onVersions(cmd.Context(), http.MethodGet, args[0], []string{"rollouts"}, nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error { return rolloutsTable(out, res.GetRollouts()) })
	}
	return cmd
}

func newRolloutsDescribe(a *access) *cobra.Command {
	var watch bool
	cmd := &cobra.Command{
		Use: "describe APP [ROLLOUT]", Short: "Show how a rollout is, and what was seen of it", Args: oneOrTwo, ValidArgsFunction: a.completeRollouts,
		Long:    "Show how a rollout is, and what was seen of it.\n\nWith --watch the exit code is 1 unless the version becomes live.",
		Example: "  agentcloud rollouts describe hello --watch",
	}
	cmd.Flags().BoolVar(&watch, "watch", false, "follow it to its end")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if watch {
			return a.watchRollout(cmd, *format, args[0], rolloutOf(args))
		}
		res, err := a.rollout(cmd.Context(), args[0], rolloutOf(args))
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error { return table(out, rolloutRows(res.GetRollout())) })
	}
	return cmd
}

func (a *access) rollout(ctx context.Context, app, rollout string) (*registryv1.GetRolloutResponse, error) {
	res := &registryv1.GetRolloutResponse{}
	return res, a.onVersions(ctx, http.MethodGet, app, []string{"rollouts", rollout}, nil, res)
}

// oneOrTwo are an app and, if it is not the newest, a rollout.
func oneOrTwo(cmd *cobra.Command, args []string) error {
	if len(args) == 1 || len(args) == 2 {
		return nil
	}
	return usage("write `%s`", cmd.UseLine())
}

func rolloutOf(args []string) string {
	if len(args) == 2 { //nolint:mnd // APP and ROLLOUT
		return args[1]
	}
	return latestRollout
}

func newRolloutsPause(a *access) *cobra.Command {
	var res registryv1.PauseRolloutResponse
	return rolloutVerb(a, "pause", "Stay in the step that it is in; it still ends when the version does not do well", &registryv1.PauseRolloutRequest{}, &res, res.GetRollout)
}

func newRolloutsResume(a *access) *cobra.Command {
	var res registryv1.ResumeRolloutResponse
	return rolloutVerb(a, "resume", "Go on with a rollout that was paused", &registryv1.ResumeRolloutRequest{}, &res, res.GetRollout)
}

func newRolloutsPromote(a *access) *cobra.Command {
	var res registryv1.PromoteRolloutResponse
	return rolloutVerb(a, "promote", "Make the version live now", &registryv1.PromoteRolloutRequest{}, &res, res.GetRollout)
}

func newRolloutsAbort(a *access) *cobra.Command {
	var res registryv1.AbortRolloutResponse
	req := &registryv1.AbortRolloutRequest{}
	cmd := rolloutVerb(a, "abort", "End the trial; the live version has all of the traffic again", req, &res, res.GetRollout)
	cmd.Flags().StringVar(&req.Reason, "reason", "", "why, for the record")
	return cmd
}

// rolloutVerb makes a command that steers a rollout and shows it.
func rolloutVerb(a *access, verb, short string, req, res proto.Message, rollout func() *schedulerv1.Rollout) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " APP [ROLLOUT]", Short: short, Args: oneOrTwo, ValidArgsFunction: a.completeRollouts,
		Example: "  agentcloud rollouts " + verb + " hello",
	}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.onVersions(cmd.Context(), http.MethodPost, args[0], []string{"rollouts", rolloutOf(args), verb}, req, res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error { return say("%s", rolloutLine(rollout()))(out) })
	}
	return cmd
}

// completeRollouts offers apps first, and then the rollouts of one.
func (a *access) completeRollouts(cmd *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		return a.completeApps(cmd, args, begun)
	}
	return a.choose(cmd, func(ctx context.Context, c *client) ([]string, error) {
		id, err := c.appID(ctx, args[0])
		if err != nil {
			return nil, err
		}
		var res registryv1.ListRolloutsResponse
		if err := c.call(ctx, http.MethodGet, "/v1/apps/"+url.PathEscape(id)+"/rollouts?pageSize=50", nil, &res); err != nil {
			return nil, err
		}
		choices := []string{latestRollout}
		for _, r := range res.GetRollouts() {
			if strings.HasPrefix(r.GetRolloutId(), begun) {
				choices = append(choices, r.GetRolloutId()+"\t"+rolloutLine(r))
			}
		}
		return choices, nil
	})
}

// watchRollout follows a rollout until its result does not change any more.
func (a *access) watchRollout(cmd *cobra.Command, format, app, rollout string) error {
	ticker := time.NewTicker(watchEvery)
	defer ticker.Stop()
	var known *registryv1.GetRolloutResponse
	said, heard := "", time.Now()
	for {
		res, err := a.rollout(cmd.Context(), app, rollout)
		switch {
		case err == nil:
			known, heard, rollout = res, time.Now(), res.GetRollout().GetRolloutId()
		case known == nil || time.Since(heard) > patience || cmd.Context().Err() != nil:
			return err
		}
		if line := rolloutLine(known.GetRollout()); err == nil && line != said {
			said = line
			progress(cmd.ErrOrStderr(), line)
		}
		if err == nil && known.GetRollout().GetSettled() {
			return showRolloutEnd(cmd, format, known)
		}
		select {
		case <-cmd.Context().Done():
			return cmd.Context().Err()
		case <-ticker.C:
		}
	}
}
