package store_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

var now = time.UnixMilli(1_800_000_000_000).UTC()

func version(id string, number int64) store.Version {
	return store.Version{
		ID: id, TargetID: "app_1", AppID: "app_1", OrgID: "org_1", AppName: "demo", Number: number,
		BundleID: "bdl_1", Params: map[string]string{"a.b": "h"},
	}
}

// each runs a test on both dialects.
func each(t *testing.T, body func(*testing.T, *store.Store)) {
	t.Helper()
	t.Parallel()
	dbtest.Run(t, store.Migrations(), func(t *testing.T, db *sqldb.DB) { body(t, store.New(db)) })
}

func begin(t *testing.T, s *store.Store, v store.Version) {
	t.Helper()
	if _, err := s.BeginDeploy(t.Context(), v, "", now); err != nil {
		t.Fatalf("BeginDeploy(%s) = %v", v.ID, err)
	}
}

func switchTo(t *testing.T, s *store.Store, versionID string, at time.Time) (again bool) {
	t.Helper()
	err := s.Tx(t.Context(), func(tx *sqldb.Tx) (err error) {
		again, err = s.Switch(t.Context(), tx, "app_1", versionID, at)
		return err
	})
	if err != nil {
		t.Fatalf("Switch(%s) = %v", versionID, err)
	}
	return again
}

func TestLifeOfVersions(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 1))
		begin(t, s, version("ver_1", 1)) // joining is harmless
		if pending, err := s.BeginDeploy(t.Context(), version("ver_2", 2), "", now); !fault.Conflict.Is(err) || pending != "ver_1" {
			t.Errorf("BeginDeploy() of another = %q, %v; want ver_1 and a conflict", pending, err)
		}
		if switchTo(t, s, "ver_1", now) || !switchTo(t, s, "ver_1", now) {
			t.Error("Switch() did not tell its second time from its first")
		}
		begin(t, s, version("ver_2", 2))
		switchTo(t, s, "ver_2", now.Add(time.Second))
		if old, err := s.NewestDraining(t.Context(), "app_1"); err != nil || old != "ver_1" {
			t.Errorf("NewestDraining() = %q, %v; want ver_1", old, err)
		}
		if err := s.Retire(t.Context(), "ver_1", now); err != nil {
			t.Fatal(err)
		}
		target, err := s.Target(t.Context(), "app_1")
		want := store.Target{ID: "app_1", AppID: "app_1", OrgID: "org_1", AppName: "demo", Live: "ver_2"}
		if err != nil || target != want {
			t.Errorf("Target() = %+v, %v; want %+v", target, err, want)
		}
		states := map[string]store.State{}
		for _, id := range []string{"ver_1", "ver_2"} {
			v, err := s.Version(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			states[id] = v.State
		}
		if diff := cmp.Diff(map[string]store.State{"ver_1": store.Gone, "ver_2": store.Live}, states); diff != "" {
			t.Errorf("states (-want +got):\n%s", diff)
		}
	})
}

func TestNeeded(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		for i, state := range []string{"gone", "gone", "failed", "gone", "draining", "live", "pending"} {
			number := int64(i + 1)
			v := version(fmt.Sprintf("ver_%d", number), number)
			v.BundleID = fmt.Sprintf("bdl_%d", number)
			begin(t, s, v)
			if err := s.SetArtifact(t.Context(), v.ID, &builderv1.Artifact{ArtifactId: fmt.Sprintf("art_%d", number)}, nil); err != nil {
				t.Fatal(err)
			}
			reach(t, s, v.ID, state)
		}
		for _, gone := range []string{"ver_1", "ver_2", "ver_4"} {
			if err := s.Retire(t.Context(), gone, now); err != nil {
				t.Fatal(err)
			}
		}
		bundles, artifacts, err := s.Needed(t.Context(), 4)
		slices.Sort(bundles)
		slices.Sort(artifacts)
		// The fourth newest that may be returned to is ver_4; ver_3 never served.
		want := []string{"bdl_4", "bdl_5", "bdl_6", "bdl_7"}
		if diff := cmp.Diff(want, bundles); err != nil || diff != "" {
			t.Errorf("Needed() = %v, %v (-want +got):\n%s", bundles, err, diff)
		}
		if diff := cmp.Diff([]string{"art_4", "art_5", "art_6", "art_7"}, artifacts); diff != "" {
			t.Errorf("artifacts (-want +got):\n%s", diff)
		}
	})
}

// reach takes a pending version through its life up to a state.
func reach(t *testing.T, s *store.Store, versionID, state string) {
	t.Helper()
	switch state {
	case "failed":
		err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := s.Fail(t.Context(), tx, "app_1", versionID, "broken", now)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	case "gone", "draining", "live": // what was live before drains
		switchTo(t, s, versionID, now)
	}
}

