package cli

import (
	"cmp"
	"context"
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

func newSchedules() *cobra.Command {
	cmd := &cobra.Command{
		Use: "schedules", Short: "Runs of an app by the clock",
		Long: "Runs of an app by the clock: on the version that is live when they are due.\n\n" +
			"Schedules can also be declared in agentcloud.yaml beside main.py, which a deploy keeps; see `agentcloud schema`.",
	}
	a := accessFlags(cmd)
	cmd.AddCommand(
		newSchedulesList(a), newSchedulesGet(a), newSchedulesCreate(a), newSchedulesUpdate(a), newSchedulesPause(a), newSchedulesUnpause(a),
		newSchedulesTrigger(a), newSchedulesBackfill(a), newSchedulesDelete(a),
	)
	return cmd
}

// schedulesPath is where an app's schedules are, or one of them and what is done with it.
func (c *client) schedulesPath(ctx context.Context, app string, more ...string) (string, error) {
	id, err := c.appID(ctx, app)
	if err != nil {
		return "", err
	}
	path := "/v1/apps/" + url.PathEscape(id) + "/schedules"
	for _, part := range more {
		path += "/" + url.PathEscape(part)
	}
	return path, nil
}

// onSchedule calls a path below an app's schedules.
func (a *access) onSchedule(ctx context.Context, method, app string, more []string, in, out proto.Message) error {
	c, err := a.client()
	if err != nil {
		return err
	}
	path, err := c.schedulesPath(ctx, app, more...)
	if err != nil {
		return err
	}
	return c.call(ctx, method, path, in, out)
}

func newSchedulesList(a *access) *cobra.Command {
	cmd := &cobra.Command{Use: "list APP", Short: "List the schedules of an app by name", Args: exactly("APP"), Example: "  agentcloud schedules list hello"}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		all, err := a.allSchedules(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, all, func(out io.Writer) error {
			rows := [][]string{{"NAME", "RUNS", "WHEN", "NEXT", "STARTED", "STATE"}}
			for _, s := range all.GetSchedules() {
				next := "-"
				if len(s.GetNextTimes()) > 0 {
					next = moment(s.GetNextTimes()[0])
				}
				rows = append(rows, []string{s.GetName(), s.GetSpec().GetWorkflow(), when(s.GetSpec()), next, strconv.FormatInt(s.GetStarted(), 10), scheduleState(s)})
			}
			return table(out, rows)
		})
	}
	return cmd
}

// allSchedules joins the pages.
func (a *access) allSchedules(ctx context.Context, app string) (*schedulerv1.ListSchedulesResponse, error) {
	c, err := a.client()
	if err != nil {
		return nil, err
	}
	path, err := c.schedulesPath(ctx, app)
	if err != nil {
		return nil, err
	}
	all := &schedulerv1.ListSchedulesResponse{}
	for token := ""; ; {
		var page schedulerv1.ListSchedulesResponse
		if err := c.call(ctx, http.MethodGet, path+"?"+url.Values{"pageToken": {token}}.Encode(), nil, &page); err != nil {
			return nil, err
		}
		all.Schedules = append(all.Schedules, page.GetSchedules()...)
		if token = page.GetNextPageToken(); token == "" {
			return all, nil
		}
	}
}

// when says in short when a schedule is due.
func when(spec *schedulerv1.ScheduleSpec) string {
	parts := append([]string{}, spec.GetCron()...)
	for _, one := range spec.GetIntervals() {
		part := "every " + one.GetEvery().AsDuration().String()
		if one.GetOffset() != nil {
			part += " + " + one.GetOffset().AsDuration().String()
		}
		parts = append(parts, part)
	}
	if n := len(spec.GetCalendars()); n > 0 {
		parts = append(parts, fmt.Sprintf("%d calendars", n))
	}
	text := strings.Join(parts, ", ")
	if zone := spec.GetTimeZone(); zone != "" {
		text += " (" + zone + ")"
	}
	return text
}

func scheduleState(s *schedulerv1.Schedule) string {
	state := "on"
	switch {
	case s.GetPaused():
		state = "paused"
	case len(s.GetNextTimes()) == 0:
		state = "over"
	}
	if s.GetDeclared() {
		state += ", declared"
	}
	if s.GetPending() {
		state += ", a change is on its way"
	}
	if s.GetNote() != "" {
		state += ": " + s.GetNote()
	}
	return state
}

func newSchedulesGet(a *access) *cobra.Command {
	cmd := &cobra.Command{Use: "get APP NAME", Short: "Show a schedule, its next times and last runs", Args: exactly("APP", "NAME"), Example: "  agentcloud schedules get hello nightly"}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var res schedulerv1.GetScheduleResponse
		if err := a.onSchedule(cmd.Context(), http.MethodGet, args[0], args[1:], nil, &res); err != nil {
			return err
		}
		return showSchedule(cmd.OutOrStdout(), *format, res.GetSchedule())
	}
	return cmd
}

