package projectfile

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
)

// check finds what no schema can: times that are none, and spans that are too short.
func (d Document) check() Mistakes {
	var all Mistakes
	for _, name := range slices.Sorted(maps.Keys(d.File.Schedules)) {
		s := d.File.Schedules[name]
		at := func(field string, err error) {
			if err != nil {
				all = append(all, d.At("schedules."+name+"."+field, err.Error()))
			}
		}
		s.check(at)
	}
	for _, pattern := range slices.Sorted(maps.Keys(d.File.Retries)) {
		for field, span := range d.File.Retries[pattern].spans() {
			if err := longEnough(span); err != nil {
				all = append(all, d.At("retries."+pattern+"."+field, err.Error()))
			}
		}
	}
	for i, call := range d.File.Smoke {
		if _, err := call.Within(); err != nil {
			all = append(all, d.At(item("smoke", i)+".timeout", err.Error()))
		}
	}
	all = append(all, d.checkKind()...)
	all = append(all, d.checkRollout()...)
	for field, err := range d.File.Scale.check() {
		all = append(all, d.At("scale."+field, err.Error()))
	}
	slices.SortStableFunc(all, func(a, b Mistake) int { return cmp.Compare(a.Line, b.Line) })
	return all
}

const (
	usualSmoke   = 30 * time.Second
	longestSmoke = 2 * time.Minute
)

// Within is how long the call may take.
func (s Smoke) Within() (time.Duration, error) {
	if s.Timeout == "" {
		return usualSmoke, nil
	}
	d, err := timetable.Span(s.Timeout)
	if err == nil && (d < leastSpan || d > longestSmoke) {
		err = fmt.Errorf("%q does not fit; write a time of up to %s", s.Timeout, longestSmoke)
	}
	return d, err
}

// leastSpan is what Temporal can keep.
const leastSpan = time.Millisecond

// spans are the times that are said, by field.
func (r Retry) spans() map[string]string {
	said := map[string]string{
		"start_to_close": r.StartToClose, "schedule_to_close": r.ScheduleToClose, "heartbeat": r.Heartbeat,
		"initial_interval": r.InitialInterval, "max_interval": r.MaxInterval,
	}
	maps.DeleteFunc(said, func(_, span string) bool { return span == "" })
	return said
}

func longEnough(span string) error {
	d, err := timetable.Span(span)
	if err == nil && d < leastSpan {
		err = fmt.Errorf("%q is too short; at least %s is needed", span, leastSpan)
	}
	return err
}

// check calls at with each field and what is wrong with it, or nil.
func (s Schedule) check(at func(field string, err error)) {
	for i, line := range s.Cron {
		_, err := timetable.Cron(line)
		at(item("cron", i), err)
	}
	for i, interval := range s.Interval {
		_, err := timetable.Span(interval.Every)
		at(item("interval", i)+".every", err)
		if interval.Offset != "" {
			_, err = timetable.Span(interval.Offset)
			at(item("interval", i)+".offset", err)
		}
	}
	for i, c := range s.Calendar {
		_, err := c.Fields().Calendar()
		at(item("calendar", i), err)
	}
	for i, c := range s.Except {
		_, err := c.Fields().Calendar()
		at(item("except", i), err)
	}
	at("time_zone", timetable.Zone(s.TimeZone))
	for field, span := range map[string]string{"jitter": s.Jitter, "catchup": s.Catchup} {
		if span != "" {
			_, err := timetable.Span(span)
			at(field, err)
		}
	}
	if !s.End.IsZero() && !s.Start.Before(s.End) {
		at("end", fmt.Errorf("the schedule ends before it starts"))
	}
}

func item(field string, i int) string { return fmt.Sprintf("%s.%d", field, i) }

// Fields are the calendar's fields for package timetable.
func (c Calendar) Fields() timetable.Fields {
	return timetable.Fields{
		Second: string(c.Second), Minute: string(c.Minute), Hour: string(c.Hour), DayOfMonth: string(c.DayOfMonth),
		Month: string(c.Month), Year: string(c.Year), DayOfWeek: string(c.DayOfWeek),
	}
}
