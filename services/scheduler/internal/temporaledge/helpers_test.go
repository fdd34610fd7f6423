package temporaledge_test

import (
	"context"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	taskqueuepb "go.temporal.io/api/taskqueue/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
)

const patience = 30 * time.Second

type bearer string

func (b bearer) GetHeaders(context.Context) (map[string]string, error) {
	return map[string]string{"authorization": "Bearer " + string(b)}, nil
}

func withHeaders(ctx context.Context, headers map[string]string) context.Context {
	had, _ := metadata.FromOutgoingContext(ctx)
	return metadata.NewOutgoingContext(ctx, metadata.Join(had, metadata.New(headers)))
}

// quiet is a logger that says nothing.
type quiet struct{}

func (quiet) Debug(string, ...any) {}
func (quiet) Info(string, ...any)  {}
func (quiet) Warn(string, ...any)  {}
func (quiet) Error(string, ...any) {}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func refused(t *testing.T, what string, err error, want codes.Code) {
	t.Helper()
	if status.Code(err) != want {
		t.Errorf("%s = %v, want %s", what, err, want)
	}
}

func queue(name string) *taskqueuepb.TaskQueue {
	return &taskqueuepb.TaskQueue{Name: name, Kind: enumspb.TASK_QUEUE_KIND_NORMAL}
}

// start starts a run by the wire, on the agent's own queue unless another is named.
func (a *agent) start(ctx context.Context, workflowID, on string) (*commonpb.WorkflowExecution, error) {
	if on == "" {
		on = a.TargetID
	}
	res, err := a.raw.StartWorkflowExecution(ctx, &workflowservice.StartWorkflowExecutionRequest{
		Namespace: a.OrgID, WorkflowId: workflowID, RequestId: workflowID, WorkflowType: &commonpb.WorkflowType{Name: "Flow"}, TaskQueue: queue(on),
		SearchAttributes: &commonpb.SearchAttributes{IndexedFields: map[string]*commonpb.Payload{
			"AgentCloudTarget": {Metadata: map[string][]byte{"encoding": []byte("json/plain"), "type": []byte("Keyword")}, Data: []byte(`"app_forged"`)},
		}},
	})
	return &commonpb.WorkflowExecution{WorkflowId: workflowID, RunId: res.GetRunId()}, err
}

// poll takes the next workflow task of the agent's queue.
func (a *agent) poll(t *testing.T) *workflowservice.PollWorkflowTaskQueueResponse {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	task, err := a.raw.PollWorkflowTaskQueue(ctx, &workflowservice.PollWorkflowTaskQueueRequest{Namespace: a.OrgID, TaskQueue: queue(a.TargetID), Identity: "a test"})
	if err != nil || len(task.GetTaskToken()) == 0 {
		t.Fatalf("poll = %v, %v", task, err)
	}
	return task
}