func showSchedule(out io.Writer, format string, s *schedulerv1.Schedule) error {
	return showMessage(out, format, s, func(out io.Writer) error {
		spec := s.GetSpec()
		rows := [][]string{
			{"schedule", s.GetName()},
			{"runs", strings.TrimSpace(spec.GetWorkflow() + " " + spec.GetArgumentsJson())},
			{"when", when(spec)},
			{"state", scheduleState(s)},
			{"overlap", overlapName(spec.GetOverlap())},
			{"started", strconv.FormatInt(s.GetStarted(), 10)},
		}
		for _, counted := range []struct {
			name string
			n    int64
		}{{"missed", s.GetMissed()}, {"skipped", s.GetSkipped()}, {"waiting", s.GetWaiting()}, {"remaining", s.GetRemaining()}} {
			if counted.n > 0 || counted.name == "remaining" && spec.GetLimit() > 0 {
				rows = append(rows, []string{counted.name, strconv.FormatInt(counted.n, 10)})
			}
		}
		for _, next := range s.GetNextTimes() {
			rows = append(rows, []string{"next", moment(next)})
		}
		for _, run := range s.GetRecentRuns() {
			rows = append(rows, []string{"run", moment(run.GetStartTime()) + "  " + run.GetRunId() + "  " + wordOf(run.GetStatus())})
		}
		return table(out, rows)
	})
}

func overlapName(p schedulerv1.OverlapPolicy) string {
	name := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(p.String(), "OVERLAP_POLICY_")), "_", "-")
	if p == schedulerv1.OverlapPolicy_OVERLAP_POLICY_UNSPECIFIED {
		return "skip"
	}
	return name
}

func newSchedulesPause(a *access) *cobra.Command {
	req := &schedulerv1.PauseScheduleRequest{}
	cmd := &cobra.Command{
		Use: "pause APP NAME", Short: "Keep a schedule from firing, over deploys too", Args: exactly("APP", "NAME"),
		Example: "  agentcloud schedules pause hello nightly --note 'until the migration is done'",
	}
	cmd.Flags().StringVar(&req.Note, "note", "", "why, for people")
	return a.confirmed(cmd, "pause", req, &schedulerv1.PauseScheduleResponse{}, "paused")
}

func newSchedulesUnpause(a *access) *cobra.Command {
	req := &schedulerv1.UnpauseScheduleRequest{}
	cmd := &cobra.Command{
		Use: "unpause APP NAME", Short: "Let a schedule fire again, from now on", Args: exactly("APP", "NAME"),
		Example: "  agentcloud schedules unpause hello nightly",
	}
	cmd.Flags().StringVar(&req.Note, "note", "", "why, for people")
	return a.confirmed(cmd, "unpause", req, &schedulerv1.UnpauseScheduleResponse{}, "goes on")
}

func newSchedulesTrigger(a *access) *cobra.Command {
	req := &schedulerv1.TriggerScheduleRequest{}
	cmd := &cobra.Command{
		Use: "trigger APP NAME", Short: "Start a run now, also of a paused schedule", Args: exactly("APP", "NAME"),
		Example: "  agentcloud schedules trigger hello nightly --overlap allow-all",
	}
	overlap := overlapFlag(cmd, "for this run in place of the schedule's own policy")
	cmd.PreRunE = func(*cobra.Command, []string) (err error) {
		req.Overlap, err = overlapOf(*overlap)
		return err
	}
	return a.confirmed(cmd, "trigger", req, &schedulerv1.TriggerScheduleResponse{}, "triggered; `agentcloud schedules get` shows the run")
}

// confirmed makes a command that posts to a schedule and says one word.
func (a *access) confirmed(cmd *cobra.Command, verb string, req, res proto.Message, word string) *cobra.Command {
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := a.onSchedule(cmd.Context(), http.MethodPost, args[0], []string{args[1], verb}, req, res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, word)
			return err
		})
	}
	return cmd
}

func newSchedulesBackfill(a *access) *cobra.Command {
	req := &schedulerv1.BackfillScheduleRequest{}
	var from, to string
	cmd := &cobra.Command{
		Use: "backfill APP NAME --from TIME", Short: "Start the runs that were due in a range of time", Args: exactly("APP", "NAME"),
		Long: "Start the runs that were due in a range of time, at most 1000. Which of them are started together\n" +
			"or at all is the overlap policy's choice; without one, each is started when the one before has ended.",
		Example: "  agentcloud schedules backfill hello nightly --from 2026-11-01T00:00:00Z --to 2026-11-08T00:00:00Z",
	}
	cmd.Flags().StringVar(&from, "from", "", "from here, included (RFC 3339)")
	cmd.Flags().StringVar(&to, "to", "", "to here, included (RFC 3339); now when left out")
	_ = cmd.MarkFlagRequired("from")
	overlap := overlapFlag(cmd, "for these runs")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) (err error) {
		if req.Overlap, err = overlapOf(cmp.Or(*overlap, "buffer-all")); err != nil {
			return err
		}
		if req.StartTime, err = instantOf("from", from); err != nil {
			return err
		}
		if req.EndTime, err = instantOf("to", cmp.Or(to, time.Now().UTC().Format(time.RFC3339))); err != nil {
			return err
		}
		var res schedulerv1.BackfillScheduleResponse
		if err := a.onSchedule(cmd.Context(), http.MethodPost, args[0], []string{args[1], "backfill"}, req, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintf(out, "%d runs were due in this range\n", res.GetDue())
			return err
		})
	}
	return cmd
}

func newSchedulesDelete(a *access) *cobra.Command {
	cmd := &cobra.Command{Use: "delete APP NAME", Short: "End a schedule; its runs go on", Args: exactly("APP", "NAME"), Example: "  agentcloud schedules delete hello nightly"}
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var res schedulerv1.DeleteScheduleResponse
		if err := a.onSchedule(cmd.Context(), http.MethodDelete, args[0], args[1:], nil, &res); err != nil {
			return err
		}
		return showMessage(cmd.OutOrStdout(), *format, &res, func(out io.Writer) error {
			_, err := fmt.Fprintln(out, "deleted")
			return err
		})
	}
	return cmd
}
