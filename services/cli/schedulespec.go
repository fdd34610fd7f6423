package cli

import (
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// specFlags are what can be said of a schedule on the command line.
type specFlags struct {
	cron, every, calendar, except []string
	zone, jitter, catchup         string
	start, end                    string
	overlap                       *string
	pauseOnFailure                bool
	limit                         int64
	priority                      *int32
}

func newSpecFlags(cmd *cobra.Command) *specFlags {
	f := &specFlags{}
	flags := cmd.Flags()
	flags.StringArrayVar(&f.cron, "cron", nil, `a line of crontab: "30 6 * * MON-FRI"; may be repeated`)
	flags.StringArrayVar(&f.every, "every", nil, `a span, with an offset after a plus: "15m", "1h+5m"; may be repeated`)
	flags.StringArrayVar(&f.calendar, "calendar", nil, `fields as NAME=VALUE with spaces between: "hour=9-17 day_of_week=MON-FRI"; may be repeated`)
	flags.StringArrayVar(&f.except, "except", nil, `a calendar at which it is not due: "month=DEC day_of_month=24-26 hour=*"; may be repeated`)
	flags.StringVar(&f.zone, "time-zone", "", "IANA name, such as Europe/Berlin; UTC when left out")
	flags.StringVar(&f.jitter, "jitter", "", "start each run later by a random span below this")
	flags.StringVar(&f.catchup, "catchup", "", "how late a run may be started after an outage; an hour when left out")
	flags.StringVar(&f.start, "start", "", "not due before (RFC 3339)")
	flags.StringVar(&f.end, "end", "", "not due after (RFC 3339)")
	f.overlap = overlapFlag(cmd, "what happens while the run before still runs; skip when left out")
	flags.BoolVar(&f.pauseOnFailure, "pause-on-failure", false, "pause when a run fails or times out")
	flags.Int64Var(&f.limit, "limit", 0, "fire so often and then no more; 0: without limit")
	f.priority = priorityFlag(cmd)
	return f
}

// apply changes a specification by the flags that were given.
func (f *specFlags) apply(cmd *cobra.Command, spec *schedulerv1.ScheduleSpec) error {
	given := cmd.Flags().Changed
	if given("cron") || given("every") || given("calendar") {
		spec.Cron, spec.Intervals, spec.Calendars = f.cron, nil, nil
	}
	for _, step := range []struct {
		flag string
		do   func() error
	}{
		{"every", func() (err error) { spec.Intervals, err = intervals(f.every); return err }},
		{"calendar", func() (err error) { spec.Calendars, err = calendars("calendar", f.calendar); return err }},
		{"except", func() (err error) { spec.Except, err = calendars("except", f.except); return err }},
		{"time-zone", func() error { spec.TimeZone = f.zone; return nil }},
		{"jitter", func() (err error) { spec.Jitter, err = spanOf("jitter", f.jitter); return err }},
		{"catchup", func() (err error) { spec.CatchupWindow, err = spanOf("catchup", f.catchup); return err }},
		{"start", func() (err error) { spec.StartTime, err = instantOf("start", f.start); return err }},
		{"end", func() (err error) { spec.EndTime, err = instantOf("end", f.end); return err }},
		{"overlap", func() (err error) { spec.Overlap, err = overlapOf(*f.overlap); return err }},
		{"pause-on-failure", func() error { spec.PauseOnFailure = f.pauseOnFailure; return nil }},
		{"limit", func() error { spec.Limit = f.limit; return nil }},
		{"priority", func() error { spec.Priority = *f.priority; return nil }},
	} {
		if !given(step.flag) {
			continue
		}
		if err := step.do(); err != nil {
			return err
		}
	}
	return nil
}

func intervals(texts []string) (all []*schedulerv1.IntervalSpec, err error) {
	for _, text := range texts {
		every, offset, shifted := strings.Cut(text, "+")
		one := &schedulerv1.IntervalSpec{}
		if one.Every, err = spanOf("every", every); err != nil {
			return nil, err
		}
		if shifted {
			if one.Offset, err = spanOf("every", offset); err != nil {
				return nil, err
			}
		}
		all = append(all, one)
	}
	return all, nil
}

func calendars(flag string, texts []string) (all []*schedulerv1.CalendarSpec, err error) {
	for _, text := range texts {
		one := &schedulerv1.CalendarSpec{}
		fields := map[string]*string{
			"second": &one.Second, "minute": &one.Minute, "hour": &one.Hour, "day_of_month": &one.DayOfMonth,
			"month": &one.Month, "year": &one.Year, "day_of_week": &one.DayOfWeek,
		}
		for _, part := range strings.Fields(text) {
			name, value, _ := strings.Cut(part, "=")
			field := fields[name]
			if field == nil || value == "" {
				return nil, usage("--%s %q: write fields as NAME=VALUE; names are second, minute, hour, day_of_month, month, year, day_of_week", flag, part)
			}
			*field = value
		}
		all = append(all, one)
	}
	return all, nil
}

func spanOf(flag, text string) (*durationpb.Duration, error) {
	if text == "" {
		return nil, nil
	}
	d, err := timetable.Span(text)
	if err != nil {
		return nil, usage("--%s: %v", flag, err)
	}
	return durationpb.New(d), nil
}

// instantOf reads a time; how long ago means nothing to what is to come.
func instantOf(flag, text string) (*timestamppb.Timestamp, error) {
	if text == "" {
		return nil, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return nil, usage("--%s %q: write a time such as 2026-12-24T18:00:00+01:00", flag, text)
	}
	return timestamppb.New(t), nil
}

var overlapNames = []string{"skip", "buffer-one", "buffer-all", "cancel-other", "terminate-other", "allow-all"}

func overlapFlag(cmd *cobra.Command, what string) *string {
	value := cmd.Flags().String("overlap", "", what+": "+strings.Join(overlapNames, ", "))
	_ = cmd.RegisterFlagCompletionFunc("overlap", cobra.FixedCompletions(overlapNames, cobra.ShellCompDirectiveNoFileComp))
	return value
}

func overlapOf(name string) (schedulerv1.OverlapPolicy, error) {
	if name == "" {
		return schedulerv1.OverlapPolicy_OVERLAP_POLICY_UNSPECIFIED, nil
	}
	value, ok := schedulerv1.OverlapPolicy_value["OVERLAP_POLICY_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))]
	if !ok || value == 0 {
		return 0, usage("--overlap %s: use one of %s", name, strings.Join(overlapNames, ", "))
	}
	return schedulerv1.OverlapPolicy(value), nil
}

func newSchedulesCreate(a *access) *cobra.Command {
	req := &schedulerv1.CreateScheduleRequest{Spec: &schedulerv1.ScheduleSpec{}}
	cmd := &cobra.Command{
		Use: "create APP NAME WORKFLOW [ARGUMENTS]", Short: "Run a workflow or tool by the clock", Args: cobra.RangeArgs(3, 4),
		Long: "Run a workflow or tool by the clock. ARGUMENTS is a JSON object; it is checked against the live version.",
		Example: "  agentcloud schedules create hello morning Greet '{\"name\": \"Ada\"}' --cron '30 6 * * MON-FRI' --time-zone Europe/Berlin\n" +
			"  agentcloud schedules create hello sum add '{\"a\": 1, \"b\": 2}' --every 15m --overlap buffer-one --catchup 1d\n" +
			"  agentcloud schedules create hello office Greet '{\"name\": \"all\"}' --calendar 'hour=9-17 day_of_week=MON-FRI' --paused",
	}
	f := newSpecFlags(cmd)
	cmd.Flags().BoolVar(&req.Paused, "paused", false, "do not fire until it is unpaused")
	cmd.Flags().StringVar(&req.Note, "note", "", "why, for people")
	cmd.MarkFlagsOneRequired("cron", "every", "calendar")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		req.Name, req.Spec.Workflow = args[1], args[2]
		if len(args) > 3 {
			req.Spec.ArgumentsJson = args[3]
		}
		if err := f.apply(cmd, req.GetSpec()); err != nil {
			return err
		}
		var res schedulerv1.CreateScheduleResponse
		if err := a.onSchedule(cmd.Context(), http.MethodPost, args[0], nil, req, &res); err != nil {
			return err
		}
		return showSchedule(cmd.OutOrStdout(), *format, res.GetSchedule())
	}
	return cmd
}

func newSchedulesUpdate(a *access) *cobra.Command {
	var workflow, arguments string
	cmd := &cobra.Command{
		Use: "update APP NAME", Short: "Change a schedule; what is not named stays", Args: exactly("APP", "NAME"),
		Long: "Change a schedule; what is not named stays. --cron, --every and --calendar together say anew when it is due.",
		Example: "  agentcloud schedules update hello morning --cron '0 7 * * MON-FRI'\n" +
			"  agentcloud schedules update hello morning --arguments '{\"name\": \"Bob\"}' --overlap allow-all",
	}
	f := newSpecFlags(cmd)
	cmd.Flags().StringVar(&workflow, "workflow", "", "another workflow or tool")
	cmd.Flags().StringVar(&arguments, "arguments", "", "other arguments, as a JSON object")
	format := formatFlag(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var had schedulerv1.GetScheduleResponse
		if err := a.onSchedule(cmd.Context(), http.MethodGet, args[0], args[1:], nil, &had); err != nil {
			return err
		}
		spec := had.GetSchedule().GetSpec()
		if cmd.Flags().Changed("workflow") {
			spec.Workflow = workflow
		}
		if cmd.Flags().Changed("arguments") {
			spec.ArgumentsJson = arguments
		}
		if err := f.apply(cmd, spec); err != nil {
			return err
		}
		var res schedulerv1.UpdateScheduleResponse
		if err := a.onSchedule(cmd.Context(), http.MethodPut, args[0], args[1:], &schedulerv1.UpdateScheduleRequest{Spec: spec}, &res); err != nil {
			return err
		}
		return showSchedule(cmd.OutOrStdout(), *format, res.GetSchedule())
	}
	return cmd
}
