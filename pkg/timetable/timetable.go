// Package timetable reads what people write about time: cron, calendars, time zones and
// spans. It says whether that can ever be due, and not when it is: firing is Temporal's
// business.
package timetable

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
	_ "time/tzdata" // machines and images without a data base of time zones

	"github.com/robfig/cron/v3"
)

// A Range is the whole numbers from First to Last.
type Range struct{ First, Last int }

// A Calendar is due at each second at which all its fields match. Years may be empty,
// which matches every year; the others never are. Days of the week begin with Sunday, 0.
type Calendar struct {
	Seconds, Minutes, Hours, DaysOfMonth, Months, Years, DaysOfWeek []Range
}

// Fields are a calendar as people write it: numbers, names, ranges "9-17", steps "*/5"
// and lists "MON,WED", as in cron. What is left out is 0 for second, minute and hour,
// and any for the others.
type Fields struct {
	Second, Minute, Hour, DayOfMonth, Month, Year, DayOfWeek string
}

var parser = cron.NewParser(cron.SecondOptional | cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor)

// starBit marks a field of package cron in which nothing was chosen.
const starBit = 1 << 63

// Cron reads a line of crontab(5), with a field for seconds before it if there are six,
// or a name such as @daily. Days of month and of week are alternatives when both are
// chosen, as in crontab: that makes two calendars.
func Cron(text string) ([]Calendar, error) {
	text = strings.TrimSpace(text)
	switch {
	case strings.Contains(text, "TZ="):
		return nil, fmt.Errorf("%q names a time zone; give it as the time zone of the schedule", text)
	case strings.HasPrefix(text, "@every"):
		return nil, fmt.Errorf("%q is an interval; give it as one", text)
	case strings.HasPrefix(text, "@reboot"):
		return nil, fmt.Errorf("%q is no time", text)
	}
	spec, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no cron expression: %s; five fields are minute, hour, day of month, month, day of week: \"30 6 * * MON-FRI\"", text, reason(err))
	}
	if spec.Next(time.Now()).IsZero() {
		return nil, fmt.Errorf("%q is never due", text)
	}
	whole := calendarOf(spec)
	if spec.Dom&starBit != 0 || spec.Dow&starBit != 0 {
		return []Calendar{whole}, nil
	}
	month, week := whole, whole
	month.DaysOfWeek, week.DaysOfMonth = []Range{{0, 6}}, []Range{{1, 31}}
	return []Calendar{month, week}, nil
}

func parse(text string) (*cron.SpecSchedule, error) {
	schedule, err := parser.Parse(text)
	if err != nil {
		return nil, err
	}
	spec, ok := schedule.(*cron.SpecSchedule)
	if !ok {
		return nil, fmt.Errorf("it has no fields")
	}
	return spec, nil
}

// reason takes what package cron repeats of the input out of its error.
func reason(err error) string {
	text, _, _ := strings.Cut(err.Error(), ": ")
	return text
}

func calendarOf(spec *cron.SpecSchedule) Calendar {
	return Calendar{
		Seconds: ranges(spec.Second), Minutes: ranges(spec.Minute), Hours: ranges(spec.Hour),
		DaysOfMonth: ranges(spec.Dom), Months: ranges(spec.Month), DaysOfWeek: ranges(spec.Dow),
	}
}

// ranges are the numbers whose bits are set.
func ranges(bits uint64) []Range {
	var all []Range
	for n := range 63 {
		if bits&(1<<n) == 0 {
			continue
		}
		if last := len(all) - 1; last >= 0 && all[last].Last == n-1 {
			all[last].Last = n
			continue
		}
		all = append(all, Range{n, n})
	}
	return all
}

// Calendar reads the fields. All that are chosen must match.
func (f Fields) Calendar() (Calendar, error) {
	var line []string
	for _, field := range []struct{ name, text, usual string }{
		{"second", f.Second, "0"},
		{"minute", f.Minute, "0"},
		{"hour", f.Hour, "0"},
		{"day of month", f.DayOfMonth, "*"},
		{"month", f.Month, "*"},
		{"day of week", f.DayOfWeek, "*"},
	} {
		if field.text == "" {
			field.text = field.usual
		}
		if len(strings.Fields(field.text)) != 1 {
			return Calendar{}, fmt.Errorf("%q is no %s; write numbers, ranges and lists without spaces: \"9-17\" or \"MON,WED\"", field.text, field.name)
		}
		line = append(line, strings.TrimSpace(field.text))
	}
	spec, err := parse(strings.Join(line, " "))
	if err != nil {
		return Calendar{}, fmt.Errorf("this calendar cannot be read: %s", reason(err))
	}
	c := calendarOf(spec)
	c.Years, err = years(f.Year)
	return c, err
}

var yearRange = regexp.MustCompile(`^(\d{4})(?:-(\d{4}))?$`)

func years(text string) ([]Range, error) {
	if text == "" || text == "*" {
		return nil, nil
	}
	var all []Range
	for part := range strings.SplitSeq(text, ",") {
		m := yearRange.FindStringSubmatch(strings.TrimSpace(part))
		if m == nil {
			return nil, fmt.Errorf("%q is no year; write 2027, 2027-2029 or a list of them", part)
		}
		first, _ := strconv.Atoi(m[1]) // four digits
		last := first
		if m[2] != "" {
			last, _ = strconv.Atoi(m[2])
		}
		if last < first {
			return nil, fmt.Errorf("the years %q end before they begin", part)
		}
		all = append(all, Range{first, last})
	}
	return all, nil
}

// Zone fails when there is no time zone of that name in the IANA data base. The empty
// name is UTC.
func Zone(name string) error {
	if name == "" {
		return nil
	}
	if _, err := time.LoadLocation(name); err != nil || name == "Local" {
		return fmt.Errorf("there is no time zone %q; use a name such as Europe/Berlin, America/New_York or UTC", name)
	}
	return nil
}

var days = regexp.MustCompile(`^(\d{1,5})d(.*)$`)

// Span reads a span of time such as 90s, 1h30m or 7d; a day has 24 hours. It is never
// below zero.
func Span(text string) (time.Duration, error) {
	text = strings.TrimSpace(text)
	rest, whole := text, time.Duration(0)
	if m := days.FindStringSubmatch(text); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits
		whole, rest = time.Duration(n)*24*time.Hour, m[2]
	}
	part := time.Duration(0)
	var err error
	if rest != "" || whole == 0 {
		part, err = time.ParseDuration(rest)
	}
	if err != nil || part < 0 {
		return 0, fmt.Errorf("%q is no span of time; write for example 30s, 15m, 1h30m or 7d", text)
	}
	return whole + part, nil
}
