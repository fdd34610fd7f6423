package store_test

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/testing/protocmp"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// parked deploys a version that waits to be promoted.
func parked(t *testing.T, s *store.Store, number int64) {
	t.Helper()
	begin(t, s, version(name(number), number))
	err := s.Tx(t.Context(), func(tx *sqldb.Tx) error {
		_, err := s.Park(t.Context(), tx, "app_1", name(number), "by hand", now)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

var twoSteps = &schedulerv1.RolloutPlan{Steps: []*schedulerv1.RolloutStep{
	{Weight: 50, Wait: durationpb.New(time.Minute)}, {Weight: 500, Wait: durationpb.New(time.Minute)},
}}

func try(t *testing.T, s *store.Store, rolloutID, versionID string) (r store.Rollout, again bool, err error) {
	t.Helper()
	err = s.Tx(t.Context(), func(tx *sqldb.Tx) error {
		r, again, err = s.BeginRollout(t.Context(), tx, store.Rollout{
			ID: rolloutID, TargetID: "app_1", OrgID: "org_1", VersionID: versionID, Plan: twoSteps, StartedBy: "u_1", StartedAt: now,
		}, "a rollout tries it")
		return err
	})
	return r, again, err
}

func beginStep(t *testing.T, s *store.Store, step int, at time.Time) (fresh bool) {
	t.Helper()
	err := s.Tx(t.Context(), func(tx *sqldb.Tx) (err error) {
		fresh, err = s.BeginRolloutStep(t.Context(), tx, "rol_1", step, at, at.Add(time.Minute))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return fresh
}

func tell(t *testing.T, s *store.Store, r store.Report) {
	t.Helper()
	if err := s.Tx(t.Context(), func(tx *sqldb.Tx) error { return s.PutReport(t.Context(), tx, r) }); err != nil {
		t.Fatal(err)
	}
}

func rolloutNow(t *testing.T, s *store.Store) store.Rollout {
	t.Helper()
	r, err := s.Rollout(t.Context(), "rol_1")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestLifeOfARollout(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		deployed(t, s, 2)
		parked(t, s, 3)
		for versionID, want := range map[string]string{"ver_2": "version 2 is live already", "ver_9": "no such version"} {
			if _, _, err := try(t, s, "rol_1", versionID); err == nil || fault.Message(err)[:len(want)] != want {
				t.Errorf("BeginRollout(%s) = %v, want %q", versionID, err, want)
			}
		}
		r, again, err := try(t, s, "rol_1", "ver_3")
		if err != nil || again || r.LiveVersion != "ver_2" || r.LiveNumber != 2 || r.Number != 3 || r.Weight() != 0 {
			t.Fatalf("BeginRollout() = %+v, %v, %v", r, again, err)
		}
		if _, again, err := try(t, s, "rol_1", "ver_3"); err != nil || !again {
			t.Errorf("BeginRollout() again = %v, %v", again, err)
		}
		if _, _, err := try(t, s, "rol_2", "ver_1"); !fault.Conflict.Is(err) {
			t.Errorf("BeginRollout() beside another = %v, want a conflict", err)
		}
		tell(t, s, store.Report{RolloutID: "rol_1", GatewayID: "a", Outcomes: map[string]store.Outcomes{"ver_3": {Calls: 5, Failures: 1, Latencies: []int64{2, 3}}}})
		if !beginStep(t, s, 1, now) || beginStep(t, s, 1, now) {
			t.Error("BeginRolloutStep() did not tell its second time from its first")
		}
		if r := rolloutNow(t, s); r.Weight() != 50 || r.Base["ver_3"].Calls != 5 || !r.Due.Equal(now.Add(time.Minute)) {
			t.Errorf("in the first step it is %+v", r)
		}
		// A pause of an hour is no part of the step.
		if err := s.PauseRollout(t.Context(), r, now.Add(10*time.Second)); err != nil {
			t.Fatal(err)
		}
		if err := s.ResumeRollout(t.Context(), r, now.Add(time.Hour+10*time.Second)); err != nil {
			t.Fatal(err)
		}
		if r := rolloutNow(t, s); r.State != store.RolloutRunning || !r.Due.Equal(now.Add(time.Hour+time.Minute)) {
			t.Errorf("after a pause it is %s and due at %s", r.State, r.Due)
		}
		if ended, err := s.EndRollout(t.Context(), "rol_1", store.RolloutAborted, "u_2", "wrong prices", now); err != nil || !ended {
			t.Fatalf("EndRollout() = %v, %v", ended, err)
		}
		if ended, err := s.EndRollout(t.Context(), "rol_1", store.RolloutAborted, "u_3", "again", now); err != nil || ended {
			t.Errorf("EndRollout() again = %v, %v", ended, err)
		}
		if life := life(t, s, 3); life["ver_3"] != store.Draining || life["ver_2"] != store.Live || warmth(t, s, "ver_3") != 0 {
			t.Errorf("versions after an abort: %v", life)
		}
		if err := s.AskToPromote(t.Context(), r, "u_1"); !fault.Conflict.Is(err) {
			t.Errorf("AskToPromote() of one that has ended = %v", err)
		}
		if r := rolloutNow(t, s); r.EndedBy != "u_2" || r.Reason != "wrong prices" || beginStep(t, s, 2, now) {
			t.Errorf("it ended as %+v", r)
		}
		if r, _, err := try(t, s, "rol_2", "ver_3"); err != nil || !r.Open() || life(t, s, 3)["ver_3"] != store.Ready {
			t.Errorf("BeginRollout() of a version that was tried before = %+v, %v", r, err)
		}
		all, err := s.RolloutsOf(t.Context(), "app_1", "", 10)
		if err != nil || len(all) != 2 || all[0].ID != "rol_2" {
			t.Errorf("RolloutsOf() = %+v, %v", all, err)
		}
		if err := s.DeleteTarget(t.Context(), "app_1"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.LatestRollout(t.Context(), "app_1"); !fault.NotFound.Is(err) {
			t.Errorf("LatestRollout() of a deleted app = %v", err)
		}
	})
}

func TestWhatEndsARollout(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		tests := []struct {
			what  string
			does  func()
			state store.RolloutState
			tried store.State
		}{
			{"the version is promoted", func() { promote(t, s, "ver_2"); switchTo(t, s, "ver_2", now) }, store.RolloutPromoted, store.Live},
			{"another one is promoted", func() { promote(t, s, "ver_1"); switchTo(t, s, "ver_1", now) }, store.RolloutSuperseded, store.Draining},
			{"a newer one goes live", func() { begin(t, s, version("ver_5", 5)); switchTo(t, s, "ver_5", now) }, store.RolloutSuperseded, store.Draining},
			{"a newer one waits", func() { parked(t, s, 7) }, store.RolloutSuperseded, store.Draining},
		}
		deployed(t, s, 1)
		for i, tt := range tests {
			tried := []string{"ver_2", "ver_3", "ver_4", "ver_6"}[i]
			parked(t, s, int64(tried[4]-'0'))
			rolloutID := "rol_" + tried
			if _, _, err := try(t, s, rolloutID, tried); err != nil {
				t.Fatal(err)
			}
			tt.does()
			r, err := s.Rollout(t.Context(), rolloutID)
			if err != nil || r.State != tt.state || r.Reason == "" || life(t, s, 7)[tried] != tt.tried {
				t.Errorf("%s: rollout is %s (%s), %v, version %s; want %s, %s", tt.what, r.State, r.Reason, err, life(t, s, 7)[tried], tt.state, tt.tried)
			}
		}
	})
}

func TestReports(t *testing.T) {
	each(t, func(t *testing.T, s *store.Store) {
		deployed(t, s, 1)
		parked(t, s, 2)
		if _, _, err := try(t, s, "rol_1", "ver_2"); err != nil {
			t.Fatal(err)
		}
		report := func(gateway string, calls int64, users map[uint64]int) {
			t.Helper()
			tell(t, s, store.Report{RolloutID: "rol_1", GatewayID: gateway, Users: users, Outcomes: map[string]store.Outcomes{
				"ver_1": {Calls: 10 * calls}, "ver_2": {Calls: calls, Failures: 1, Latencies: []int64{calls - 1, 1}},
			}})
		}
		const large = 1<<63 + 5
		for range 2 { // twice is once
			report("a", 7, map[uint64]int{1: store.SawLive, 2: store.SawCanary, large: store.SawCanary})
		}
		report("a", 3, nil) // one that was overtaken
		report("b", 4, map[uint64]int{1: store.SawCanary, large: store.SawCanary | store.SawError})
		sums, err := s.RolloutOutcomes(t.Context(), "rol_1")
		want := map[string]store.Outcomes{"ver_1": {Calls: 110, Latencies: []int64{}}, "ver_2": {Calls: 11, Failures: 2, Latencies: []int64{9, 2}}}
		if diff := cmp.Diff(want, sums); err != nil || diff != "" {
			t.Errorf("RolloutOutcomes() = %v (-want +got):\n%s", err, diff)
		}
		users, err := s.RolloutUsers(t.Context(), "rol_1")
		if want := (store.RolloutUsers{All: 3, Canary: 3, Failed: 1}); err != nil || users != want {
			t.Errorf("RolloutUsers() = %+v, %v; want %+v", users, err, want)
		}
		if since := sums["ver_2"].Since(store.Outcomes{Calls: 4, Failures: 1, Latencies: []int64{4}}); !cmp.Equal(since, store.Outcomes{Calls: 7, Failures: 1, Latencies: []int64{5, 2}}) {
			t.Errorf("Since() = %+v", since)
		}
		result := &schedulerv1.RolloutResult{Users: 3, FailedUsers: 1}
		settle := func() (settled bool) {
			err := s.Tx(t.Context(), func(tx *sqldb.Tx) (err error) {
				settled, err = s.SettleRollout(t.Context(), tx, "rol_1", result)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			return settled
		}
		if settle() {
			t.Error("a rollout that is open was settled")
		}
		if _, err := s.EndRollout(t.Context(), "rol_1", store.RolloutAborted, "", "", now); err != nil {
			t.Fatal(err)
		}
		if open, err := s.UnsettledRollouts(t.Context()); err != nil || len(open) != 1 {
			t.Errorf("UnsettledRollouts() = %v, %v", open, err)
		}
		if !settle() || settle() {
			t.Error("SettleRollout() did not tell its second time from its first")
		}
		users, err = s.RolloutUsers(t.Context(), "rol_1")
		if diff := cmp.Diff(result, rolloutNow(t, s).Result, protocmp.Transform()); err != nil || users.All != 0 || diff != "" {
			t.Errorf("after it is settled: %+v, %v (-want +got):\n%s", users, err, diff)
		}
	})
}
