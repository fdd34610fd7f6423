package tasks

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// began is when the tasks of these tests were made.
var began = time.Date(2026, 11, 23, 16, 10, 1, 323_000_000, time.UTC)

func after(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(began.Add(d)) }

// open is a run that nobody has touched, changed.
func open(change func(*schedulerv1.Run)) *schedulerv1.Run {
	run := &schedulerv1.Run{Name: "dig", Status: schedulerv1.RunStatus_RUN_STATUS_RUNNING, Retention: durationpb.New(time.Hour)}
	change(run)
	return run
}

func ended(status schedulerv1.RunStatus, at time.Duration, change func(*schedulerv1.Run)) *schedulerv1.Run {
	return open(func(run *schedulerv1.Run) {
		run.Status, run.CloseTime = status, after(at)
		change(run)
	})
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	none := func(*schedulerv1.Run) {}
	failed := schedulerv1.RunStatus_RUN_STATUS_FAILED
	asks := []*schedulerv1.Question{{QuestionId: "qst_1", Method: "elicitation/create", ParamsJson: `{"message":"Sure?"}`, AskedAt: after(3 * time.Second)}}
	tests := map[string]struct {
		run  *schedulerv1.Run
		open []*schedulerv1.Question
		age  time.Duration
		want string // without what every task has
	}{
		"young": {run: open(none), age: 9 * time.Second, want: `{"status":"working","lastUpdatedAt":"2026-11-23T16:10:01.323Z","ttlMs":null,"pollIntervalMs":500}`},
		"grown": {run: open(none), age: 10 * time.Second, want: `{"status":"working","lastUpdatedAt":"2026-11-23T16:10:01.323Z","ttlMs":null,"pollIntervalMs":2000}`},
		"old":   {run: open(none), age: 10 * time.Minute, want: `{"status":"working","lastUpdatedAt":"2026-11-23T16:10:01.323Z","ttlMs":null,"pollIntervalMs":10000}`},
		"asking": {run: open(none), open: asks, age: time.Hour, want: `{"status":"input_required","statusMessage":"waits for an answer","lastUpdatedAt":"2026-11-23T16:10:04.323Z","ttlMs":null,"pollIntervalMs":2000,
			"inputRequests":{"qst_1":{"method":"elicitation/create","params":{"message":"Sure?"}}}}`},
		"answered, and at work again": {
			run:  open(func(r *schedulerv1.Run) { r.QuestionChangedAt = after(5 * time.Second) }),
			want: `{"status":"working","lastUpdatedAt":"2026-11-23T16:10:06.323Z","ttlMs":null,"pollIntervalMs":500}`,
		},
		"asked to end": {
			run:  open(func(r *schedulerv1.Run) { r.CancelRequested = true }),
			want: `{"status":"working","statusMessage":"cancellation requested","lastUpdatedAt":"2026-11-23T16:10:01.323Z","ttlMs":null,"pollIntervalMs":500}`,
		},
		"cancelled": {
			run:  ended(schedulerv1.RunStatus_RUN_STATUS_CANCELED, 30*time.Second, none),
			want: `{"status":"cancelled","statusMessage":"cancelled","lastUpdatedAt":"2026-11-23T16:10:31.323Z","ttlMs":3630000,"pollIntervalMs":500}`,
		},
		"completed": {
			run:  ended(schedulerv1.RunStatus_RUN_STATUS_COMPLETED, time.Second, func(r *schedulerv1.Run) { r.ResultJson = `"5"` }),
			want: `{"status":"completed","lastUpdatedAt":"2026-11-23T16:10:02.323Z","ttlMs":3601000,"pollIntervalMs":500,"result":{"content":[{"type":"text","text":"5"}],"isError":false}}`,
		},
		"an error of the code": {
			run:  ended(failed, time.Second, func(r *schedulerv1.Run) { r.ErrorType, r.ErrorMessage = "ValueError", "no" }),
			want: `{"status":"completed","lastUpdatedAt":"2026-11-23T16:10:02.323Z","ttlMs":3601000,"pollIntervalMs":500,"result":{"content":[{"type":"text","text":"Error executing tool dig: no"}],"isError":true}}`,
		},
		"an error for the protocol": {run: ended(failed, time.Second, func(r *schedulerv1.Run) {
			r.ErrorType, r.ErrorMessage, r.ProtocolError = "McpError", "no credit", &schedulerv1.ProtocolError{Code: -32050, DataJson: `{"left":0}`}
		}), want: `{"status":"failed","statusMessage":"no credit","lastUpdatedAt":"2026-11-23T16:10:02.323Z","ttlMs":3601000,"pollIntervalMs":500,"error":{"code":-32050,"message":"no credit","data":{"left":0}}}`},
		"one without data": {run: ended(failed, time.Second, func(r *schedulerv1.Run) {
			r.ErrorType, r.ErrorMessage, r.ProtocolError = "McpError", "no", &schedulerv1.ProtocolError{Code: 0}
		}), want: `{"status":"failed","statusMessage":"no","lastUpdatedAt":"2026-11-23T16:10:02.323Z","ttlMs":3601000,"pollIntervalMs":500,"error":{"code":0,"message":"no"}}`},
		"one of before codes were carried": {
			run:  ended(failed, time.Second, func(r *schedulerv1.Run) { r.ErrorType, r.ErrorMessage = "McpError", "no" }),
			want: `{"status":"failed","statusMessage":"no","lastUpdatedAt":"2026-11-23T16:10:02.323Z","ttlMs":3601000,"pollIntervalMs":500,"error":{"code":-32603,"message":"no","data":{"reason":"protocol_error"}}}`,
		},
	}
	client := modern.Capabilities{}
	if err := json.Unmarshal([]byte(`{"elicitation":{}}`), &client); err != nil {
		t.Fatal(err)
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := describe("t1", ref{Created: began.UnixMilli()}, tt.run, tt.open, client, nil, began.Add(tt.age))
			raw, err := json.Marshal(v)
			if err != nil {
				t.Fatal(err)
			}
			var got, want map[string]any
			if json.Unmarshal(raw, &got) != nil || json.Unmarshal([]byte(tt.want), &want) != nil {
				t.Fatalf("not JSON: %s or %s", raw, tt.want)
			}
			want["resultType"], want["taskId"], want["createdAt"] = "complete", "t1", "2026-11-23T16:10:01.323Z"
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("task (-want +got):\n%s", diff)
			}
		})
	}
}