func TestAFailedVersionMakesRoom(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 1))
		for attempt, want := range []bool{true, false} {
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
				failed, err := s.Fail(t.Context(), tx, "app_1", "ver_1", "no main.py", now)
				if failed != want {
					t.Errorf("Fail() #%d = %v, want %v", attempt, failed, want)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		begin(t, s, version("ver_2", 2))
		v, err := s.Version(t.Context(), "ver_1")
		if err != nil || v.State != store.Failed || v.Error != "no main.py" || v.Params["a.b"] != "h" {
			t.Errorf("Version() = %+v, %v", v, err)
		}
	})
}

func TestAnAbandonedStartCanBeReplaced(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 1))
		if _, err := s.BeginDeploy(t.Context(), version("ver_2", 2), "ver_1", now); err != nil {
			t.Errorf("BeginDeploy() that replaces = %v", err)
		}
		err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := s.Switch(t.Context(), tx, "app_1", "ver_1", now)
			return err
		})
		if !fault.Conflict.Is(err) {
			t.Errorf("Switch() to the replaced version = %v, want a conflict", err)
		}
	})
}

func TestSettingsAreNotStored(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 1))
		a := &builderv1.Artifact{ArtifactId: "art_1", Manifest: &builderv1.Manifest{
			SettingsJson: `{"openai":{"api_key":"canary"}}`, SecretsJson: `{"x":"canary"}`, SecretHandles: []string{"h"}, UserParams: []string{"p.q"},
		}}
		if err := s.SetArtifact(t.Context(), "ver_1", a, []agentenv.Retry{{Pattern: "*", MaxAttempts: 5}}); err != nil {
			t.Fatal(err)
		}
		v, err := s.Version(t.Context(), "ver_1")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(v.Artifact.String(), "canary") || a.GetManifest().GetSettingsJson() == "" {
			t.Errorf("stored artifact = %v, want it without settings and the caller's untouched", v.Artifact)
		}
		if diff := cmp.Diff([]string{"p.q"}, v.UserParams); diff != "" {
			t.Errorf("user params (-want +got):\n%s", diff)
		}
	})
}

func TestRunsAndQuestions(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		parent := store.Run{RunID: "r1", WorkflowID: "w1", TargetID: "app_1", OrgID: "org_1", Type: "W", SessionID: "ses", UserID: "u_1", StartedAt: now}
		child := store.Run{RunID: "r2", WorkflowID: "w2", TargetID: "app_1", OrgID: "org_1", Type: "C", ParentRunID: "r1", StartedAt: now}
		err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			for _, run := range []store.Run{parent, child} {
				if inserted, err := s.InsertRun(t.Context(), tx, run); err != nil || !inserted {
					t.Errorf("InsertRun(%s) = %v, %v", run.RunID, inserted, err)
				}
			}
			again, err := s.InsertRun(t.Context(), tx, parent)
			if again {
				t.Error("InsertRun() twice inserted twice")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if run, err := s.Run(t.Context(), "r2"); err != nil || run.SessionID != "ses" || run.UserID != "u_1" {
			t.Errorf("child = %+v, %v; want the session and user of its parent", run, err)
		}
		askAndAnswer(t, s)
		closeParent(t, s)
	})
}

