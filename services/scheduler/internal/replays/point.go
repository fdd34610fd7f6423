package replays

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// Names of points that are no step's.
const (
	fromStart = "start"
	fromLast  = "last"
)

// point is where a fork leaves its original.
type point struct {
	// kept is the last event that is taken over.
	kept int64
	// finish is the event to which Temporal resets: the end of the first step of the code
	// that knew of kept. It is not taken over, what was before it is.
	finish int64
	// reused is how many ended steps are taken over.
	reused int64
}

// pointOf finds where to leave a history after the step that from names. It fails with
// fault.Invalid, and tells what could have been named.
func pointOf(events []*historypb.HistoryEvent, from string) (point, error) {
	steps := stepsOf(events)
	after, err := afterStep(events, steps, from)
	if err != nil {
		return point{}, err
	}
	finish := taskAfter(events, after)
	if finish == 0 {
		return point{}, fault.Conflict.Errorf("the run's code has not gone on after event %d yet; name an earlier step, or wait", after)
	}
	p := point{kept: finish - 1, finish: finish}
	for _, s := range steps {
		if s.kind != kindStart && s.end > 0 && s.end < finish {
			p.reused++
		}
	}
	return p, nil
}

// afterStep is the event after which the fork goes its own way.
func afterStep(events []*historypb.HistoryEvent, steps []step, from string) (int64, error) {
	last := events[len(events)-1].GetEventId()
	switch from {
	case fromStart:
		return 1, nil
	case "", fromLast:
		return lastEnd(steps), nil
	}
	if number, err := strconv.ParseInt(from, 10, 64); err == nil {
		if number < 1 || number > last {
			return 0, fault.Invalid.Errorf("there is no event %d in this run; it has the events 1 to %d", number, last)
		}
		return number, nil
	}
	name, which, err := splitName(from)
	if err != nil {
		return 0, err
	}
	var ends []int64
	for _, s := range steps {
		if s.name == name && s.end > 0 && s.kind != kindStart && s.kind != kindEnd {
			ends = append(ends, s.end)
		}
	}
	switch {
	case len(ends) == 0:
		return 0, fault.Invalid.Errorf("this run has no ended step %q; %s", name, known(steps))
	case which == 0:
		return ends[0], nil
	case which > len(ends):
		return 0, fault.Invalid.Errorf("this run has ended %q %d times only", name, len(ends))
	}
	return ends[which-1], nil
}

// splitName reads "name#2"; which is 0 without a number.
func splitName(from string) (name string, which int, err error) {
	name, number, numbered := strings.Cut(from, "#")
	if !numbered {
		return name, 0, nil
	}
	if which, err = strconv.Atoi(number); err != nil || which < 1 {
		return "", 0, fault.Invalid.Errorf("%q names no step; after # comes which time it is meant, from 1", from)
	}
	return name, which, nil
}

// lastEnd is the last end of a step; the start when there is none.
func lastEnd(steps []step) int64 {
	end := int64(1)
	for _, s := range steps {
		if s.kind != kindEnd {
			end = max(end, s.end)
		}
	}
	return end
}

// taskAfter is the end of the first workflow task that began after an event, or its
// start when it has no end; 0 when there is none.
func taskAfter(events []*historypb.HistoryEvent, after int64) int64 {
	var started int64
	for _, e := range events {
		if e.GetEventId() <= after {
			continue
		}
		switch e.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_STARTED:
			if started == 0 {
				started = e.GetEventId()
			}
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED, enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED, enumspb.EVENT_TYPE_WORKFLOW_TASK_TIMED_OUT:
			if started > 0 {
				return e.GetEventId()
			}
		}
	}
	return started
}

// known names steps for somebody who named none.
func known(steps []step) string {
	const most = 20
	var names []string
	for _, s := range steps {
		if s.kind != kindStart && s.kind != kindEnd && s.end > 0 && !slices.Contains(names, s.name) {
			names = append(names, s.name)
		}
	}
	if len(names) == 0 {
		return "it has none; use start"
	}
	more := ""
	if len(names) > most {
		names, more = names[:most], fmt.Sprintf(" and %d more", len(names)-most)
	}
	return "it has " + strings.Join(names, ", ") + more + ", the numbers of its events, last and start"
}
