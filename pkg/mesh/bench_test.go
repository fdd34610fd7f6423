package mesh_test

import (
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
)

// BenchmarkUnaryCall is one small call through the whole chain, over a unix socket and
// within a process.
func BenchmarkUnaryCall(b *testing.B) {
	b.Run("over a socket", func(b *testing.B) {
		call(b, grpctest.Serve(b, func(s grpc.ServiceRegistrar) { healthv1.RegisterHealthServer(s, health.NewServer()) }))
	})
	b.Run("within a process", func(b *testing.B) {
		process, room := mesh.NewProcess(), mesh.NewRoom(grpc.NewServer(), rpc.UnaryInterceptor(grpctest.Logger(b)))
		healthv1.RegisterHealthServer(room, health.NewServer())
		process.Join("room", room)
		dialer := mesh.Sockets(b.TempDir()).Within(process)
		defer dialer.Close() //nolint:errcheck // never connected
		conn, err := dialer.Dial("room")
		if err != nil {
			b.Fatal(err)
		}
		call(b, conn)
	})
}

func call(b *testing.B, conn *grpc.ClientConn) {
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
