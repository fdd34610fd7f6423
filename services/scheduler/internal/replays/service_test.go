package replays_test

import (
	"context"
	"errors"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/dbtest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/replays"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

// fixture is an app with two versions, each with a worker (in Go), and the service on a
// real socket before a real Temporal.
type fixture struct {
	client   schedulerv1.ReplaysServiceClient
	temporal client.Client
	store    *store.Store
	org, app string
	versions [2]string
	ctx      context.Context // as a user of the organisation

	mu      sync.Mutex
	did     []string // what the activities did: version and name
	held    []string // versions that were held, by role
	verdict agentenv.Replay
	replays int // histories that were replayed
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	directory := temporaltest.Directory(t)
	f := &fixture{
		store: store.New(dbtest.SQLite(t, store.Migrations())), org: temporaltest.Org(), app: id.App.New(),
		versions: [2]string{id.Version.New(), id.Version.New()}, verdict: agentenv.Replay{Verdict: agentenv.VerdictOK},
	}
	f.ctx = principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: f.org, UserID: "u_1"})
	for i := range f.versions {
		f.deploy(t, i)
	}
	var err error
	if f.temporal, err = directory.Client(t.Context(), f.org); err != nil {
		t.Fatal(err)
	}
	for i := range f.versions {
		f.work(t, i)
	}
	f.makeCurrent(t, 0)
	record := runs.NewRecorder(f.store)
	tools := runs.NewToolWorkers(directory, runs.BeginScheduled{Store: f.store, Record: record, Now: time.Now}, 16, nil, slog.New(slog.DiscardHandler))
	found := runs.NewService(runs.Deps{Store: f.store, Namespaces: directory, Record: record, Tools: tools, Payloads: payloads.NewPassage(), Now: time.Now, NewUUID: uuid.NewString})
	service := replays.NewService(replays.Deps{
		Store: f.store, Runs: found, Versions: f, Namespaces: directory, Record: record, Tools: tools, Payloads: payloads.NewPassage(),
		Log: slog.New(slog.DiscardHandler), Now: time.Now, NewUUID: uuid.NewString,
	})
	f.client = schedulerv1.NewReplaysServiceClient(grpctest.Serve(t, func(r grpc.ServiceRegistrar) {
		schedulerv1.RegisterReplaysServiceServer(r, service)
	}))
	return f
}

func (f *fixture) deploy(t *testing.T, i int) {
	t.Helper()
	v := store.Version{ID: f.versions[i], TargetID: f.app, AppID: f.app, OrgID: f.org, Number: int64(i + 1)}
	_, err := f.store.BeginDeploy(t.Context(), v, "", time.Now())
	if err == nil {
		err = f.store.Tx(t.Context(), func(tx *sqldb.Tx) error {
			_, err := f.store.Switch(t.Context(), tx, f.app, v.ID, time.Now())
			return err
		})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Replay stands for the process that runs a version's code.
func (f *fixture) Replay(_ context.Context, _ store.Version, histories []agentenv.History) ([]agentenv.Replay, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.replays += len(histories)
	answer := f.verdict
	answer.RunID, answer.WorkflowID = histories[0].RunID, histories[0].WorkflowID
	return []agentenv.Replay{answer}, nil
}

func (f *fixture) answers(r agentenv.Replay) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.verdict = r
}

func (f *fixture) Hold(ctx context.Context, v store.Version, role agentenv.Role, use func(context.Context) error) error {
	f.mu.Lock()
	f.held = append(f.held, v.ID+" "+string(role))
	f.mu.Unlock()
	return use(ctx)
}

// work polls as the Python worker of a version would.
func (f *fixture) work(t *testing.T, i int) {
	t.Helper()
	w := worker.New(f.temporal, agentenv.TaskQueue(f.app), worker.Options{DeploymentOptions: worker.DeploymentOptions{
		UseVersioning: true, Version: worker.WorkerDeploymentVersion{DeploymentName: f.app, BuildID: f.versions[i]},
		DefaultVersioningBehavior: workflow.VersioningBehaviorPinned,
	}})
	w.RegisterWorkflowWithOptions(chain, workflow.RegisterOptions{Name: "Chain"})
	w.RegisterActivityWithOptions(func(ctx context.Context, text string) (string, error) {
		name := activity.GetInfo(ctx).ActivityType.Name
		f.mu.Lock()
		defer f.mu.Unlock()
		f.did = append(f.did, string(rune('1'+i))+name)
		return text + name, nil
	}, activity.RegisterOptions{Name: "a"})
	for _, name := range []string{"b", "c"} {
		w.RegisterActivityWithOptions(func(_ context.Context, text string) (string, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.did = append(f.did, string(rune('1'+i))+name)
			return text + name, nil
		}, activity.RegisterOptions{Name: name})
	}
	if err := w.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Stop)
}

