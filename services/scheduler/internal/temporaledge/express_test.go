package temporaledge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// TestAnUrgentRunBeginsBesideOthers polls twice while runs of low priority wait. The
// second poll has to bring the urgent run, although that starts after it. A machine that
// is so slow that the first move counts as a long one, or the start as lost, may need
// another try; without the place for urgent runs no try brings it.
func TestAnUrgentRunBeginsBesideOthers(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const tries = 20
	for try := range tries {
		if id := w.secondPoll(t); strings.HasPrefix(id, "urgent") {
			return
		} else if try == tries-1 {
			t.Errorf("the second poll brought %q in each of %d tries", id, tries)
		}
	}
}

// secondPoll is the workflow that the second poll of a new agent brings.
func (w *world) secondPoll(t *testing.T) string {
	t.Helper()
	a := w.agent(temporaltest.Org())
	ctx, cancel := context.WithTimeout(withHeaders(t.Context(), map[string]string{agentenv.ExpressHeader: "1"}), patience)
	defer cancel()
	begin := func(id string, priority int) {
		options := client.StartWorkflowOptions{ID: id, TaskQueue: a.TargetID, Priority: temporal.Priority{PriorityKey: priority}}
		if _, err := a.sdk.ExecuteWorkflow(t.Context(), options, "Flow"); err != nil {
			t.Fatal(err)
		}
	}
	poll := func() (string, error) {
		task, err := a.raw.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: a.OrgID, TaskQueue: queue(a.TargetID), Identity: "a test"})
		return task.GetWorkflowExecution().GetWorkflowId(), err
	}
	for n := range 3 {
		begin(fmt.Sprintf("low %d", n), 5)
	}
	if _, err := poll(); err != nil {
		t.Fatal(err)
	}
	brought, failed := make(chan string, 1), make(chan error, 1)
	go func() {
		id, err := poll()
		brought <- id
		failed <- err
	}()
	rush := w.express.Coming(a.TargetID, "urgent", 1)
	begin("urgent", 1)
	rush.Queued()
	id, err := <-brought, <-failed
	if err != nil {
		t.Fatal(err)
	}
	return id
}
