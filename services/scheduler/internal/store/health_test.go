package store_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func condition(subject string) store.Condition {
	return store.Condition{
		ConditionKey: store.ConditionKey{TargetID: "app_1", Type: "WorkflowStuck", Reason: "step_fails", Subject: subject},
		OrgID:        "org_1", AppName: "demo", Message: "no", RunIDs: []string{"r1"}, Runs: 1, Since: now, SeenAt: now,
	}
}

func put(t *testing.T, s *store.Store, c store.Condition) (kept bool) {
	t.Helper()
	inTx(t, s, func(tx *sqldb.Tx) (err error) {
		kept, err = s.PutCondition(t.Context(), tx, c)
		return err
	})
	return kept
}

func TestConditions(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		if put(t, s, condition("A")) {
			t.Error("a condition of an app that is not there was kept")
		}
		begin(t, s, version("ver_1", 1))
		for _, subject := range []string{"C", "A", "B"} {
			if !put(t, s, condition(subject)) {
				t.Errorf("condition of %s was not kept", subject)
			}
		}
		changed := condition("B")
		changed.SeenAt, changed.Settling, changed.RunIDs = now.Add(time.Second), true, nil
		put(t, s, changed)
		want := []store.Condition{condition("A"), changed, condition("C")}
		got, err := s.Conditions(t.Context())
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("Conditions() (-want +got), %v:\n%s", err, diff)
		}
		page, err := s.ConditionsOfOrg(t.Context(), "org_1", condition("A").ConditionKey, 1)
		if diff := cmp.Diff(want[1:2], page, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("ConditionsOfOrg() after A (-want +got), %v:\n%s", err, diff)
		}
		if others, err := s.ConditionsOfOrg(t.Context(), "org_2", store.ConditionKey{}, 9); err != nil || len(others) != 0 {
			t.Errorf("ConditionsOfOrg() of another = %v, %v", others, err)
		}
		if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		if left, err := s.ConditionsOfTarget(t.Context(), "app_1", 9); err != nil || len(left) != 0 {
			t.Errorf("after the app: %v, %v", left, err)
		}
	})
}

func TestPace(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for i, typ := range []string{"B", "A", "A", "A"} {
			at := now.Add(time.Duration(i) * time.Minute)
			run := store.Run{RunID: fmt.Sprintf("r%d", i), WorkflowID: "w", TargetID: "app_1", OrgID: "org_1", Type: typ, StartedAt: at}
			inTx(t, s, func(tx *sqldb.Tx) error {
				_, err := s.InsertRun(t.Context(), tx, run)
				return err
			})
		}
		inTx(t, s, func(tx *sqldb.Tx) error {
			_, err := s.CloseRun(t.Context(), tx, "r1", "completed", now.Add(time.Hour))
			return err
		})
		kinds, err := s.NextKinds(t.Context(), store.Kind{}, 1)
		a := store.Kind{TargetID: "app_1", OrgID: "org_1", Type: "A"}
		if diff := cmp.Diff([]store.Kind{a}, kinds); err != nil || diff != "" {
			t.Errorf("NextKinds() (-want +got), %v:\n%s", err, diff)
		}
		if kinds, err := s.NextKinds(t.Context(), a, 9); err != nil || len(kinds) != 1 || kinds[0].Type != "B" {
			t.Errorf("NextKinds() after A = %v, %v; want B", kinds, err)
		}
		if closed, err := s.LastClosed(t.Context(), a, 9); err != nil || len(closed) != 1 || closed[0].RunID != "r1" {
			t.Errorf("LastClosed() = %v, %v; want r1", closed, err)
		}
		inTx(t, s, func(tx *sqldb.Tx) error {
			_, _, err := s.InsertQuestion(t.Context(), tx, store.Question{ID: "qst_1", TargetID: "app_1", OrgID: "org_1", RunID: "r2", AskedAt: now})
			return err
		})
		if open, err := s.OldestOpen(t.Context(), a, now.Add(time.Hour), 9); err != nil || len(open) != 1 || open[0].RunID != "r3" {
			t.Errorf("OldestOpen() = %v, %v; want r3 alone, for r2 waits for a person", open, err)
		}
		waits, err := s.Waits(t.Context(), []string{"r2", "r3"})
		if diff := cmp.Diff([]store.Wait{{RunID: "r2", From: now}}, waits); err != nil || diff != "" {
			t.Errorf("Waits() (-want +got), %v:\n%s", err, diff)
		}
	})
}
