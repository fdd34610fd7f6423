package runs_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// The fixture's patience: a second without anything new, four in all.
const oneTidyStep = 700 * time.Millisecond

// tidy waits to be cancelled and then cleans up, in so many steps one after the other.
func tidy(ctx workflow.Context, steps int) error {
	ctx.Done().Receive(ctx, nil)
	cleaning, cancel := workflow.NewDisconnectedContext(ctx)
	defer cancel()
	cleaning = workflow.WithActivityOptions(cleaning, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range steps {
		if err := workflow.ExecuteActivity(cleaning, "tidyStep").Get(cleaning, nil); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func tidyStep(ctx context.Context) error {
	select {
	case <-ctx.Done():
	case <-time.After(oneTidyStep):
	}
	return ctx.Err()
}

func (f *fixture) cancel(t *testing.T, runID string) {
	t.Helper()
	res, err := f.client.CancelRun(f.ctx, &schedulerv1.CancelRunRequest{TargetId: f.app, RunId: runID})
	if err != nil || !res.GetFound() {
		t.Fatalf("CancelRun() = %v, %v", res, err)
	}
}

func TestARunThatWasAskedToEndDoes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	tests := map[string]struct {
		name, arguments string
		atLeast, atMost time.Duration
		force           bool
	}{
		"one that hears nothing":          {name: "Wait", atLeast: 900 * time.Millisecond, atMost: 3500 * time.Millisecond, force: true},
		"one that cleans up for a while":  {name: "Tidy", arguments: `{"steps":3}`, atLeast: 3 * oneTidyStep, atMost: 10 * time.Second},
		"one that cleans up for too long": {name: "Tidy", arguments: `{"steps":60}`, atLeast: 3900 * time.Millisecond, atMost: 10 * time.Second, force: true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			run := f.start(t, tt.name, tt.arguments).GetRunId()
			asked := time.Now()
			f.cancel(t, run)
			if got := f.get(t, &schedulerv1.GetRunRequest{RunId: run}); got.GetCloseTime() == nil && !got.GetCancelRequested() {
				t.Errorf("after CancelRun() the run is %v, want it to say so", got)
			}
			ended := f.finished(t, run)
			if ended.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_CANCELED || ended.GetErrorType() != "CancelledError" {
				t.Errorf("the run ended as %v, want cancelled", ended)
			}
			if took := ended.GetCloseTime().AsTime().Sub(asked); took < tt.atLeast || took > tt.atMost {
				t.Errorf("the run took %s to its end, want %s to %s", took, tt.atLeast, tt.atMost)
			}
			listed, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{TargetId: f.app})
			if err != nil {
				t.Fatal(err)
			}
			for _, one := range listed.GetRuns() {
				if one.GetRunId() == run && one.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_CANCELED {
					t.Errorf("the list says %s, want cancelled", one.GetStatus())
				}
			}
			eventually(t, "recorded", func() error {
				known, err := f.store.Run(t.Context(), run)
				if err != nil || known.Outcome != "canceled" {
					return fmt.Errorf("outcome %q, %w", known.Outcome, err)
				}
				return nil
			})
		})
	}
}

// What a run asked is not asked any more once it is to end.
func TestCancelTakesQuestionsBack(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.start(t, "Wait", "").GetRunId()
	q := store.Question{ID: "qst_" + run, TargetID: f.app, OrgID: f.org, RunID: run, Method: "elicitation/create", SignalName: "s", AskedAt: time.Now()}
	err := f.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, _, err := f.store.InsertQuestion(t.Context(), tx, q)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	asked := f.get(t, &schedulerv1.GetRunRequest{RunId: run}).GetQuestionChangedAt().AsTime()
	f.cancel(t, run)
	if kept, err := f.store.Question(t.Context(), q.ID); err != nil || kept.Shown() != store.StateWithdrawn {
		t.Errorf("the question is %s, %v; want withdrawn", kept.Shown(), err)
	}
	if changed := f.get(t, &schedulerv1.GetRunRequest{RunId: run}).GetQuestionChangedAt().AsTime(); !changed.After(asked) && asked.UnixMilli() > 0 {
		t.Errorf("questions changed at %s, want after %s", changed, asked)
	}
}

// The end by force is a promise: it is kept by whoever is there when it is due.
func TestTheEndSurvivesARestart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	run := f.start(t, "Wait", "").GetRunId()
	f.cancel(t, run)
	f.stopWork()
	if got := f.get(t, &schedulerv1.GetRunRequest{RunId: run}); got.GetCloseTime() != nil {
		t.Fatalf("with nobody there the run is %v, want it open", got)
	}
	f.work()
	if ended := f.finished(t, run); ended.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_CANCELED {
		t.Errorf("the run ended as %v, want cancelled", ended)
	}
}
