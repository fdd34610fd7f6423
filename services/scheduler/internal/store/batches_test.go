package store_test

import (
	"errors"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// fill makes a batch of n items that runs.
func fill(t *testing.T, s *store.Store, id string, n int) {
	t.Helper()
	b := store.Batch{ID: id, OrgID: "org_1", TargetID: "app_1", Name: "Double", UserID: "u_1", Concurrency: 2, CreatedAt: now}
	if err := s.OpenBatch(t.Context(), b, 2); err != nil {
		t.Fatalf("OpenBatch() = %v", err)
	}
	inputs := make([]string, n)
	for i := range inputs {
		inputs[i] = "{}"
	}
	if err := s.FillBatch(t.Context(), id, 0, inputs); err != nil {
		t.Fatal(err)
	}
	tx(t, s, func(tx *sqldb.Tx) error { return s.BeginBatch(t.Context(), tx, id, int64(n), 1, now) })
}

func tx(t *testing.T, s *store.Store, do func(tx *sqldb.Tx) error) {
	t.Helper()
	if err := s.Tx(t.Context(), do); err != nil {
		t.Fatal(err)
	}
}

func TestLifeOfABatch(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		fill(t, s, "bat_1", 5)
		if err := s.OpenBatch(t.Context(), store.Batch{ID: "bat_1", OrgID: "org_1"}, 2); !fault.Exists.Is(err) {
			t.Errorf("OpenBatch() of a taken id = %v", err)
		}
		fill(t, s, "bat_2", 1)
		if err := s.OpenBatch(t.Context(), store.Batch{ID: "bat_3", OrgID: "org_1"}, 2); !fault.Exhausted.Is(err) {
			t.Errorf("OpenBatch() of a third = %v", err)
		}
		change := func(items ...store.Item) store.Counts {
			var b store.Batch
			tx(t, s, func(tx *sqldb.Tx) (err error) {
				b, err = s.ChangeItems(t.Context(), tx, "bat_1", items)
				return err
			})
			return b.Counts
		}
		change(store.Item{Index: 0, State: store.ItemRunning, RunID: "r0"}, store.Item{Index: 1, State: store.ItemRunning, RunID: "r1"})
		got := change(
			store.Item{Index: 0, State: store.ItemCompleted, RunID: "r0", Result: "7", EndedAt: now},
			store.Item{Index: 0, State: store.ItemFailed, RunID: "r0", ErrorType: "Late", EndedAt: now}, // it has ended already
			store.Item{Index: 1, State: store.ItemFailed, RunID: "r1", ErrorType: "KeyError", ErrorMessage: "x", EndedAt: now},
			store.Item{Index: 2, State: store.ItemFailed, ErrorType: "KeyError", ErrorMessage: "x", EndedAt: now}, // it never ran
			store.Item{Index: 3, Retries: 1, State: store.ItemRunning},                                            // another try than the one there is
		)
		if want := (store.Counts{Total: 5, Pending: 2, Completed: 1, Failed: 2}); got != want {
			t.Errorf("counts = %+v, want %+v", got, want)
		}
		if reasons, err := s.Failures(t.Context(), "bat_1", 10); err != nil || len(reasons) != 1 || reasons[0] != (store.Failure{Type: "KeyError", Message: "x", Items: 2}) {
			t.Errorf("Failures() = %v, %v", reasons, err)
		}
		tx(t, s, func(tx *sqldb.Tx) error {
			n, err := s.RetryItems(t.Context(), tx, "bat_1", store.ItemFailed)
			if n != 2 {
				t.Errorf("RetryItems() = %d, want 2", n)
			}
			return err
		})
		if got := change(store.Item{Index: 1, State: store.ItemCompleted}); got.Completed != 1 {
			t.Errorf("an earlier try counted: %+v", got)
		}
		tx(t, s, func(tx *sqldb.Tx) error {
			b, err := s.CancelItems(t.Context(), tx, "bat_1", now)
			if want := (store.Counts{Total: 5, Completed: 1, Cancelled: 4}); b.Counts != want {
				t.Errorf("counts = %+v, want %+v", b.Counts, want)
			}
			return err
		})
		items, err := s.Items(t.Context(), "bat_1", 0, 10, store.ItemCompleted, store.ItemCancelled)
		if err != nil || len(items) != 5 || items[0].Result != "7" || items[1].Retries != 1 || items[4].Index != 4 {
			t.Errorf("Items() = %+v, %v", items, err)
		}
		checkLists(t, s)
	})
}

