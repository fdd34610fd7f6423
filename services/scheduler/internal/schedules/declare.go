package schedules

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/projectfile"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/timetable"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// declared is a schedule that a version's agentcloud.yaml has.
type declared struct {
	spec *schedulerv1.ScheduleSpec
	file store.Declared
}

// declaredBy reads the schedules of a version. Those of an app are not repeated for
// each of its configurations, which would run them as often as there are users.
func declaredBy(v store.Version) (map[string]declared, error) {
	if v.TargetID != v.AppID {
		return nil, nil
	}
	file, err := projectfile.Decode(v.Artifact.GetManifest().GetProjectJson())
	if err != nil {
		return nil, fmt.Errorf("read what agentcloud.yaml of version %s says: %w", v.ID, err)
	}
	all := map[string]declared{}
	for name, one := range file.Schedules {
		spec, err := specOf(one)
		if err != nil {
			return nil, fmt.Errorf("read schedule %s of version %s: %w", name, v.ID, err)
		}
		all[name] = declared{spec: spec, file: store.Declared{Paused: one.Paused, Note: one.Note}}
	}
	return all, nil
}

// specOf is a schedule of agentcloud.yaml as the API would say it. The builder has
// checked it.
func specOf(one projectfile.Schedule) (*schedulerv1.ScheduleSpec, error) {
	spec := &schedulerv1.ScheduleSpec{
		Workflow: one.Workflow, ArgumentsJson: string(one.Arguments), Cron: one.Cron, TimeZone: one.TimeZone,
		Overlap: overlapNames[one.Overlap], PauseOnFailure: one.PauseOnFailure, Limit: one.Limit, Priority: one.Priority,
	}
	for _, c := range one.Calendar {
		spec.Calendars = append(spec.Calendars, calendarOf(c))
	}
	for _, c := range one.Except {
		spec.Except = append(spec.Except, calendarOf(c))
	}
	for _, bound := range []struct {
		from time.Time
		to   **timestamppb.Timestamp
	}{{one.Start, &spec.StartTime}, {one.End, &spec.EndTime}} {
		if !bound.from.IsZero() {
			*bound.to = timestamppb.New(bound.from)
		}
	}
	return spec, addSpans(spec, one)
}

func addSpans(spec *schedulerv1.ScheduleSpec, one projectfile.Schedule) (err error) {
	read := func(text string) *durationpb.Duration {
		if text == "" || err != nil {
			return nil
		}
		var d time.Duration
		d, err = timetable.Span(text)
		return durationpb.New(d)
	}
	spec.Jitter, spec.CatchupWindow = read(one.Jitter), read(one.Catchup)
	for _, interval := range one.Interval {
		spec.Intervals = append(spec.Intervals, &schedulerv1.IntervalSpec{Every: read(interval.Every), Offset: read(interval.Offset)})
	}
	return err
}

var overlapNames = map[string]schedulerv1.OverlapPolicy{
	"skip":            schedulerv1.OverlapPolicy_OVERLAP_POLICY_SKIP,
	"buffer-one":      schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ONE,
	"buffer-all":      schedulerv1.OverlapPolicy_OVERLAP_POLICY_BUFFER_ALL,
	"cancel-other":    schedulerv1.OverlapPolicy_OVERLAP_POLICY_CANCEL_OTHER,
	"terminate-other": schedulerv1.OverlapPolicy_OVERLAP_POLICY_TERMINATE_OTHER,
	"allow-all":       schedulerv1.OverlapPolicy_OVERLAP_POLICY_ALLOW_ALL,
}

func calendarOf(c projectfile.Calendar) *schedulerv1.CalendarSpec {
	f := c.Fields()
	return &schedulerv1.CalendarSpec{
		Second: f.Second, Minute: f.Minute, Hour: f.Hour, DayOfMonth: f.DayOfMonth, Month: f.Month, Year: f.Year, DayOfWeek: f.DayOfWeek,
	}
}

