package temporaledge_test

import (
	"context"
	"net"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaledge"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

// unwatched looks away.
type unwatched struct{}

func (unwatched) PollBegan(*store.Instance, string, bool)                      {}
func (unwatched) PollEnded(*store.Instance, string, bool)                      {}
func (unwatched) StepTaken(*store.Instance, string, string, int32)             {}
func (unwatched) StepDone(string)                                              {}
func (unwatched) ActivityTaken(*store.Instance, string, string, []byte, int32) {}
func (unwatched) ActivityAlive([]byte)                                         {}
func (unwatched) ActivityOver([]byte)                                          {}
func (unwatched) StepFailed(*store.Instance, string, string, enumspb.WorkflowTaskFailedCause, *failurepb.Failure) {
}

// idle is a Temporal that never has a task and says so at once.
type idle struct {
	workflowservice.UnimplementedWorkflowServiceServer
}

func (idle) PollActivityTaskQueue(context.Context, *workflowservice.PollActivityTaskQueueRequest) (*workflowservice.PollActivityTaskQueueResponse, error) {
	return &workflowservice.PollActivityTaskQueueResponse{}, nil
}

// BenchmarkPoll is a poll through the edge, with and without a watch.
func BenchmarkPoll(b *testing.B) {
	for name, watch := range map[string]temporaledge.Watch{"unwatched": unwatched{}, "watched": health.NewWatch(time.Now)} {
		b.Run(name, func(b *testing.B) {
			w := &world{t: b, agents: map[string]store.Instance{}}
			temporal := listen(b)
			server := grpc.NewServer()
			workflowservice.RegisterWorkflowServiceServer(server, idle{})
			go server.Serve(temporal) //nolint:errcheck // ends with Stop
			b.Cleanup(server.Stop)
			edge, err := temporaledge.New(temporaledge.Deps{
				Upstream: temporal.Addr().String(), Agents: w, Runs: w, Facts: w, Watch: watch, Payloads: payloads.NewPassage(), Log: grpctest.Logger(b), Now: time.Now,
			})
			if err != nil {
				b.Fatal(err)
			}
			lis := listen(b)
			w.address = lis.Addr().String()
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- edge.Serve(ctx, lis) }()
			b.Cleanup(func() { cancel(); <-done })
			token := tokens.New(tokens.Edge)
			w.agents[tokens.Hash(token)] = store.Instance{TargetID: "app_1", OrgID: "org_1", VersionID: "ver_1", EdgeHash: tokens.Hash(token)}
			agent := w.dial(token)
			req := &workflowservice.PollActivityTaskQueueRequest{Namespace: "org_1", TaskQueue: queue("app_1")}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := agent.PollActivityTaskQueue(b.Context(), req); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func listen(b *testing.B) net.Listener {
	b.Helper()
	lis, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	return lis
}