// chain does a, b, waits for a signal when it is told to, and does c.
func chain(ctx workflow.Context, waits bool) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
	text := ""
	for _, name := range []string{"a", "b", "c"} {
		if name == "c" && waits {
			workflow.GetSignalChannel(ctx, "resume").Receive(ctx, nil)
		}
		if err := workflow.ExecuteActivity(ctx, name, text).Get(ctx, &text); err != nil {
			return "", err
		}
	}
	return text, nil
}

func (f *fixture) makeCurrent(t *testing.T, i int) {
	t.Helper()
	handle := f.temporal.WorkerDeploymentClient().GetHandle(f.app)
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		_, err := handle.SetCurrentVersion(t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{BuildID: f.versions[i], IgnoreMissingTaskQueues: true})
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

// start starts a run of version 1, and records it as the service of runs does.
func (f *fixture) start(t *testing.T, waits bool) client.WorkflowRun {
	t.Helper()
	run, err := f.temporal.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{
		ID: "Chain-" + uuid.NewString(), TaskQueue: agentenv.TaskQueue(f.app),
		TypedSearchAttributes: temporal.NewSearchAttributes(temporal.NewSearchAttributeKeyKeyword(flow.TargetAttribute).ValueSet(f.app)),
		Memo:                  map[string]any{flow.MemoStartedBy: "u_0"},
	}, "Chain", waits)
	if err != nil {
		t.Fatal(err)
	}
	err = runs.NewRecorder(f.store).Started(t.Context(), store.Run{
		RunID: run.GetRunID(), WorkflowID: run.GetID(), TargetID: f.app, OrgID: f.org, VersionID: f.versions[0], Type: "Chain", UserID: "u_0", StartedAt: time.Now(),
	})
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// result is that of one run, whichever others have its workflow id.
func (f *fixture) result(t *testing.T, workflowID, runID string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var text string
	if err := f.temporal.GetWorkflow(ctx, workflowID, runID).GetWithOptions(ctx, &text, client.WorkflowRunGetOptions{DisableFollowingRuns: true}); err != nil {
		t.Fatalf("run %s: %v", runID, err)
	}
	return text
}

// events is how many events a run has: a busy machine tries some steps again.
func (f *fixture) events(t *testing.T, run client.WorkflowRun) string {
	t.Helper()
	d, err := f.temporal.DescribeWorkflowExecution(t.Context(), run.GetID(), run.GetRunID())
	if err != nil {
		t.Fatal(err)
	}
	return strconv.FormatInt(d.GetWorkflowExecutionInfo().GetHistoryLength(), 10)
}

// since returns what the activities did since it was last called.
func (f *fixture) since() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	did := strings.Join(f.did, " ")
	f.did = nil
	return did
}

