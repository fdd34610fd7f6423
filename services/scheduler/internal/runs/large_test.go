package runs_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// kept lists what is in the store of large values.
func (f *fixture) kept(t *testing.T) (keys []string) {
	t.Helper()
	for it := f.bucket.List(nil); ; {
		object, err := it.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return keys
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, object.Key)
	}
}

func TestLargeValuesPassAsClaims(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	text := strings.Repeat("x", 2*inline)
	signalled := f.start(t, "Wait", "")
	if _, err := f.client.SignalRun(f.ctx, &schedulerv1.SignalRunRequest{TargetId: f.app, RunId: signalled.GetRunId(), PayloadJson: `"` + text + `"`}); err != nil {
		t.Fatal(err)
	}
	if kept := f.kept(t); len(kept) != 1 || !strings.HasPrefix(kept[0], f.org+"/") {
		t.Errorf("kept are %v", kept)
	}
	_, err := f.client.StartRun(f.ctx, &schedulerv1.StartRunRequest{TargetId: f.app, Name: "Echo", ArgumentsJson: `{"text":"` + strings.Repeat("x", payloads.Most) + `"}`})
	if !fault.TooLarge.Is(err) {
		t.Errorf("StartRun() with too much = %v, want too large", err)
	}
}

// TestLargeResults of tools are wrapped without being fetched, read whole, and told as
// lost when they are.
func TestLargeResults(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	started := f.start(t, "large", `{"n":50000}`)
	run := f.finished(t, started.GetRunId())
	want := `{"kind":"workflow_result","value":"` + strings.Repeat("x", 50000) + `","metadata":{},"start_time":null,"end_time":null}`
	if run.GetStatus() != schedulerv1.RunStatus_RUN_STATUS_COMPLETED || run.GetResultJson() != want {
		t.Fatalf("run = %s with %d bytes of a result, want %d", run.GetStatus(), len(run.GetResultJson()), len(want))
	}
	if history, err := f.client.GetRunHistory(f.ctx, &schedulerv1.GetRunHistoryRequest{TargetId: f.app, RunId: started.GetRunId()}); err != nil || len(history.GetHistoryJson()) > 20_000 {
		t.Errorf("the history has %d bytes, %v", len(history.GetHistoryJson()), err)
	}
	list, err := f.client.ListRuns(f.ctx, &schedulerv1.ListRunsRequest{TargetId: f.app})
	if err != nil || len(list.GetRuns()) != 1 || list.GetRuns()[0].GetResultJson() != "" {
		t.Errorf("ListRuns() = %v, want the run without its result", err)
	}
	for _, key := range f.kept(t) {
		if err := f.bucket.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	lost := f.get(t, &schedulerv1.GetRunRequest{RunId: started.GetRunId(), Wait: nil})
	if lost.GetErrorType() != "ResultLost" || !strings.Contains(lost.GetErrorMessage(), "result_lost") || lost.GetResultJson() != "" {
		t.Errorf("a lost result is told as %v", lost)
	}
}

func TestLargeValuesAreCollectedWithTheirRuns(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	started := f.start(t, "large", `{"n":50000}`)
	f.finished(t, started.GetRunId())
	collect := func(want int, when string) {
		t.Helper()
		if err := f.collector.Collect(t.Context(), 0); err != nil {
			t.Fatal(err)
		}
		if kept := f.kept(t); len(kept) != want {
			t.Errorf("%s, %d values are kept, want %d", when, len(kept), want)
		}
	}
	collect(1, "while the run is known here")
	if err := f.store.PruneRuns(t.Context(), time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	collect(1, "while Temporal knows the run")
	f.forget(t, started)
	collect(0, "when nobody knows the run")
	var rows int
	if err := f.db.QueryRow(t.Context(), `SELECT COUNT(*) FROM claims`).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows are left, %v", rows, err)
	}
}

// forget has Temporal delete a run, as its retention does.
func (f *fixture) forget(t *testing.T, run *schedulerv1.StartRunResponse) {
	t.Helper()
	c, err := temporaltest.Directory(t).Client(t.Context(), f.org)
	if err != nil {
		t.Fatal(err)
	}
	request := &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: f.org, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: run.GetWorkflowId(), RunId: run.GetRunId()},
	}
	if _, err := c.WorkflowService().DeleteWorkflowExecution(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if _, err := c.DescribeWorkflowExecution(ctx, run.GetWorkflowId(), ""); err != nil {
			return
		}
		time.Sleep(50 * time.Millisecond) // between two questions
	}
	t.Fatal("Temporal does not forget the run")
}
