package service_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
)

// room answers every ListSecrets with what its field says.
type room struct {
	secretsv1.UnimplementedSecretsServiceServer
	list  func(context.Context) error
	run   func(context.Context) error
	ready atomic.Bool
	says  chan struct{} // when it says whether it is ready; nil: at once
}

func (r *room) Register(s grpc.ServiceRegistrar) { secretsv1.RegisterSecretsServiceServer(s, r) }
func (r *room) Run(ctx context.Context) error    { return r.run(ctx) }

func (r *room) Ready(ctx context.Context) error {
	if r.says != nil {
		select {
		case <-r.says:
		case <-ctx.Done():
		}
	}
	if r.ready.Load() {
		return nil
	}
	return errors.New("not yet")
}

func (r *room) ListSecrets(ctx context.Context, _ *secretsv1.ListSecretsRequest) (*secretsv1.ListSecretsResponse, error) {
	return &secretsv1.ListSecretsResponse{}, r.list(ctx)
}

func untilDone(ctx context.Context) error { <-ctx.Done(); return nil }

func TestACallCarriesPrincipalAndFault(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		err  error
		want fault.Kind
		says string
	}{
		"a fault keeps kind and sentence":  {fault.Denied.Errorf("not yours"), fault.Denied, "not yours"},
		"a plain error leaks nothing":      {errors.New("password is hunter2"), fault.Internal, "internal error (ref "},
		"no error":                         {nil, fault.None, ""},
		"a neighbour's unavailable passes": {status.Error(codes.Unavailable, "gone"), fault.Unavailable, "gone"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var caller principal.Principal
			r := &room{run: untilDone, list: func(ctx context.Context) error { caller = principal.From(ctx); return tt.err }}
			client := secretsv1.NewSecretsServiceClient(grpctest.Serve(t, r.Register))
			ctx := principal.With(t.Context(), principal.Principal{Kind: principal.User, UserID: "u_1", OrgID: "org_1"})
			_, err := client.ListSecrets(ctx, &secretsv1.ListSecretsRequest{})
			if fault.KindOf(err) != tt.want || tt.err != nil && !strings.HasPrefix(fault.Message(err), tt.says) {
				t.Fatalf("ListSecrets() = %v, want kind %d and %q", err, tt.want, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), "hunter2") {
				t.Fatalf("the cause left the process: %v", err)
			}
			if caller.UserID != "u_1" {
				t.Fatalf("the room saw caller %+v", caller)
			}
		})
	}
}

func TestAPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	r := &room{run: untilDone, list: func(context.Context) error { panic("boom") }}
	client := secretsv1.NewSecretsServiceClient(grpctest.Serve(t, r.Register))
	if _, err := client.ListSecrets(t.Context(), &secretsv1.ListSecretsRequest{}); !fault.Internal.Is(err) {
		t.Fatalf("ListSecrets() = %v, want internal", err)
	}
}

// serve runs r until stop is called; done gives how it ended.
func serve(t *testing.T, r *room) (conn *grpc.ClientConn, stop context.CancelFunc, done chan error) {
	t.Helper()
	dir := grpctest.SocketDir(t)
	lis, err := mesh.Listen(dir, "room")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done = make(chan error, 1)
	env := service.Env{Name: "room", Log: grpctest.Logger(t), Now: time.Now}
	go func() { done <- service.Serve(ctx, lis, r, env, service.ServeOptions{}) }()
	return grpctest.Dial(t, dir, "room"), stop, done
}

func TestACallInFlightIsFinished(t *testing.T) {
	t.Parallel()
	entered, release := make(chan struct{}), make(chan struct{})
	r := &room{run: untilDone, list: func(context.Context) error { close(entered); <-release; return nil }}
	conn, stop, done := serve(t, r)
	answer := make(chan error, 1)
	go func() {
		_, err := secretsv1.NewSecretsServiceClient(conn).ListSecrets(t.Context(), &secretsv1.ListSecretsRequest{})
		answer <- err
	}()
	<-entered
	stop()
	close(release)
	if err := <-answer; err != nil {
		t.Fatalf("the call in flight ended with %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("Serve() = %v", err)
	}
}

func TestBrokenBackgroundWorkEndsServe(t *testing.T) {
	t.Parallel()
	tests := map[string]func(context.Context) error{
		"an error":     func(context.Context) error { return errors.New("disk gone") },
		"an early end": func(context.Context) error { return nil },
		"a panic":      func(context.Context) error { panic("boom") },
	}
	for name, run := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, stop, done := serve(t, &room{run: run})
			defer stop()
			if err := <-done; err == nil {
				t.Fatal("Serve() = nil, want an error")
			}
		})
	}
}

func TestHealthFollowsReadiness(t *testing.T) {
	t.Parallel()
	r := &room{run: untilDone}
	conn, stop, _ := serve(t, r)
	defer stop()
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, watch, healthv1.HealthCheckResponse_NOT_SERVING)
	r.ready.Store(true)
	awaitHealth(t, watch, healthv1.HealthCheckResponse_SERVING)
}

func TestARoomThatHasNotSaidSoIsNotReady(t *testing.T) {
	t.Parallel()
	r := &room{run: untilDone, says: make(chan struct{})}
	r.ready.Store(true)
	conn, stop, _ := serve(t, r)
	defer stop()
	got, err := healthv1.NewHealthClient(conn).Check(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil || got.GetStatus() != healthv1.HealthCheckResponse_NOT_SERVING {
		t.Errorf("Check() = %v, %v, want NOT_SERVING", got, err)
	}
	close(r.says)
	watch, err := healthv1.NewHealthClient(conn).Watch(t.Context(), &healthv1.HealthCheckRequest{})
	if err != nil {
		t.Fatal(err)
	}
	awaitHealth(t, watch, healthv1.HealthCheckResponse_SERVING)
}

func awaitHealth(t *testing.T, watch healthv1.Health_WatchClient, want healthv1.HealthCheckResponse_ServingStatus) {
	t.Helper()
	for {
		res, err := watch.Recv()
		if err != nil {
			t.Fatalf("health ended with %v before %v", err, want)
		}
		if res.GetStatus() == want {
			return
		}
	}
}
