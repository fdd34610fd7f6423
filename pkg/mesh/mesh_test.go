package mesh_test

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
)

// serve answers health checks on lis until the returned function is called.
func serve(t testing.TB, lis net.Listener) (stop func()) {
	t.Helper()
	server := grpc.NewServer()
	healthv1.RegisterHealthServer(server, health.NewServer())
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(lis) }()
	stop = func() { server.Stop(); <-done }
	t.Cleanup(stop)
	return stop
}

func listen(t testing.TB, dir string) net.Listener {
	t.Helper()
	lis, err := mesh.Listen(dir, "room")
	if err != nil {
		t.Fatal(err)
	}
	return lis
}

func check(t testing.TB, conn *grpc.ClientConn, limit time.Duration) error {
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	_, err := healthv1.NewHealthClient(conn).Check(ctx, &healthv1.HealthCheckRequest{})
	return err
}

func TestACallWaitsForItsRoom(t *testing.T) {
	t.Parallel()
	dir := grpctest.SocketDir(t)
	conn := grpctest.Dial(t, dir, "room")
	answer := make(chan error, 1)
	go func() { answer <- check(t, conn, time.Minute) }()
	select {
	case err := <-answer:
		t.Fatalf("the call ended before its room was there: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	serve(t, listen(t, dir))
	if err := <-answer; err != nil {
		t.Fatalf("the call = %v", err)
	}
}

func TestACallFindsARestartedRoom(t *testing.T) {
	t.Parallel()
	dir := grpctest.SocketDir(t)
	conn := grpctest.Dial(t, dir, "room")
	for round := range 3 {
		stop := serve(t, listen(t, dir))
		if err := check(t, conn, time.Minute); err != nil {
			t.Fatalf("round %d: the call = %v", round, err)
		}
		stop()
		// A call that is on its way when the room dies is the caller's to judge; one
		// that comes later must not notice.
		conn.WaitForStateChange(t.Context(), connectivity.Ready)
	}
}

func TestACallToNobodyEndsAtItsDeadline(t *testing.T) {
	t.Parallel()
	conn := grpctest.Dial(t, grpctest.SocketDir(t), "room")
	if err := check(t, conn, 50*time.Millisecond); !fault.Deadline.Is(err) {
		t.Fatalf("the call = %v, want deadline", err)
	}
}

func TestAddressesReachARoomByTCP(t *testing.T) {
	t.Parallel()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	serve(t, lis)
	dialer := mesh.Addresses(map[string]string{"room": lis.Addr().String()})
	defer dialer.Close() //nolint:errcheck // the test is over
	conn, err := dialer.Dial("room")
	if err != nil {
		t.Fatal(err)
	}
	if err := check(t, conn, time.Minute); err != nil {
		t.Fatalf("the call = %v", err)
	}
	if again, err := dialer.Dial("room"); err != nil || again != conn {
		t.Fatalf("Dial() a second time = %p, %v, want the same connection", again, err)
	}
	if _, err := dialer.Dial("cellar"); err == nil || !strings.Contains(err.Error(), `"cellar"; there is one for: room`) {
		t.Fatalf("Dial(cellar) = %v, want a sentence with the rooms there are", err)
	}
}

func TestListenRefusals(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		prepare func(t *testing.T, dir string)
		room    string
		says    string // empty: it listens
	}{
		"a new folder":      {func(*testing.T, string) {}, "room", ""},
		"a long path":       {func(*testing.T, string) {}, strings.Repeat("r", 120), "use a shorter folder"},
		"a socket in use":   {func(t *testing.T, dir string) { serve(t, listen(t, dir)) }, "room", "stop it first"},
		"a crash's leaving": {leaveSocket, "room", ""},
		"a file of others":  {leaveFile, "room", "is no socket"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(grpctest.SocketDir(t), "mesh")
			if err := os.Mkdir(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			tt.prepare(t, dir)
			lis, err := mesh.Listen(dir, tt.room)
			if tt.says == "" {
				if err != nil {
					t.Fatalf("Listen() = %v", err)
				}
				_ = lis.Close()
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.says) {
				t.Fatalf("Listen() = %v, want a sentence with %q", err, tt.says)
			}
		})
	}
}

func leaveSocket(t *testing.T, dir string) {
	lis, ok := listen(t, dir).(*net.UnixListener)
	if !ok {
		t.Fatal("Listen() gives no unix socket")
	}
	lis.SetUnlinkOnClose(false)
	_ = lis.Close()
}

func leaveFile(t *testing.T, dir string) {
	if err := os.WriteFile(filepath.Join(dir, "room.sock"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestASocketIsTheOwnersAlone(t *testing.T) {
	t.Parallel()
	dir := grpctest.SocketDir(t)
	serve(t, listen(t, dir))
	info, err := os.Stat(filepath.Join(dir, "room.sock"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("the socket's mode is %v, %v, want 0600", info.Mode().Perm(), err)
	}
}

func TestALongSocketPathIsToldWhenDialling(t *testing.T) {
	t.Parallel()
	if _, err := mesh.Sockets("/tmp/" + strings.Repeat("d", 120)).Dial("room"); err == nil || !strings.Contains(err.Error(), "shorter folder") {
		t.Fatalf("Dial() = %v, want advice", err)
	}
}
