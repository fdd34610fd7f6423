// Package grpctest serves a room, or a part of one, on a real socket for a test.
package grpctest

import (
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
)

// Serve registers what register says on a server with the real interceptors and
// returns a connection with the real client side. Both end with the test.
func Serve(t testing.TB, register func(grpc.ServiceRegistrar)) *grpc.ClientConn {
	t.Helper()
	dir := SocketDir(t)
	ServeAt(t, dir, "room", register)
	return Dial(t, dir, "room")
}

// ServeAt serves a room's fake (or a real one) under its name in a mesh folder.
func ServeAt(t testing.TB, dir, room string, register func(grpc.ServiceRegistrar)) {
	t.Helper()
	lis, err := mesh.Listen(dir, room)
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(append(rpc.ServerOptions(Logger(t)), grpc.WaitForHandlers(true))...) // they log into the test
	register(server)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(lis)
	}()
	t.Cleanup(func() { server.Stop(); <-done })
}

// ServeRoom runs a whole room, background work included, until the test ends.
func ServeRoom(t testing.TB, dir string, svc service.Service, env service.Env) {
	t.Helper()
	lis, err := mesh.Listen(dir, env.Name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Serve(ctx, lis, svc, env, service.ServeOptions{}) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("%s ended with %v", env.Name, err)
		}
	})
}

// Dial connects to a room in a mesh folder.
func Dial(t testing.TB, dir, room string) *grpc.ClientConn {
	t.Helper()
	dialer := mesh.Sockets(dir)
	t.Cleanup(func() { _ = dialer.Close() })
	conn, err := dialer.Dial(room)
	if err != nil {
		t.Fatal(err)
	}
	return conn
}

// SocketDir is a folder with a path short enough for sockets.
func SocketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "ac")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Clean(dir)
}

// Logger writes to the test's log, at debug level; benchmarks and fuzzing have none.
func Logger(t testing.TB) *slog.Logger {
	switch t.(type) {
	case *testing.B, *testing.F:
		return slog.New(slog.DiscardHandler)
	}
	out := &output{to: t.Output()}
	t.Cleanup(out.end)
	return slog.New(slog.NewTextHandler(out, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// output is a test's log until the test ends: a server that has stopped does not wait
// for its last handlers, and a line after the end would be a panic.
type output struct {
	mu sync.Mutex
	to io.Writer // nil: the test is over
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.to == nil {
		return len(line), nil
	}
	return o.to.Write(line)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.to = nil
}

// DialPlain connects without the client side of the chain, as a foreign program would.
func DialPlain(t testing.TB, dir, room string) *grpc.ClientConn {
	t.Helper()
	conn, err := grpc.NewClient("unix:"+filepath.Join(dir, room+".sock"), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}
