package timetable_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
)

type ranges = []timetable.Range

// any of the fields that a cron line leaves open.
var (
	allHours, allDays, allMonths, week = ranges{{0, 23}}, ranges{{1, 31}}, ranges{{1, 12}}, ranges{{0, 6}}
	start                              = ranges{{0, 0}}
)

func TestCron(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		text string
		want []timetable.Calendar
		err  string
	}{
		"weekdays": {
			text: "30 6 * * MON-FRI",
			want: []timetable.Calendar{{Seconds: start, Minutes: ranges{{30, 30}}, Hours: ranges{{6, 6}}, DaysOfMonth: allDays, Months: allMonths, DaysOfWeek: ranges{{1, 5}}}},
		},
		"every other second": {
			text: "*/30 * * * * *",
			want: []timetable.Calendar{{Seconds: ranges{{0, 0}, {30, 30}}, Minutes: ranges{{0, 59}}, Hours: allHours, DaysOfMonth: allDays, Months: allMonths, DaysOfWeek: week}},
		},
		"by name": {
			text: "@monthly",
			want: []timetable.Calendar{{Seconds: start, Minutes: start, Hours: start, DaysOfMonth: ranges{{1, 1}}, Months: allMonths, DaysOfWeek: week}},
		},
		"the first, and each Monday": {
			text: "0 0 1 * MON",
			want: []timetable.Calendar{
				{Seconds: start, Minutes: start, Hours: start, DaysOfMonth: ranges{{1, 1}}, Months: allMonths, DaysOfWeek: week},
				{Seconds: start, Minutes: start, Hours: start, DaysOfMonth: allDays, Months: allMonths, DaysOfWeek: ranges{{1, 1}}},
			},
		},
		"too few fields": {text: "0 6 *", err: "expected 5 to 6 fields, found 3"},
		"too large":      {text: "61 * * * *", err: "above maximum (59)"},
		"never":          {text: "0 0 30 2 *", err: "never due"},
		"a time zone":    {text: "CRON_TZ=UTC 0 6 * * *", err: "time zone of the schedule"},
		"an interval":    {text: "@every 1h", err: "is an interval"},
		"nothing":        {text: "", err: "no cron expression"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got, err := timetable.Cron(tt.text)
			if tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) || tt.err == "" && err != nil {
				t.Fatalf("Cron(%q) = %v, want an error with %q", tt.text, err, tt.err)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Cron(%q) (-want +got):\n%s", tt.text, diff)
			}
		})
	}
}

func TestCalendar(t *testing.T) {
	t.Parallel()
	got, err := timetable.Fields{Hour: "9-11", Minute: "0,30", DayOfWeek: "FRI", Year: "2027,2030-2031"}.Calendar()
	want := timetable.Calendar{
		Seconds: start, Minutes: ranges{{0, 0}, {30, 30}}, Hours: ranges{{9, 11}}, DaysOfMonth: allDays, Months: allMonths,
		DaysOfWeek: ranges{{5, 5}}, Years: ranges{{2027, 2027}, {2030, 2031}},
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Calendar() = %v (-want +got):\n%s", err, diff)
	}
	for desc, f := range map[string]timetable.Fields{
		"an hour too late": {Hour: "24"}, "spaces": {Hour: "9 10"}, "a short year": {Year: "27"}, "years backwards": {Year: "2030-2027"}, "no day": {DayOfWeek: "NODAY"},
	} {
		if c, err := f.Calendar(); err == nil {
			t.Errorf("%s: Calendar() = %v, want an error", desc, c)
		}
	}
}

func TestZone(t *testing.T) {
	t.Parallel()
	for name, ok := range map[string]bool{"": true, "UTC": true, "Europe/Berlin": true, "Mars/Olympus": false, "Local": false, "../../etc/passwd": false} {
		if err := timetable.Zone(name); (err == nil) != ok {
			t.Errorf("Zone(%q) = %v, want ok %v", name, err, ok)
		}
	}
}

func TestSpan(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"90s": 90 * time.Second, "7d": 7 * 24 * time.Hour, "1d12h": 36 * time.Hour, "0s": 0, "0": 0} {
		if got, err := timetable.Span(text); err != nil || got != want {
			t.Errorf("Span(%q) = %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "d", "10", "-5m", "1d-5m", "soon", "999999d"} {
		if got, err := timetable.Span(text); err == nil {
			t.Errorf("Span(%q) = %v, want an error", text, got)
		}
	}
}
