package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

func putRule(t *testing.T, s *store.Store, r store.PriorityRule) (kept store.PriorityRule, n int) {
	t.Helper()
	err := s.Tx(t.Context(), func(tx *sqldb.Tx) (err error) {
		kept, n, err = s.PutPriorityRule(t.Context(), tx, r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return kept, n
}

func TestPriorityRules(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for i, r := range []store.PriorityRule{
			{ID: "all", OrgID: "org_1", Weight: 2},
			{ID: "app", OrgID: "org_1", AppID: "app_1", Highest: 4},
			{ID: "caller", OrgID: "org_1", Caller: "u_1", Highest: 1},
			{ID: "both", OrgID: "org_1", AppID: "app_1", Caller: "u_1", Weight: 0.5},
			{ID: "other", OrgID: "org_1", AppID: "app_2", Caller: "u_1"},
			{ID: "stranger", OrgID: "org_2"},
		} {
			r.CreatedAt, r.UpdatedAt = now.Add(time.Duration(i)*time.Second), now
			putRule(t, s, r)
		}
		for desc, want := range map[[2]string][]string{
			{"app_1", "u_1"}: {"both", "caller", "app", "all"},
			{"app_1", "u_2"}: {"app", "all"},
			{"app_3", "u_1"}: {"caller", "all"},
		} {
			rules, err := s.PriorityRulesFor(t.Context(), "org_1", desc[0], desc[1])
			var got []string
			for _, r := range rules {
				got = append(got, r.ID)
			}
			if diff := cmp.Diff(want, got); diff != "" || err != nil {
				t.Errorf("PriorityRulesFor(%v) = %v (-want +got):\n%s", desc, err, diff)
			}
		}
		kept, n := putRule(t, s, store.PriorityRule{ID: "new", OrgID: "org_1", AppID: "app_1", Caller: "u_1", Weight: 7, UpdatedAt: now.Add(time.Hour)})
		if kept.ID != "both" || kept.Weight != 7 || n != 5 {
			t.Errorf("PutPriorityRule() again = %+v, %d rules", kept, n)
		}
		remove := func(org string) error {
			return s.Tx(t.Context(), func(tx *sqldb.Tx) error { return s.DeletePriorityRule(t.Context(), tx, org, "both") })
		}
		if err := remove("org_2"); !fault.NotFound.Is(err) {
			t.Errorf("DeletePriorityRule() of another organisation's = %v", err)
		}
		if err := remove("org_1"); err != nil {
			t.Error(err)
		}
		if rules, err := s.PriorityRules(t.Context(), "org_1", "app_1"); err != nil || len(rules) != 1 || rules[0].ID != "app" {
			t.Errorf("PriorityRules(app_1) = %+v, %v", rules, err)
		}
		if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		if rules, err := s.PriorityRules(t.Context(), "org_1", ""); err != nil || len(rules) != 3 {
			t.Errorf("rules when an app has gone = %+v, %v", rules, err)
		}
	})
}

func TestQueueLimits(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		if l, set, err := s.QueueLimits(t.Context(), "app_1"); err != nil || set || l != (store.QueueLimits{}) {
			t.Errorf("QueueLimits() before any = %+v, %v, %v", l, set, err)
		}
		for _, want := range []store.QueueLimits{{Rate: 2.5, ShareRate: 0.1, Workflows: 2, Steps: 3, Tools: 4}, {}} {
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) error { return s.SetQueueLimits(t.Context(), tx, "app_1", want, now) })
			if err != nil {
				t.Fatal(err)
			}
			if l, set, err := s.QueueLimits(t.Context(), "app_1"); err != nil || !set || l != want {
				t.Errorf("QueueLimits() = %+v, %v, %v; want %+v", l, set, err, want)
			}
		}
	})
}