func askAndAnswer(t *testing.T, s *store.Store) {
	t.Helper()
	q := store.Question{ID: "qst_1", TargetID: "app_1", OrgID: "org_1", WorkflowID: "w1", RunID: "r1", Method: "elicitation/create", SignalName: "s1", AskedAt: now}
	err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
		for _, id := range []string{"qst_1", "qst_other"} {
			q.ID = id
			kept, inserted, err := s.InsertQuestion(t.Context(), tx, q)
			if err != nil || kept.ID != "qst_1" || inserted != (id == "qst_1") {
				t.Errorf("InsertQuestion(%s) = %s, %v, %v", id, kept.ID, inserted, err)
			}
		}
		first, err := s.Answer(t.Context(), tx, "qst_1", `{"a":1}`, "u_1", time.UnixMilli(5))
		second, err2 := s.Answer(t.Context(), tx, "qst_1", `{"a":2}`, "u_2", time.UnixMilli(6))
		if !first || second || err2 != nil {
			t.Errorf("Answer() = %v then %v, want only the first", first, second)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	due, err := s.DueAnswers(t.Context(), now, 10)
	if err != nil || len(due) != 1 || due[0].AnswerJSON != `{"a":1}` {
		t.Errorf("DueAnswers() = %+v, %v", due, err)
	}
}

func TestDeadlinesOfQuestions(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ask := func(id string, deadline time.Time) {
			t.Helper()
			q := store.Question{ID: id, TargetID: "app_1", OrgID: "org_1", RunID: "r1", Method: "elicitation/create", SignalName: id, AskedAt: now, Deadline: deadline}
			inTx(t, s, func(tx *sqldb.Tx) error {
				_, _, err := s.InsertQuestion(t.Context(), tx, q)
				return err
			})
		}
		soon, later := now.Add(time.Minute), now.Add(time.Hour)
		ask("qst_1", soon)
		ask("qst_2", later)
		ask("qst_3", time.Time{})
		due, err := s.Overdue(t.Context(), soon, 10)
		if err != nil || len(due) != 1 || due[0].ID != "qst_1" || !due[0].Deadline.Equal(soon) {
			t.Fatalf("Overdue() = %+v, %v; want qst_1", due, err)
		}
		answer := func(id, by string, at time.Time) (accepted bool) {
			t.Helper()
			inTx(t, s, func(tx *sqldb.Tx) (err error) {
				accepted, err = s.Answer(t.Context(), tx, id, "1", by, at)
				return err
			})
			return accepted
		}
		if answer("qst_1", "u_1", soon) || answer("qst_2", store.System, soon) {
			t.Error("a person answered after the deadline, or the system before it")
		}
		if !answer("qst_1", store.System, soon) || !answer("qst_2", "u_1", soon) {
			t.Error("a person did not answer before the deadline, or the system not at it")
		}
		inTx(t, s, func(tx *sqldb.Tx) error {
			open, err := s.WithdrawQuestions(t.Context(), tx, "r1", later)
			if len(open) != 1 || open[0].ID != "qst_3" {
				t.Errorf("WithdrawQuestions() = %+v, want qst_3", open)
			}
			return err
		})
		states(t, s)
		if at, err := s.QuestionsChanged(t.Context(), "r1"); err != nil || !at.Equal(later) {
			t.Errorf("QuestionsChanged() = %s, %v; want %s", at, err, later)
		}
		if q, err := s.QuestionBySignal(t.Context(), "r1", "qst_2"); err != nil || q.ID != "qst_2" {
			t.Errorf("QuestionBySignal() = %s, %v; want qst_2", q.ID, err)
		}
		if _, err := s.QuestionBySignal(t.Context(), "r1", ""); !fault.NotFound.Is(err) {
			t.Errorf("QuestionBySignal() without a name = %v, want not found", err)
		}
	})
}

// states compares the lists of each state with what each question says of itself.
func states(t *testing.T, s *store.Store) {
	t.Helper()
	all, err := s.Questions(t.Context(), store.QuestionFilter{OrgID: "org_1", State: store.AnyState, Limit: 10})
	if err != nil || len(all) != 3 {
		t.Fatalf("Questions() = %d, %v; want 3", len(all), err)
	}
	for n, want := range []store.QuestionState{store.StateExpired, store.StateAnswered, store.StateWithdrawn} {
		one, err := s.Questions(t.Context(), store.QuestionFilter{TargetID: "app_1", State: want, Limit: 10})
		if err != nil || len(one) != 1 || one[0].ID != all[n].ID || all[n].Shown() != want {
			t.Errorf("Questions(%s) = %+v, %v; want %s", want, one, err, all[n].ID)
		}
	}
	after := store.QuestionFilter{OrgID: "org_1", State: store.AnyState, AfterTime: all[0].AskedAt, AfterID: all[0].ID, Limit: 1}
	if next, err := s.Questions(t.Context(), after); err != nil || len(next) != 1 || next[0].ID != all[1].ID {
		t.Errorf("Questions() after the first = %+v, %v; want the second", next, err)
	}
}

func inTx(t *testing.T, s *store.Store, work func(*sqldb.Tx) error) {
	t.Helper()
	if err := s.Tx(t.Context(), work); err != nil {
		t.Fatal(err)
	}
}

