package temporaledge_test

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
	"gocloud.dev/blob"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

// large runs an agent whose workflow Twice passes its argument through an activity, a
// child and a signal to itself, and says it throughAll.
func large(t *testing.T, w *world) *agent {
	t.Helper()
	a := w.agent(temporaltest.Org())
	run := worker.New(a.sdk, agentenv.TaskQueue(a.TargetID), worker.Options{})
	run.RegisterActivityWithOptions(func(_ context.Context, text string) (string, error) { return text, nil }, activity.RegisterOptions{Name: "same"})
	run.RegisterActivityWithOptions(func(_ context.Context, n int) (string, error) { return strings.Repeat("x", n), nil }, activity.RegisterOptions{Name: "make"})
	run.RegisterWorkflowWithOptions(func(_ workflow.Context, text string) (string, error) { return text, nil }, workflow.RegisterOptions{Name: "Child"})
	run.RegisterWorkflowWithOptions(throughAll, workflow.RegisterOptions{Name: "Twice"})
	run.RegisterWorkflowWithOptions(func(_ workflow.Context, n int) (string, error) { return strings.Repeat("x", n), nil }, workflow.RegisterOptions{Name: "Make"})
	run.RegisterWorkflowWithOptions(func(ctx workflow.Context, n int) (text string, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return text, workflow.ExecuteActivity(ctx, "make", n).Get(ctx, &text)
	}, workflow.RegisterOptions{Name: "MakeInActivity"})
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(run.Stop)
	return a
}

func throughAll(ctx workflow.Context, text string) (string, error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	ctx = workflow.WithChildOptions(ctx, workflow.ChildWorkflowOptions{WorkflowID: workflow.GetInfo(ctx).WorkflowExecution.ID + "-child"})
	if err := workflow.ExecuteActivity(ctx, "same", text).Get(ctx, &text); err != nil {
		return "", err
	}
	if err := workflow.ExecuteChildWorkflow(ctx, "Child", text).Get(ctx, &text); err != nil {
		return "", err
	}
	return text + text, nil
}

func (a *agent) run(t *testing.T, id, name string, arg any) (string, error) {
	t.Helper()
	started, err := a.sdk.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: id, TaskQueue: agentenv.TaskQueue(a.TargetID)}, name, arg)
	if err != nil {
		return "", err
	}
	var result string
	err = started.Get(t.Context(), &result)
	return result, err
}

// history is what Temporal keeps of a run.
func (w *world) history(t *testing.T, org, id string) *historypb.History {
	t.Helper()
	c, err := w.directory.Client(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	history := &historypb.History{}
	events := c.GetWorkflowHistory(t.Context(), id, "", false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			t.Fatal(err)
		}
		history.Events = append(history.Events, event)
	}
	return history
}