// Check says what is wrong with the schedules that a version declares, before it goes
// live: the builder does not know what the app can run.
func (s *Service) Check(ctx context.Context, v store.Version) (projectfile.Mistakes, error) {
	all, err := declaredBy(v)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	t, err := s.deps.Store.Target(ctx, v.TargetID)
	if err != nil {
		return nil, err
	}
	rows, err := s.deps.Store.SchedulesOf(ctx, nil, t.ID, "", 2*mostSchedules, false)
	if err != nil {
		return nil, err
	}
	byHand := map[string]bool{}
	for _, row := range rows {
		byHand[row.Name] = row.Declared == nil
	}
	var mistakes projectfile.Mistakes
	lines := v.Artifact.GetManifest().GetProjectLines()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		var why string
		field := "schedules." + name
		switch _, err := s.want(t, v, name, all[name].spec, appShare(t)); {
		case byHand[name]:
			why = "the app has a schedule of this name that was made by hand; delete it, or take another name"
		case fault.NotFound.Is(err):
			field, why = field+".workflow", fault.Message(err)
		case fault.Invalid.Is(err):
			why = fault.Message(err)
		case err != nil:
			return nil, err
		default:
			continue
		}
		mistakes = append(mistakes, projectfile.Mistake{Line: int(projectfile.LineOf(lines, field)), Field: field, Reason: why})
	}
	return mistakes, nil
}

// Switched writes down what a version that goes live makes of its target's schedules:
// declared ones are made, changed or ended, and all are looked at, since what they run
// may have changed. Apply does it.
func (s *Service) Switched(ctx context.Context, tx *sqldb.Tx, v store.Version) error {
	wanted, err := declaredBy(v)
	if err != nil {
		return err
	}
	rows, err := s.deps.Store.SchedulesOf(ctx, tx, v.TargetID, "", 2*mostSchedules, true)
	if err != nil {
		return err
	}
	for _, row := range rows {
		next, ok := wanted[row.Name]
		if ok {
			delete(wanted, row.Name)
			s.redeclare(&row, next)
		} else {
			s.undeclare(&row)
		}
		if err := s.deps.Store.PutSchedule(ctx, tx, row); err != nil {
			return err
		}
	}
	for name, next := range wanted {
		row := store.Schedule{
			TargetID: v.TargetID, Name: name, OrgID: v.OrgID, Spec: next.spec, Declared: &next.file, State: store.ScheduleApplying,
			Intent:    store.Intent{Create: true, Pause: &next.file.Paused, Note: &next.file.Note},
			CreatedAt: s.deps.Now(), UpdatedAt: s.deps.Now(),
		}
		if err := s.deps.Store.PutSchedule(ctx, tx, row); err != nil {
			return err
		}
	}
	return nil
}

// redeclare changes a row into what the file says now. What somebody did by hand to a
// schedule, such as pausing it, stays unless the file changes in that point.
func (s *Service) redeclare(row *store.Schedule, next declared) {
	had := row.Declared
	if had == nil || row.State == store.ScheduleDeleting {
		had = &store.Declared{Paused: !next.file.Paused, Note: next.file.Note + " "} // all is news
		row.Intent.Change = true
	}
	row.State = store.ScheduleApplying
	if !proto.Equal(row.Spec, next.spec) {
		row.Intent.Change, row.UpdatedAt = true, s.deps.Now()
		row.Intent.Limit = row.Intent.Limit || row.Spec.GetLimit() != next.spec.GetLimit()
	}
	if had.Paused != next.file.Paused {
		row.Intent.Change, row.Intent.Pause = true, &next.file.Paused
	}
	if had.Note != next.file.Note {
		row.Intent.Note = &next.file.Note
	}
	row.Spec, row.Declared = next.spec, &next.file
}

// undeclare ends a declared schedule that the file has no more.
func (s *Service) undeclare(row *store.Schedule) {
	switch {
	case row.State == store.ScheduleDeleting:
	case row.Declared != nil:
		row.State = store.ScheduleDeleting
	default:
		row.State = store.ScheduleApplying
	}
}

// End takes all schedules of a target out of Temporal.
func (s *Service) End(ctx context.Context, targetID string) error {
	rows, err := s.deps.Store.SchedulesOf(ctx, nil, targetID, "", 2*mostSchedules, true)
	if err != nil {
		return err
	}
	for _, row := range rows {
		err := s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
			row.State = store.ScheduleDeleting
			return s.deps.Store.PutSchedule(ctx, tx, row)
		})
		if err == nil {
			err = s.apply(ctx, targetID, row.Name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
