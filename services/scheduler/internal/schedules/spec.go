package schedules

import (
	"regexp"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	// mostTimes bounds the cron lines, intervals, calendars and exceptions of a schedule.
	mostTimes = 20
	// usualCatchup is how late a run may be started when nothing else is said: Temporal's
	// own year would start a night's worth of runs in the morning.
	usualCatchup = time.Hour
	// shortestCatchup is Temporal's.
	shortestCatchup = 10 * time.Second
	maxNote         = 1000
)

var goodName = regexp.MustCompile(`^[a-z0-9]([a-z0-9-]{0,58}[a-z0-9])?$`)

func checkName(name string) error {
	if !goodName.MatchString(name) {
		return fault.Invalid.Errorf("%.80q is no name of a schedule: use small letters, digits and dashes, at most 60", name)
	}
	return nil
}

var overlaps = map[schedulerv1.OverlapPolicy]enumspb.ScheduleOverlapPolicy{
	schedulerv1.OverlapPolicy_OVERLAP_POLICY_UNSPECIFIED:     enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
	schedulerv1.OverlapPolicy_OVERLAP_POLICY_SKIP:            enumspb.SCHEDULE_OVERLAP_POLICY_SKIP,
	schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ONE:      enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ONE,
	schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ALL:      enumspb.SCHEDULE_OVERLAP_POLICY_BUFFER_ALL,
	schedulerv1.OverlapPolicy_OVERLAP_POLICY_CANCEL_OTHER:    enumspb.SCHEDULE_OVERLAP_POLICY_CANCEL_OTHER,
	schedulerv1.OverlapPolicy_OVERLAP_POLICY_TERMINATE_OTHER: enumspb.SCHEDULE_OVERLAP_POLICY_TERMINATE_OTHER,
	schedulerv1.OverlapPolicy_OVERLAP_POLICY_ALLOW_ALL:       enumspb.SCHEDULE_OVERLAP_POLICY_ALLOW_ALL,
}

// override is the policy for single runs: none unless one is asked for.
func override(p schedulerv1.OverlapPolicy) (enumspb.ScheduleOverlapPolicy, error) {
	if p == schedulerv1.OverlapPolicy_OVERLAP_POLICY_UNSPECIFIED {
		return enumspb.SCHEDULE_OVERLAP_POLICY_UNSPECIFIED, nil
	}
	policy, ok := overlaps[p]
	if !ok {
		return 0, fault.Invalid.Errorf("there is no overlap policy %d", p)
	}
	return policy, nil
}

// policies are what happens when something does not go as planned.
func policies(spec *schedulerv1.ScheduleSpec) (*client.SchedulePolicies, error) {
	p := &client.SchedulePolicies{CatchupWindow: usualCatchup, PauseOnFailure: spec.GetPauseOnFailure()}
	var err error
	if p.Overlap, err = override(spec.GetOverlap()); err != nil {
		return nil, err
	}
	if p.Overlap == enumspb.SCHEDULE_OVERLAP_POLICY_UNSPECIFIED {
		p.Overlap = enumspb.SCHEDULE_OVERLAP_POLICY_SKIP
	}
	if spec.GetCatchupWindow() != nil {
		if p.CatchupWindow, err = span("the catch-up window", spec.GetCatchupWindow()); err != nil {
			return nil, err
		}
		if p.CatchupWindow < shortestCatchup {
			return nil, fault.Invalid.Errorf("the catch-up window is %s; at least %s are needed", p.CatchupWindow, shortestCatchup)
		}
	}
	if spec.GetLimit() < 0 {
		return nil, fault.Invalid.Errorf("the limit is %d; use 0 for none", spec.GetLimit())
	}
	return p, nil
}

// times are when it is due, as Temporal is told. It fails with fault.Invalid.
func times(spec *schedulerv1.ScheduleSpec) (*client.ScheduleSpec, error) {
	if n := len(spec.GetCron()) + len(spec.GetIntervals()) + len(spec.GetCalendars()); n == 0 {
		return nil, fault.Invalid.Errorf("say when the schedule is due: by cron, intervals or calendars")
	}
	if max(len(spec.GetCron()), len(spec.GetIntervals()), len(spec.GetCalendars()), len(spec.GetExcept())) > mostTimes {
		return nil, fault.Invalid.Errorf("a schedule has at most %d of each kind of times", mostTimes)
	}
	t := &client.ScheduleSpec{TimeZoneName: spec.GetTimeZone()}
	if err := timetable.Zone(spec.GetTimeZone()); err != nil {
		return nil, fault.Invalid.Errorf("%s", err)
	}
	for _, step := range []func(*client.ScheduleSpec, *schedulerv1.ScheduleSpec) error{addCron, addIntervals, addCalendars, addBounds} {
		if err := step(t, spec); err != nil {
			return nil, err
		}
	}
	return t, nil
}

