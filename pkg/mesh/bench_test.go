package mesh_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
)

// BenchmarkUnaryCall is one small call through the whole chain over a unix socket.
func BenchmarkUnaryCall(b *testing.B) {
	conn := grpctest.Serve(b, func(s grpc.ServiceRegistrar) { healthv1.RegisterHealthServer(s, health.NewServer()) })
	client := healthv1.NewHealthClient(conn)
	ctx := principal.With(b.Context(), principal.Principal{Kind: principal.User, UserID: "u_1", OrgID: "org_1"})
	call := func(b *testing.B) {
		if _, err := client.Check(ctx, &healthv1.HealthCheckRequest{}); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("one at a time", func(b *testing.B) {
		for b.Loop() {
			call(b)
		}
	})
	b.Run("many at a time", func(b *testing.B) {
		b.RunParallel(func(p *testing.PB) {
			for p.Next() {
				call(b)
			}
		})
	})
}