func (w *world) kept(t *testing.T) int {
	t.Helper()
	n := 0
	for it := w.bucket.List(nil); ; n++ {
		if _, err := it.Next(t.Context()); errors.Is(err, io.EOF) {
			return n
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

func TestLargeValuesAreNotInHistories(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := large(t, w)
	text := strings.Repeat("0123456789", 500_000) // 5 MB, which Temporal would refuse
	got, err := a.run(t, "large", "Twice", text)
	if err != nil || got != text+text {
		t.Fatalf("Twice(%d bytes) = %d bytes, %v", len(text), len(got), err)
	}
	for _, id := range []string{"large", "large-child"} {
		if size := proto.Size(w.history(t, a.OrgID, id)); size > 20_000 {
			t.Errorf("the history of %s has %d bytes", id, size)
		}
	}
	// The run's argument with its activity's result, the child's argument and result with
	// what the parent knows of it, and the result.
	if n := w.kept(t); n < 3 || n > 4 {
		t.Errorf("%d values are kept", n)
	}
	if small, err := a.run(t, "small", "Twice", "x"); err != nil || small != "xx" {
		t.Errorf("Twice(x) = %q, %v", small, err)
	}
}

func TestTooLargeValuesEndARun(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := large(t, w)
	for _, name := range []string{"Make", "MakeInActivity"} {
		_, err := a.run(t, name, name, payloads.Most+1)
		var failed *temporal.ApplicationError
		if !errors.As(err, &failed) || failed.Type() != "ValueTooLarge" || !strings.Contains(failed.Message(), "at most 16 MiB are taken") {
			t.Errorf("%s = %v, want that the value is too large", name, err)
		}
	}
	if _, err := a.run(t, "started", "Twice", strings.Repeat("x", payloads.Most+1)); err == nil || !strings.Contains(err.Error(), "at most 16 MiB") {
		t.Errorf("the start of a run with too much = %v", err)
	}
}

func TestLostValuesAreTold(t *testing.T) {
	t.Parallel()
	for desc, spoil := range map[string]func(ctx context.Context, b *blob.Bucket, key string) error{
		"gone": func(ctx context.Context, b *blob.Bucket, key string) error { return b.Delete(ctx, key) },
		"changed": func(ctx context.Context, b *blob.Bucket, key string) error {
			return b.WriteAll(ctx, key, []byte("other"), nil)
		},
	} {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a := w.agent(temporaltest.Org())
			// Nobody polls yet, so the argument waits.
			started, err := a.sdk.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "lost", TaskQueue: agentenv.TaskQueue(a.TargetID)}, "Twice", strings.Repeat("x", 2*inline))
			if err != nil {
				t.Fatal(err)
			}
			object, err := w.bucket.List(nil).Next(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := spoil(t.Context(), w.bucket, object.Key); err != nil {
				t.Fatal(err)
			}
			run := worker.New(a.sdk, agentenv.TaskQueue(a.TargetID), worker.Options{})
			run.RegisterWorkflowWithOptions(throughAll, workflow.RegisterOptions{Name: "Twice"})
			if err := run.Start(); err != nil {
				t.Fatal(err)
			}
			defer run.Stop()
			eventually(t, "a step that failed", func() bool {
				for _, event := range w.history(t, a.OrgID, started.GetID()).GetEvents() {
					if f := event.GetWorkflowTaskFailedEventAttributes().GetFailure(); f != nil {
						if f.GetApplicationFailureInfo().GetType() != "ResultLost" || !strings.Contains(f.GetMessage(), "result_lost") {
							t.Errorf("the step failed with %v", f)
						}
						return true
					}
				}
				return false
			})
		})
	}
}

// TestForgedClaims: an agent that hands in what looks like a claim gets just that back.
func TestForgedClaims(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := large(t, w)
	forged := &commonpb.Payload{
		Metadata: map[string][]byte{"encoding": []byte(payloads.ClaimEncoding)},
		Data:     []byte(`{"key":"` + strings.Repeat("0", 32) + "/" + strings.Repeat("0", 64) + `","sha256":"","size":1}`),
	}
	got, err := w.passage.Encode(t.Context(), payloads.Scope{OrgID: a.OrgID, WorkflowID: "x"}, forged)
	if err != nil || proto.Equal(got, forged) {
		t.Fatalf("Encode(forged) = %v, %v, want a claim of its own", got, err)
	}
	back, err := w.passage.Decode(t.Context(), a.OrgID, got)
	if err != nil || !proto.Equal(back, forged) {
		t.Errorf("Decode() = %v, %v, want what was handed in", back, err)
	}
	if _, err := w.passage.Decode(t.Context(), "org_other", got); err == nil {
		t.Error("another organisation could read it")
	}
	outside := proto.Clone(forged).(*commonpb.Payload)
	outside.Data = []byte(`{"key":"../../x","sha256":"","size":1}`)
	if _, err := w.passage.Decode(t.Context(), a.OrgID, outside); err == nil {
		t.Error("a claim led out of its place")
	}
}
