package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	dueEvery = 2 * time.Second
	// outage is longer than the shortest catch-up window there is.
	outage       = 16 * time.Second
	shortCatchup = 10 * time.Second
)

// clock is what is told of a schedule.
type clock struct {
	TargetID                 string `json:"targetId"`
	Started, Missed, Skipped int64  `json:",string"`
	Paused                   bool   `json:"paused"`
}

// TestSchedulesOverARestart kills everything while schedules are due, and counts what
// each of them has started: all that was due, all but what was too old, or none while
// the run before goes on, exactly as its policies say.
func TestSchedulesOverARestart(t *testing.T) {
	t.Parallel()
	v := newVictim(t, findTools(t))
	for name, args := range map[string][]string{
		"long":  {"version", "{}", "--overlap", "allow-all", "--catchup", "5m"},
		"short": {"version", "{}", "--overlap", "allow-all", "--catchup", shortCatchup.String()},
		"held":  {"Steps", `{"name": "held"}`, "--overlap", "skip", "--catchup", "5m"},
	} {
		v.must("agentcloud", append([]string{"schedules", "create", "chaos", name, "--every", dueEvery.String()}, args...)...)
	}
	for _, name := range []string{"long", "short", "held"} {
		eventually(t, recoverLimit, func() error { return v.started(name, 1) })
	}
	v.cloud.kill()
	<-v.cloud.done
	eventually(t, 10*time.Second, v.cloud.orphans)
	killed := time.Now()
	time.Sleep(outage) // the outage itself
	back := time.Now()
	v.cloud.start(t)
	before := v.clock("long").Started
	eventually(t, recoverLimit, func() error { return v.started("long", before+2) })
	for _, name := range []string{"long", "short", "held"} {
		v.must("agentcloud", "schedules", "pause", "chaos", name)
	}

	long, _ := v.settled("long")
	for i := 1; i < len(long); i++ {
		if step := long[i].Sub(long[i-1]); step != dueEvery {
			t.Errorf("long: from %v to %v are %s, want %s: each time that was due, once", long[i-1], long[i], step, dueEvery)
		}
	}
	short, begun := v.settled("short")
	missed := v.missing(short)
	// caught is when Temporal looked at what had been due in the outage.
	caught := begun[slices.IndexFunc(short, killed.Before)]
	for _, due := range long {
		old := due.After(killed.Add(dueEvery)) && due.Before(back.Add(-shortCatchup))
		if old && !slices.Contains(missed, due) {
			t.Errorf("short: %v was started at %v, with a window of %s", due, caught, shortCatchup)
		}
	}
	for _, due := range missed {
		if due.Before(killed.Add(-dueEvery)) || due.After(caught.Add(-shortCatchup)) {
			t.Errorf("short: %v was not started; killed at %v, caught up at %v, window %s", due, killed, caught, shortCatchup)
		}
	}
	if c := v.clock("short"); c.Missed != int64(len(missed)) || c.Missed == 0 {
		t.Errorf("short: %d are said to be missed, %d are", c.Missed, len(missed))
	}
	if c := v.clock("held"); c.Started != 1 || c.Missed != 0 || c.Skipped < int64(outage/dueEvery) {
		t.Errorf("held: %+v; want one run, which still waits, and all others skipped, those of the outage too", c)
	}
	t.Logf("an outage of %s: long started all %d; short %d and missed %d; held %+v", caught.Sub(killed).Round(time.Second), len(long), v.clock("short").Started, len(missed), v.clock("held"))
	v.cloud.stop(t)
}

func (v *victim) must(name string, args ...string) []byte {
	v.t.Helper()
	out, err := v.program(name, args...)
	if err != nil {
		v.t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	return out
}

func (v *victim) clock(name string) (c clock) {
	v.t.Helper()
	if err := json.Unmarshal(v.must("agentcloud", "schedules", "get", "chaos", name, "--output", "json"), &c); err != nil {
		v.t.Fatal(err)
	}
	return c
}

func (v *victim) started(name string, n int64) error {
	if c := v.clock(name); c.Started < n {
		return fmt.Errorf("%s has started %d runs, want %d", name, c.Started, n)
	}
	return nil
}

// settled are the times for which a paused schedule has started runs, in order, and when
// each was started. All of them are there, and have ended well.
func (v *victim) settled(name string) (times, begun []time.Time) {
	v.t.Helper()
	eventually(v.t, recoverLimit, func() (err error) {
		if times, begun, err = v.times(name); err != nil {
			return err
		}
		if c := v.clock(name); c.Started != int64(len(times)) {
			return fmt.Errorf("%s has %d runs, and says it has started %d", name, len(times), c.Started)
		}
		return nil
	})
	return times, begun
}

// times reads from the ids of a schedule's runs when each was due.
func (v *victim) times(name string) (times, begun []time.Time, err error) {
	target := v.clock(name).TargetID
	req, err := http.NewRequestWithContext(v.t.Context(), http.MethodGet, v.cloud.url+"/api/v1/apps/"+target+"/runs?pageSize=1000", nil)
	if err != nil {
		return nil, nil, err
	}
	req.Header.Set("Authorization", "Bearer "+v.cloud.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	var page struct {
		Runs []struct {
			WorkflowID, Status, StartedBy string
			StartTime                     time.Time
		}
	}
	if err := json.NewDecoder(res.Body).Decode(&page); err != nil {
		return nil, nil, err
	}
	at := map[time.Time]time.Time{}
	for _, run := range page.Runs {
		due, ours := strings.CutPrefix(run.WorkflowID, target+"/"+name+"-")
		if !ours {
			continue
		}
		if run.Status != "RUN_STATUS_COMPLETED" || run.StartedBy != "schedule:"+name {
			return nil, nil, fmt.Errorf("run %s is %s, started by %q", run.WorkflowID, run.Status, run.StartedBy)
		}
		when, err := time.Parse(time.RFC3339, due)
		if err != nil {
			return nil, nil, err
		}
		times = append(times, when)
		at[when] = run.StartTime
	}
	slices.SortFunc(times, time.Time.Compare)
	for _, due := range times {
		begun = append(begun, at[due])
	}
	return times, begun, nil
}

// missing are the times between the first and the last for which there is no run.
func (v *victim) missing(times []time.Time) (none []time.Time) {
	for due := times[0]; due.Before(times[len(times)-1]); due = due.Add(dueEvery) {
		if !slices.ContainsFunc(times, due.Equal) {
			none = append(none, due)
		}
	}
	return none
}
