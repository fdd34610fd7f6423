package health_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// ran writes a run down that began so long ago, and took so long when it is over.
func (w *world) ran(name, outcome string, ago, took time.Duration) string {
	w.t.Helper()
	began := time.Now().Add(-ago)
	run := store.Run{
		RunID: id.Event.New(), WorkflowID: "w", TargetID: w.instance.TargetID, OrgID: w.instance.OrgID,
		VersionID: w.instance.VersionID, Type: name, StartedAt: began,
	}
	if err := w.record.Started(w.t.Context(), run); err != nil {
		w.t.Fatal(err)
	}
	if outcome != "" {
		if err := w.record.Closed(w.t.Context(), run, outcome, began.Add(took)); err != nil {
			w.t.Fatal(err)
		}
	}
	return run.RunID
}

// asks writes a question of a run down; until is zero when it is open.
func (w *world) asks(runID string, at time.Time, until time.Time) {
	w.t.Helper()
	q := store.Question{ID: id.Question.New(), TargetID: w.instance.TargetID, OrgID: w.instance.OrgID, RunID: runID, SignalName: id.Event.New(), AskedAt: at}
	w.tx(func(tx *sqldb.Tx) error {
		_, _, err := w.store.InsertQuestion(w.t.Context(), tx, q)
		return err
	})
	if !until.IsZero() {
		w.tx(func(tx *sqldb.Tx) error {
			_, err := w.store.Answer(w.t.Context(), tx, q.ID, `{}`, "u_1", until)
			return err
		})
	}
}

func TestASlowRunIsReportedUntilItEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	now := time.Now()
	for i := range 11 { // they take a minute
		w.ran("Usual", runs.Completed, time.Hour-time.Duration(i)*time.Second, time.Minute)
	}
	patient := w.ran("Usual", runs.Completed, time.Hour, 3*time.Minute) // with two of waiting
	w.asks(patient, now.Add(-time.Hour), now.Add(-58*time.Minute))
	slow := w.ran("Usual", "", 10*time.Minute, 0)
	w.ran("Usual", "", time.Minute, 0) // not yet
	asking := w.ran("Usual", "", time.Hour, 0)
	w.asks(asking, now.Add(-time.Hour), time.Time{})
	asked := w.ran("Usual", "", time.Hour, 0)
	w.asks(asked, now.Add(-time.Hour), now.Add(-time.Minute))
	w.ran("New", "", time.Hour, 0) // nothing to compare with
	c, found := w.sees(health.WorkflowSlow)
	if !found || !slices.Equal(c.RunIDs, []string{slow}) || c.Subject != "Usual" || c.Runs != 1 {
		t.Fatalf("slow: %v, %v; want run %s alone", c, found, slow)
	}
	if len(w.look()) != 1 {
		t.Errorf("look = %v", w.look())
	}
	t.Log(c.Message)
	if err := w.record.Closed(t.Context(), store.Run{RunID: slow}, runs.Completed, time.Now()); err != nil {
		t.Fatal(err)
	}
	w.settled(health.WorkflowSlow)
}

// settled sees a condition settle first, and then go.
func (w *world) settled(typ string) {
	w.t.Helper()
	if c, found := w.sees(typ); !found || !c.Settling {
		w.t.Errorf("at first: %v, %v; want it settling", c, found)
	}
	eventually(w.t, "it is cleared", func() bool { _, still := w.sees(typ); return !still })
}

func TestAWorkflowThatFailsIsReported(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		outcomes []string // the oldest first
		reason   string
		named    int
	}{
		"in series":              {[]string{"completed", "failed", "timed_out", "failed"}, health.FailsInSeries, 3},
		"not quite":              {[]string{"failed", "failed", "completed", "failed", "failed"}, "", 0},
		"people end runs":        {[]string{"canceled", "terminated", "canceled", "terminated"}, "", 0},
		"ended runs say nothing": {[]string{"failed", "canceled", "failed", "terminated", "failed"}, health.FailsInSeries, 3},
		"too often": {[]string{
			"failed", "failed", "completed", "failed", "failed", "completed", "failed", "failed", "completed", "failed",
		}, health.FailsTooOften, 7},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, quick())
			for i, outcome := range tt.outcomes {
				w.ran("Flow", outcome, time.Minute-time.Duration(i)*time.Second, time.Second)
			}
			c, found := w.sees(health.WorkflowFailing)
			if found != (tt.reason != "") || c.Reason != tt.reason || len(c.RunIDs) != tt.named {
				t.Fatalf("found %v, %+v; want %q with %d runs", found, c, tt.reason, tt.named)
			}
			if found {
				w.live(id.Version.New()) // what was deployed since begins anew
				w.settled(health.WorkflowFailing)
			}
		})
	}
}

func TestALookGoesThroughManyWorkflows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, quick())
	for i := range 201 { // one more than in one look
		w.ran(fmt.Sprintf("Flow%03d", i), runs.Failed, time.Minute, time.Second)
		w.ran(fmt.Sprintf("Flow%03d", i), runs.Failed, time.Minute, time.Second)
	}
	w.ran("Flow200", runs.Failed, time.Minute, time.Second)
	if all := w.look(); len(all) != 0 {
		t.Errorf("the first look found %v", all)
	}
	if all := w.look(); len(all) != 1 || all[0].Subject != "Flow200" {
		t.Errorf("the second look found %v; want Flow200", all)
	}
}
