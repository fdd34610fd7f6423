package temporaledge_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	commandpb "go.temporal.io/api/command/v1"
	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// beginner is an agent whose worker begins one run after another.
type beginner struct {
	*agent
	world *world
	ctx   context.Context
}

func newBeginner(t *testing.T) beginner {
	t.Helper()
	w := newWorld(t)
	ctx, cancel := context.WithTimeout(withHeaders(t.Context(), map[string]string{agentenv.HeadroomHeader: "1"}), patience)
	t.Cleanup(cancel)
	return beginner{w.agent(temporaltest.Org()), w, ctx}
}

// begin starts a run, whose first move a seat gets, if there is one.
func (b beginner) begin(t *testing.T, id string, priority int, seat *headroom.Seat) {
	t.Helper()
	sdk, err := b.world.directory.Client(t.Context(), b.OrgID)
	if err != nil {
		t.Fatal(err)
	}
	options := client.StartWorkflowOptions{ID: id, TaskQueue: b.TargetID, Priority: temporal.Priority{PriorityKey: priority}}
	if _, err := sdk.ExecuteWorkflow(headroom.With(t.Context(), seat), options, "Flow"); err != nil {
		t.Fatal(err)
	}
}

func (b beginner) poll(ctx context.Context) (*workflowservice.PollWorkflowTaskQueueResponse, error) {
	return b.raw.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: b.OrgID, TaskQueue: queue(b.TargetID), Identity: "a test"})
}

// brings polls and wants a run whose id begins so: which of several that were started one
// right after another waits first is Temporal's.
func (b beginner) brings(t *testing.T, id string) *workflowservice.PollWorkflowTaskQueueResponse {
	t.Helper()
	task, err := b.poll(b.ctx)
	if got := task.GetWorkflowExecution().GetWorkflowId(); err != nil || !strings.HasPrefix(got, id) {
		t.Fatalf("the poll brought %q, %v, want %s", got, err, id)
	}
	return task
}

// completes ends the run of a task.
func (b beginner) completes(t *testing.T, task *workflowservice.PollWorkflowTaskQueueResponse) {
	t.Helper()
	command := &commandpb.Command{
		CommandType: enumspb.COMMAND_TYPE_COMPLETE_WORKFLOW_EXECUTION,
		Attributes: &commandpb.Command_CompleteWorkflowExecutionCommandAttributes{
			CompleteWorkflowExecutionCommandAttributes: &commandpb.CompleteWorkflowExecutionCommandAttributes{},
		},
	}
	done := &workflowservice.RespondWorkflowTaskCompletedRequest{Namespace: b.OrgID, TaskToken: task.GetTaskToken(), Identity: "a test", Commands: []*commandpb.Command{command}}
	if _, err := b.raw.RespondWorkflowTaskCompleted(b.ctx, done); err != nil {
		t.Fatal(err)
	}
}

// seat is a poll of the worker's that is held.
func (b beginner) seat(t *testing.T) (seat *headroom.Seat) {
	t.Helper()
	eventually(t, "a poll is held", func() bool {
		seat = b.world.headroom.Reserve(t.Context(), b.TargetID, b.VersionID, 1)
		return seat != nil
	})
	return seat
}

// TestAnUrgentRunBeginsPastOthers starts an urgent run while a worker is busy with another
// and more wait: it has its first move at once, and Temporal takes what it does with it.
func TestAnUrgentRunBeginsPastOthers(t *testing.T) {
	t.Parallel()
	b := newBeginner(t)
	for n := range 3 {
		b.begin(t, fmt.Sprintf("low %d", n), 5, nil)
	}
	low := b.brings(t, "low")
	got := make(chan *workflowservice.PollWorkflowTaskQueueResponse, 1)
	go func() {
		task, err := b.poll(b.ctx)
		if err != nil {
			t.Error(err)
		}
		got <- task
	}()
	b.begin(t, "urgent", 1, b.seat(t))
	urgent := <-got
	if id := urgent.GetWorkflowExecution().GetWorkflowId(); id != "urgent" {
		t.Fatalf("the held poll brought %q", id)
	}
	b.completes(t, urgent)
	b.completes(t, low)
	b.completes(t, b.brings(t, "low"))
	if !b.world.told(func(f fact) bool { return f.WorkflowID == "urgent" && f.outcome != "" }) {
		t.Error("the urgent run is not on record as over")
	}
}

// TestAnUrgentRunSurvivesItsWorker starts an urgent run for a poll whose worker goes
// before it has the first move, and before Temporal's timeout for it has another make it.
func TestAnUrgentRunSurvivesItsWorker(t *testing.T) {
	t.Parallel()
	b := newBeginner(t)
	b.begin(t, "low", 5, nil)
	low := b.brings(t, "low")
	ctx, cancel := context.WithCancel(b.ctx)
	over := make(chan struct{})
	go func() {
		defer close(over)
		if task, err := b.poll(ctx); err == nil {
			t.Errorf("the poll brought %v", task)
		}
	}()
	seat := b.seat(t)
	goes := func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		err := next(ctx, method, req, reply, cc, opts...)
		if _, ok := req.(*workflowservice.StartWorkflowExecutionRequest); ok {
			cancel()
			<-over
			eventually(t, "the edge knows that the worker has gone", func() bool { return !seat.Open() })
		}
		return err
	}
	conn, err := grpc.NewClient(temporaltest.Address(t), grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithChainUnaryInterceptor(headroom.Start, goes))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	start := &workflowservice.StartWorkflowExecutionRequest{
		Namespace: b.OrgID, WorkflowId: "urgent", RequestId: "once", WorkflowType: &commonpb.WorkflowType{Name: "Flow"}, TaskQueue: queue(b.TargetID),
		WorkflowTaskTimeout: durationpb.New(2 * patience),
	}
	started, err := workflowservice.NewWorkflowServiceClient(conn).StartWorkflowExecution(headroom.With(b.ctx, seat), start)
	if err != nil || started.GetEagerWorkflowTask() != nil {
		t.Fatalf("StartWorkflowExecution() = %v, %v", started, err)
	}
	b.completes(t, low)
	b.completes(t, b.brings(t, "urgent"))
}