func closeParent(t *testing.T, s *store.Store) {
	t.Helper()
	due, err := s.RunsToCheck(t.Context(), now.Add(time.Second), now.Add(time.Minute), 10)
	if err != nil || len(due) != 2 {
		t.Errorf("RunsToCheck() = %d runs, %v; want 2", len(due), err)
	}
	if due, err = s.RunsToCheck(t.Context(), now.Add(time.Second), now, 10); err != nil || len(due) != 0 {
		t.Errorf("RunsToCheck() again = %d runs, %v; want none", len(due), err)
	}
	for _, want := range []bool{true, false} {
		err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			closed, err := s.CloseRun(t.Context(), tx, "r1", "completed", now)
			if closed != want {
				t.Errorf("CloseRun() = %v, want %v", closed, want)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := s.PruneRuns(t.Context(), now.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Run(t.Context(), "r1"); !fault.NotFound.Is(err) {
		t.Errorf("Run() after its retention = %v, want not found", err)
	}
}

func TestInstancesAreKnownByHashUntilForgotten(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		first := store.Instance{ID: "ins_1", TargetID: "app_1", AppID: "app_1", OrgID: "org_1", VersionID: "ver_1", EdgeHash: "e1", CallbackHash: "c1"}
		second := first
		second.ID, second.EdgeHash, second.CallbackHash = "ins_2", "e2", "c2"
		for _, i := range []store.Instance{first, second} {
			if err := s.ReplaceInstance(t.Context(), i, now); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := s.InstanceByEdge(t.Context(), "e2"); err != nil || got != second {
			t.Errorf("InstanceByEdge() = %+v, %v", got, err)
		}
		for _, hash := range []string{"e1", "c2"} {
			if _, err := s.InstanceByEdge(t.Context(), hash); !fault.NotFound.Is(err) {
				t.Errorf("InstanceByEdge(%s) = %v, want not found", hash, err)
			}
		}
		if err := s.ForgetInstances(t.Context(), "app_1", "ver_1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.InstanceByCallback(t.Context(), "c2"); !fault.NotFound.Is(err) {
			t.Errorf("InstanceByCallback() of a forgotten one = %v, want not found", err)
		}
	})
}

func TestARecentTargetKnowsWhatCounts(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		ctx := principal.With(t.Context(), principal.Principal{Kind: principal.Service})
		sees := func(live string, found bool) {
			t.Helper()
			for range 2 { // read, and remembered
				got, err := s.RecentTarget(ctx, "app_1")
				if (err == nil) != found || err != nil && !fault.NotFound.Is(err) || got.Live != live {
					t.Errorf("RecentTarget() = %+v, %v; want version %q live, found %v", got, err, live, found)
				}
			}
		}
		sees("", false)
		begin(t, s, version("ver_1", 1))
		sees("", true)
		switchTo(t, s, "ver_1", now)
		sees("ver_1", true)
		begin(t, s, version("ver_2", 2))
		boom := errors.New("boom")
		err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := s.Switch(t.Context(), tx, "app_1", "ver_2", now)
			return errors.Join(err, boom)
		})
		if !errors.Is(err, boom) {
			t.Fatal(err)
		}
		sees("ver_1", true)
		switchTo(t, s, "ver_2", now.Add(time.Second))
		sees("ver_2", true)
		if _, err := s.MarkRemoving(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.RecentTarget(ctx, "app_1"); !fault.NotFound.Is(err) {
			t.Errorf("RecentTarget() of one that is being removed = %v, want not found", err)
		}
		if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		sees("", false)
	})
}

func TestStrangersSeeNothing(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		begin(t, s, version("ver_1", 1))
		for org, want := range map[string]bool{"org_1": true, "org_2": false} {
			if has, err := s.HasTargets(t.Context(), org); err != nil || has != want {
				t.Errorf("HasTargets(%s) = %t, %v; want %t", org, has, err, want)
			}
		}
		for desc, tt := range map[string]struct {
			who  principal.Principal
			want bool
		}{
			"own organisation":            {principal.Principal{Kind: principal.User, OrgID: "org_1"}, true},
			"anonymous caller of the app": {principal.Principal{Kind: principal.Anonymous, OrgID: "org_1"}, true},
			"a room":                      {principal.Principal{Kind: principal.Service}, true},
			"a room for another":          {principal.Principal{Kind: principal.Service, OrgID: "org_2"}, false},
			"another organisation":        {principal.Principal{Kind: principal.User, OrgID: "org_2"}, false},
			"nobody":                      {principal.Principal{}, false},
		} {
			_, err := s.VisibleTarget(principal.With(t.Context(), tt.who), "app_1")
			if tt.want && err != nil || !tt.want && !fault.NotFound.Is(err) {
				t.Errorf("%s: VisibleTarget() = %v, want visible %v", desc, err, tt.want)
			}
			if _, recent := s.RecentTarget(principal.With(t.Context(), tt.who), "app_1"); (recent == nil) != tt.want {
				t.Errorf("%s: RecentTarget() = %v, want visible %v", desc, recent, tt.want)
			}
		}
		if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Version(t.Context(), "ver_1"); !fault.NotFound.Is(err) {
			t.Errorf("Version() of a deleted target = %v, want not found", err)
		}
	})
}
