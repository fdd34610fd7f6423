package temporaledge_test

import (
	"context"
	"strings"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"google.golang.org/grpc/codes"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// The end of an edge ends its polls at once, and what comes afterwards is handed to
// whoever polls through another.
func TestADrainLosesNoTask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent(temporaltest.Org())
	polled := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		_, err := a.raw.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: a.OrgID, TaskQueue: queue(a.TargetID), Identity: "drained"})
		polled <- err
	}()
	upstream, err := w.directory.Client(t.Context(), a.OrgID)
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "Temporal sees the poll", func() bool {
		seen, err := upstream.WorkflowService().DescribeTaskQueue(t.Context(), &workflowservice.DescribeTaskQueueRequest{
			Namespace: a.OrgID, TaskQueue: queue(a.TargetID), TaskQueueType: enumspb.TASK_QUEUE_TYPE_WORKFLOW,
		})
		return err == nil && len(seen.GetPollers()) > 0
	})
	begun := time.Now()
	w.stop()
	if took := time.Since(begun); took > 10*time.Second {
		t.Errorf("a poll held up the end for %s", took)
	}
	refused(t, "a poll through an edge that ends", <-polled, codes.Unavailable)

	w.serve(t)
	a.raw = w.dial(a.token)
	started, err := a.start(t.Context(), "after", "")
	if err != nil {
		t.Fatal(err)
	}
	if got := a.poll(t).GetWorkflowExecution().GetRunId(); got != started.GetRunId() {
		t.Errorf("the task after the drain is of run %q, want %q", got, started.GetRunId())
	}
}

// Temporal takes payloads of up to 2 MB, and so does the edge, both ways.
func TestLargePayloads(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.agent(temporaltest.Org())
	works := worker.New(a.sdk, a.TargetID, worker.Options{})
	works.RegisterWorkflowWithOptions(func(_ workflow.Context, text string) (string, error) { return text, nil }, workflow.RegisterOptions{Name: "echo"})
	if err := works.Start(); err != nil {
		t.Fatal(err)
	}
	defer works.Stop()
	large := strings.Repeat("x", 1900<<10)
	run, err := a.sdk.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "large", TaskQueue: a.TargetID}, "echo", large)
	if err != nil {
		t.Fatal(err)
	}
	var got string
	if err := run.Get(t.Context(), &got); err != nil || got != large {
		t.Errorf("%d bytes came back, %v; want %d", len(got), err, len(large))
	}
}