func checkLists(t *testing.T, s *store.Store) {
	t.Helper()
	list, err := s.Batches(t.Context(), store.BatchFilter{OrgID: "org_1", TargetID: "app_1", State: store.BatchRunning, Limit: 1})
	if err != nil || len(list) != 1 || list[0].ID != "bat_2" {
		t.Fatalf("Batches() = %+v, %v, want the newest", list, err)
	}
	list, err = s.Batches(t.Context(), store.BatchFilter{OrgID: "org_1", Before: list[0].CreatedAt, BeforeID: list[0].ID, Limit: 10})
	if err != nil || len(list) != 1 || list[0].ID != "bat_1" || list[0].Skipped != 1 {
		t.Errorf("Batches() after that = %+v, %v", list, err)
	}
	tx(t, s, func(tx *sqldb.Tx) error { return s.EndBatch(t.Context(), tx, "bat_1", store.BatchCancelled, now) })
	tx(t, s, func(tx *sqldb.Tx) error {
		if _, err := s.TurnBatch(t.Context(), tx, "bat_1", store.BatchPaused, store.BatchRunning); !fault.Conflict.Is(err) {
			t.Errorf("TurnBatch() of one that is over = %v, want a conflict", err)
		}
		return nil
	})
	if ids, err := s.BatchesUnderWay(t.Context()); err != nil || len(ids) != 1 || ids[0] != "bat_2" {
		t.Errorf("BatchesUnderWay() = %v, %v", ids, err)
	}
	if old, err := s.OldBatches(t.Context(), now.Add(time.Second), now, 10); err != nil || len(old) != 1 || old[0].ID != "bat_1" {
		t.Errorf("OldBatches() = %v, %v", old, err)
	}
	if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Batch(t.Context(), "bat_2"); !fault.NotFound.Is(err) {
		t.Errorf("Batch() of a deleted app = %v", err)
	}
	if items, err := s.Items(t.Context(), "bat_2", 0, 10); err != nil || len(items) != 0 {
		t.Errorf("Items() of a deleted app = %v, %v", items, err)
	}
}

func TestClaims(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		c := store.Claim{OrgID: "org_1", WorkflowID: "w", Digest: "d", Size: 3}
		for _, at := range []time.Time{now, now.Add(time.Second)} { // the same value again
			if err := s.PutClaim(t.Context(), c, at); err != nil {
				t.Fatal(err)
			}
		}
		c.CheckedAt = now.Add(time.Second)
		if old, err := s.ClaimsToCheck(t.Context(), now.Add(2*time.Second), 10); err != nil || len(old) != 1 || old[0] != c {
			t.Errorf("ClaimsToCheck() = %+v, %v", old, err)
		}
		used := c
		used.CheckedAt = now // looked at before it was put away again
		if err := s.DeleteClaim(t.Context(), used, func() error { t.Error("a value that is needed was deleted"); return nil }); err != nil {
			t.Error(err)
		}
		away := errors.New("the store is away")
		if err := s.DeleteClaim(t.Context(), c, func() error { return away }); !errors.Is(err, away) {
			t.Errorf("DeleteClaim() = %v", err)
		}
		tx(t, s, func(tx *sqldb.Tx) error {
			_, err := s.InsertRun(t.Context(), tx, store.Run{RunID: "r", WorkflowID: "w", OrgID: "org_1", TargetID: "app_1"})
			return err
		})
		if old, err := s.ClaimsToCheck(t.Context(), now.Add(2*time.Second), 10); err != nil || len(old) != 0 {
			t.Errorf("ClaimsToCheck() with a run that is known = %+v, %v", old, err)
		}
		if err := s.DeleteClaim(t.Context(), c, func() error { return nil }); err != nil {
			t.Error(err)
		}
		if old, err := s.ClaimsToCheck(t.Context(), now.Add(time.Hour), 10); err != nil || len(old) != 0 {
			t.Errorf("ClaimsToCheck() after all = %+v, %v", old, err)
		}
	})
}