func addCron(t *client.ScheduleSpec, spec *schedulerv1.ScheduleSpec) error {
	for _, line := range spec.GetCron() {
		calendars, err := timetable.Cron(line)
		if err != nil {
			return fault.Invalid.Errorf("%s", err)
		}
		for _, c := range calendars {
			t.Calendars = append(t.Calendars, calendar(c, line))
		}
	}
	return nil
}

func addIntervals(t *client.ScheduleSpec, spec *schedulerv1.ScheduleSpec) error {
	for _, one := range spec.GetIntervals() {
		every, err := span("an interval", one.GetEvery())
		if err != nil {
			return err
		}
		offset, err := span("the offset", one.GetOffset())
		switch {
		case err != nil:
			return err
		case every < time.Second:
			return fault.Invalid.Errorf("an interval of %s is too short; at least a second is needed", every)
		case offset >= every:
			return fault.Invalid.Errorf("the offset %s must be less than the interval %s", offset, every)
		}
		t.Intervals = append(t.Intervals, client.ScheduleIntervalSpec{Every: every, Offset: offset})
	}
	return nil
}

func addCalendars(t *client.ScheduleSpec, spec *schedulerv1.ScheduleSpec) error {
	for _, kind := range []struct {
		from []*schedulerv1.CalendarSpec
		to   *[]client.ScheduleCalendarSpec
	}{{spec.GetCalendars(), &t.Calendars}, {spec.GetExcept(), &t.Skip}} {
		for _, one := range kind.from {
			c, err := timetable.Fields{
				Second: one.GetSecond(), Minute: one.GetMinute(), Hour: one.GetHour(), DayOfMonth: one.GetDayOfMonth(),
				Month: one.GetMonth(), Year: one.GetYear(), DayOfWeek: one.GetDayOfWeek(),
			}.Calendar()
			if err != nil {
				return fault.Invalid.Errorf("%s", err)
			}
			*kind.to = append(*kind.to, calendar(c, ""))
		}
	}
	return nil
}

func addBounds(t *client.ScheduleSpec, spec *schedulerv1.ScheduleSpec) (err error) {
	if t.Jitter, err = span("the jitter", spec.GetJitter()); err != nil {
		return err
	}
	for _, bound := range []struct {
		from *timestamppb.Timestamp
		to   *time.Time
	}{{spec.GetStartTime(), &t.StartAt}, {spec.GetEndTime(), &t.EndAt}} {
		if bound.from == nil {
			continue
		}
		if err := bound.from.CheckValid(); err != nil {
			return fault.Invalid.Wrap(err, "start and end must be times")
		}
		*bound.to = bound.from.AsTime()
	}
	if !t.EndAt.IsZero() && !t.StartAt.Before(t.EndAt) {
		return fault.Invalid.Errorf("the schedule ends before it starts")
	}
	return nil
}

func span(what string, d *durationpb.Duration) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	if err := d.CheckValid(); err != nil || d.AsDuration() < 0 {
		return 0, fault.Invalid.Errorf("%s is no span of time", what)
	}
	return d.AsDuration(), nil
}

func calendar(c timetable.Calendar, comment string) client.ScheduleCalendarSpec {
	return client.ScheduleCalendarSpec{
		Second: ranges(c.Seconds), Minute: ranges(c.Minutes), Hour: ranges(c.Hours), DayOfMonth: ranges(c.DaysOfMonth),
		Month: ranges(c.Months), Year: ranges(c.Years), DayOfWeek: ranges(c.DaysOfWeek), Comment: comment,
	}
}

func ranges(all []timetable.Range) []client.ScheduleRange {
	var out []client.ScheduleRange
	for _, r := range all {
		out = append(out, client.ScheduleRange{Start: r.First, End: r.Last})
	}
	return out
}

func checkNote(note string) error {
	if len(note) > maxNote {
		return fault.Invalid.Errorf("the note has %d bytes; at most %d are taken", len(note), maxNote)
	}
	return nil
}