func TestForkRepeatsNothing(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	original := f.start(t, false)
	if got := f.result(t, original.GetID(), original.GetRunID()); got != "abc" || f.since() != "1a 1b 1c" {
		t.Fatalf("the original = %q", got)
	}
	tests := []struct {
		from, version string
		did           string
		reused        int64
	}{
		{from: "last", reused: 3},
		{from: "", reused: 3},
		{from: "b", did: "1c", reused: 2},
		{from: "a#1", did: "1b 1c", reused: 1},
		{from: "start", did: "1a 1b 1c"},
		{from: "a", version: "2", did: "2b 2c", reused: 1},
		{from: "start", version: f.versions[1], did: "2a 2b 2c"},
	}
	for _, tt := range tests {
		fork, err := f.client.ForkRun(f.ctx, &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), From: tt.from, Version: tt.version})
		if err != nil {
			t.Fatalf("ForkRun(%s, version %s) = %v", tt.from, tt.version, err)
		}
		got := f.result(t, fork.GetWorkflowId(), fork.GetRunId())
		if did := f.since(); got != "abc" || did != tt.did || fork.GetReusedSteps() != tt.reused {
			t.Errorf("ForkRun(%s, version %s) = %v; its result is %q, and it did %q; want %q and %d reused", tt.from, tt.version, fork, got, did, tt.did, tt.reused)
		}
		kept, err := f.store.Run(t.Context(), fork.GetRunId())
		if err != nil || kept.UserID != "u_1" || kept.VersionID != fork.GetVersionId() {
			t.Errorf("the fork is remembered as %+v, %v", kept, err)
		}
		if again := f.result(t, original.GetID(), original.GetRunID()); again != "abc" {
			t.Errorf("the original is changed: %q", again)
		}
	}
	if f.replays != 2 {
		t.Errorf("%d histories were replayed, want those of the forks to another version only", f.replays)
	}
}

func TestForkOfAnOpenRun(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	original := f.start(t, true)
	waitFor(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.did) == 2 })
	req := &schedulerv1.ForkRunRequest{TargetId: f.app, RunId: original.GetRunID(), From: "a"}
	if _, err := f.client.ForkRun(f.ctx, req); !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "--end-original") {
		t.Fatalf("ForkRun() of an open run = %v, want a conflict that tells how", err)
	}
	// The signal came after a, and belongs to the original's life.
	if err := f.temporal.SignalWorkflow(t.Context(), original.GetID(), original.GetRunID(), "resume", nil); err != nil {
		t.Fatal(err)
	}
	f.result(t, original.GetID(), original.GetRunID())
	f.since()
	first, err := f.client.ForkRun(f.ctx, req)
	if err != nil || first.GetEndedRunId() != "" {
		t.Fatalf("ForkRun() of a closed run = %v, %v", first, err)
	}
	waitFor(t, func() bool { f.mu.Lock(); defer f.mu.Unlock(); return len(f.did) == 1 })
	req.EndOriginal, req.KeepSignals = true, true
	second, err := f.client.ForkRun(f.ctx, req)
	if err != nil || second.GetEndedRunId() != first.GetRunId() {
		t.Fatalf("ForkRun() that ends the first fork = %v, %v", second, err)
	}
	if got := f.result(t, second.GetWorkflowId(), second.GetRunId()); got != "abc" {
		t.Errorf("the fork with the signal = %q", got)
	}
	ended, err := f.store.Run(t.Context(), first.GetRunId())
	if err != nil || ended.Outcome != runs.Terminated {
		t.Errorf("the fork that was ended is remembered as %+v, %v", ended, err)
	}
}

