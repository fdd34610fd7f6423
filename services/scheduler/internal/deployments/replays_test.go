package deployments

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// still is a runtime in which nothing happens any more.
type still struct {
	Runtime
	look Look
}

func (s still) Look(string, string) (Look, bool) { return s.look, true }

// twoVersions is an app with a live version that has the given classes, and a pending one.
func twoVersions(t *testing.T, classes ...string) (*store.Store, flow.Version) {
	t.Helper()
	s := store.New(dbtest.SQLite(t, store.Migrations()))
	in := flow.Version{TargetID: id.App.New(), OrgID: temporaltest.Org(), VersionID: id.Version.New()}
	live := store.Version{ID: id.Version.New(), TargetID: in.TargetID, AppID: in.TargetID, OrgID: in.OrgID, Number: 1}
	pending := live
	pending.ID, pending.Number = in.VersionID, 2
	_, err := s.BeginDeploy(t.Context(), live, "", time.Now())
	if err == nil {
		err = s.SetCapture(t.Context(), live.ID, store.Capture{Workflows: classes})
	}
	if err == nil {
		err = s.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := s.Switch(t.Context(), tx, in.TargetID, live.ID, time.Now())
			return err
		})
	}
	if err == nil {
		_, err = s.BeginDeploy(t.Context(), pending, "", time.Now())
	}
	if err == nil {
		err = s.SetArtifact(t.Context(), pending.ID, &builderv1.Artifact{}, nil)
	}
	if err != nil {
		t.Fatal(err)
	}
	return s, in
}