// forgotten knows no run any more.
type forgotten struct{ schedulerv1.RunsServiceClient }

func (forgotten) GetRun(context.Context, *schedulerv1.GetRunRequest, ...grpc.CallOption) (*schedulerv1.GetRunResponse, error) {
	return nil, fault.NotFound.Errorf("no such run")
}

// A run that is not there can have been forgotten only when its time was over.
func TestATaskExpires(t *testing.T) {
	t.Parallel()
	kept := ref{RunID: "r", Created: began.UnixMilli(), Kept: time.Hour.Milliseconds()}
	older := kept
	older.Kept = 0
	route := &routes.Route{Address: &registryv1.Address{TargetId: "app"}}
	for name, tt := range map[string]struct {
		id   ref
		age  time.Duration
		want string
	}{
		"kept still":              {kept, time.Hour - time.Millisecond, "Task not found"},
		"its time is over":        {kept, time.Hour, "Task has expired"},
		"an id of earlier builds": {older, 0, "Task has expired"},
	} {
		tasks := &Tasks{runs: forgotten{}, now: func() time.Time { return began.Add(tt.age) }}
		if _, refusal := tasks.run(t.Context(), route, tt.id); refusal == nil || refusal.Code != -32602 || refusal.Message != tt.want {
			t.Errorf("%s: %+v, want %s", name, refusal, tt.want)
		}
	}
}