func TestForksThatAreRefused(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	original := f.start(t, false)
	f.result(t, original.GetID(), original.GetRunID())
	last := f.events(t, original)
	stranger := principal.With(t.Context(), principal.Principal{Kind: principal.User, OrgID: id.Org.New(), UserID: "u_2"})
	different := agentenv.Replay{Verdict: agentenv.VerdictDifferent, EventID: 5, Expected: "activity a", Got: "timer"}
	tests := map[string]struct {
		ctx     context.Context
		req     *schedulerv1.ForkRunRequest
		verdict agentenv.Replay
		want    fault.Kind
		says    string
	}{
		"no run":          {req: &schedulerv1.ForkRunRequest{}, want: fault.Invalid, says: "run_id"},
		"unknown run":     {req: &schedulerv1.ForkRunRequest{RunId: uuid.NewString()}, want: fault.NotFound, says: "no such run"},
		"a stranger":      {ctx: stranger, req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID()}, want: fault.NotFound, says: "no such run"},
		"unknown step":    {req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), From: "x"}, want: fault.Invalid, says: "it has a, b, c"},
		"unknown time":    {req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), From: "a#2"}, want: fault.Invalid, says: "1 times only"},
		"unknown event":   {req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), From: "999"}, want: fault.Invalid, says: "the events 1 to " + last},
		"after the end":   {req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), From: last}, want: fault.Conflict, says: "has not gone on"},
		"unknown version": {req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), Version: "9"}, want: fault.NotFound, says: "no version 9"},
		"other steps":     {req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), Version: "2"}, verdict: different, want: fault.Conflict, says: `event 5 is "activity a", the code asks for "timer"`},
		"no class":        {req: &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), Version: "2"}, verdict: agentenv.Replay{Verdict: agentenv.VerdictMissing}, want: fault.Invalid, says: "no workflow Chain"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			f.answers(tt.verdict)
			if tt.ctx == nil {
				tt.ctx = f.ctx
			}
			_, err := f.client.ForkRun(tt.ctx, tt.req)
			if !tt.want.Is(err) || !strings.Contains(fault.Message(err), tt.says) {
				t.Errorf("ForkRun(%v) = %v, want kind %v that says %q", tt.req, err, tt.want, tt.says)
			}
		})
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	original, other := f.start(t, false), f.start(t, true)
	f.result(t, original.GetID(), original.GetRunID())
	if err := f.temporal.SignalWorkflow(t.Context(), other.GetID(), other.GetRunID(), "resume", "now"); err != nil {
		t.Fatal(err)
	}
	f.result(t, other.GetID(), other.GetRunID())
	fork, err := f.client.ForkRun(f.ctx, &schedulerv1.ForkRunRequest{RunId: original.GetRunID(), From: "b", Version: "2"})
	if err != nil {
		t.Fatal(err)
	}
	f.result(t, fork.GetWorkflowId(), fork.GetRunId())
	same, err := f.client.DiffRuns(f.ctx, &schedulerv1.DiffRunsRequest{RunId: original.GetRunID(), OtherRunId: fork.GetRunId()})
	if err != nil || same.GetFirstDivergence() != -1 || len(same.GetPairs()) != 5 || same.GetRightVersionId() != f.versions[1] {
		t.Errorf("DiffRuns() of a run and its fork = %v, %v", same, err)
	}
	diff, err := f.client.DiffRuns(f.ctx, &schedulerv1.DiffRunsRequest{TargetId: f.app, RunId: original.GetRunID(), OtherRunId: other.GetRunID()})
	if err != nil || diff.GetFirstDivergence() != 0 {
		t.Fatalf("DiffRuns() = %v, %v", diff, err)
	}
	if d := cmp.Diff([]string{"input"}, diff.GetPairs()[0].GetDifferences()); d != "" {
		t.Errorf("the start (-want +got):\n%s", d)
	}
}

func TestVerdicts(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	original := f.start(t, false)
	f.result(t, original.GetID(), original.GetRunID())
	for verdict, want := range map[agentenv.Verdict]schedulerv1.ReplayVerdict{
		agentenv.VerdictOK:        schedulerv1.ReplayVerdict_REPLAY_VERDICT_DETERMINISTIC,
		agentenv.VerdictDifferent: schedulerv1.ReplayVerdict_REPLAY_VERDICT_NON_DETERMINISTIC,
		agentenv.VerdictFailed:    schedulerv1.ReplayVerdict_REPLAY_VERDICT_FAILED,
		agentenv.VerdictMissing:   schedulerv1.ReplayVerdict_REPLAY_VERDICT_MISSING,
	} {
		f.answers(agentenv.Replay{Verdict: verdict})
		got, err := f.client.ReplayRun(f.ctx, &schedulerv1.ReplayRunRequest{RunId: original.GetRunID(), Version: "v2"})
		if err != nil || got.GetReplay().GetVerdict() != want || got.GetVersionNumber() != 2 || strconv.FormatInt(got.GetEvents(), 10) != f.events(t, original) {
			t.Errorf("ReplayRun() with verdict %s = %v, %v", verdict, got, err)
		}
	}
}

func waitFor(t *testing.T, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !condition(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal(errors.New("waited in vain"))
		}
	}
}