func TestAwaitReplays(t *testing.T) {
	t.Parallel()
	ok := agentenv.Replay{RunID: "r1", Verdict: agentenv.VerdictOK}
	broken := agentenv.Replay{RunID: "r2", WorkflowID: "Story-1", Verdict: agentenv.VerdictDifferent, EventID: 5, Expected: "timer", Got: "activity a", Detail: "long"}
	failed := agentenv.Replay{RunID: "r3", Verdict: agentenv.VerdictFailed, Message: "no"}
	tests := map[string]struct {
		policy  string // of the cloud
		project string // of the project; empty: none
		replays []agentenv.Replay
		missing int
		refused string
	}{
		"all well":                      {policy: ReplayRefuse, replays: []agentenv.Replay{ok}},
		"a break is told":               {policy: ReplayWarn, replays: []agentenv.Replay{ok, broken}},
		"a break is no matter":          {policy: ReplayPin, replays: []agentenv.Replay{broken}},
		"a break is refused":            {policy: ReplayRefuse, replays: []agentenv.Replay{ok, broken}, refused: `Story-1 (r2): event 5 of the history is "timer", the code asks for "activity a"`},
		"the project refuses":           {policy: ReplayWarn, project: ReplayRefuse, replays: []agentenv.Replay{broken}, refused: `Story-1 (r2): event 5 of the history is "timer", the code asks for "activity a"`},
		"the project lets go":           {policy: ReplayRefuse, project: ReplayWarn, replays: []agentenv.Replay{broken}},
		"what cannot be told is let go": {policy: ReplayRefuse, replays: []agentenv.Replay{failed}, missing: 2},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			s, in := twoVersions(t, "Story")
			if tt.project != "" {
				manifest := &builderv1.Manifest{ProjectJson: `{"deploy":{"replay":"` + tt.project + `"}}`}
				if err := s.SetArtifact(t.Context(), in.VersionID, &builderv1.Artifact{Manifest: manifest}, nil); err != nil {
					t.Fatal(err)
				}
			}
			ready := Process{State: schedulerv1.AgentState_AGENT_STATE_READY}
			busy := ready
			busy.Replays, busy.Replaying = slices.Clone(tt.replays), tt.missing
			at := time.UnixMilli(1_800_000_000_000).UTC()
			steps := &steps{health: time.Minute, launcher: &launcher{
				store: s, runtime: still{look: Look{Server: ready, Worker: busy}}, log: slog.New(slog.DiscardHandler), now: func() time.Time { return at },
				options: Options{Replays: ReplayOptions{Policy: tt.policy, Runs: 10, Within: 50 * time.Millisecond}},
			}}
			var suite testsuite.WorkflowTestSuite
			env := suite.NewTestActivityEnvironment()
			env.RegisterActivityWithOptions(steps.AwaitReplays, activity.RegisterOptions{Name: "AwaitReplays"})
			value, err := env.ExecuteActivity(steps.AwaitReplays, in)
			var failure *flow.Failure
			if err == nil && value.HasValue() {
				err = value.Get(&failure)
			}
			if err != nil || (failure != nil) != (tt.refused != "") || failure != nil && failure.Detail != tt.refused {
				t.Errorf("AwaitReplays() = %v, %v; want refused: %q", failure, err, tt.refused)
			}
			want := store.Replays{At: at, Policy: cmp.Or(tt.project, tt.policy), Runs: brief(slices.Clone(tt.replays)), Unanswered: tt.missing}
			got, err := s.Replays(t.Context(), in.VersionID)
			if diff := gocmp.Diff(want, got); err != nil || diff != "" {
				t.Errorf("recorded: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

// TestPastRuns has closed and open runs of two classes, and of another app.
func TestPastRuns(t *testing.T) {
	t.Parallel()
	s, in := twoVersions(t, "Often", "Rare")
	directory := temporaltest.Directory(t)
	c, err := directory.Client(t.Context(), in.OrgID)
	if err != nil {
		t.Fatal(err)
	}
	w := worker.New(c, in.TargetID, worker.Options{})
	for _, name := range []string{"Often", "Rare", "Other"} {
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context, wait bool) error {
			if wait {
				workflow.GetSignalChannel(ctx, "never").Receive(ctx, nil)
			}
			return nil
		}, workflow.RegisterOptions{Name: name})
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
	run := func(name, target string, wait bool) {
		started, err := c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
			ID: name + "-" + uuid.NewString(), TaskQueue: in.TargetID,
			TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(flow.TargetAttribute).ValueSet(target)),
		}, name, wait)
		if err == nil && !wait {
			err = started.Get(t.Context(), nil)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	for range 5 {
		run("Often", in.TargetID, false)
	}
	run("Rare", in.TargetID, false)
	run("Rare", in.TargetID, true)
	run("Other", in.TargetID, false)
	run("Often", id.App.New(), false)
	v, err := s.Version(t.Context(), in.VersionID)
	if err != nil {
		t.Fatal(err)
	}
	l := &launcher{store: s, clients: directory, passage: payloads.NewPassage(), log: slog.New(slog.DiscardHandler)}
	find := func(policy string, runs int) string {
		l.options.Replays = ReplayOptions{Policy: policy, Runs: runs}
		var names []string
		for _, h := range l.pastRuns(t.Context(), v) {
			var history historypb.History
			if err := proto.Unmarshal(h.Events, &history); err != nil || len(history.GetEvents()) != 5 {
				t.Errorf("history of %s: %d events, %v", h.RunID, len(history.GetEvents()), err)
			}
			names = append(names, h.Type)
		}
		slices.Sort(names)
		return strings.Join(names, " ")
	}
	eventually(t, func() bool { return find(ReplayWarn, 100) == "Often Often Often Often Often Rare" }, func() any { return find(ReplayWarn, 100) })
	for _, tt := range []struct {
		policy, want string
		runs         int
	}{{ReplayRefuse, "Often Often Rare", 4}, {ReplayPin, "Often", 1}, {ReplayOff, "", 100}} {
		if got := find(tt.policy, tt.runs); got != tt.want && (tt.runs != 1 || got != "Rare") {
			t.Errorf("pastRuns() with %s and %d = %q, want %q", tt.policy, tt.runs, got, tt.want)
		}
	}
	v.State = store.Live
	if got := find(ReplayWarn, 100); got != "" {
		t.Errorf("pastRuns() of a live version = %q, want none", got)
	}
}

func eventually(t *testing.T, condition func() bool, last func() any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain; last: %v", last())
		case <-time.After(50 * time.Millisecond):
		}
	}
}
