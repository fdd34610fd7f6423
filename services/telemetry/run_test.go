package telemetry_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/telemetry"
)

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	out, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// serve runs the room until the test ends.
func serve(t testing.TB, w *world, change func(*telemetry.Config)) *grpc.ClientConn {
	t.Helper()
	conn, stop := run(t, w, change)
	t.Cleanup(stop)
	return conn
}

// run runs the room until stop is called.
func run(t testing.TB, w *world, change func(*telemetry.Config)) (conn *grpc.ClientConn, stop func()) {
	t.Helper()
	cfg := telemetry.Defaults()
	if change != nil {
		change(&cfg)
	}
	e := env(t, w)
	svc, err := telemetry.New(t.Context(), cfg, e)
	if err != nil {
		t.Fatal(err)
	}
	dir := grpctest.SocketDir(t)
	lis, err := mesh.Listen(dir, e.Name)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- service.Serve(ctx, lis, svc, e, service.ServeOptions{}) }()
	var once sync.Once
	return grpctest.Dial(t, dir, e.Name), func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("telemetry ended with %v", err)
			}
		})
	}
}

func TestARestartGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := &world{bus: newBus(t), dir: t.TempDir()}
	want := 0
	for range 3 {
		conn, stop := run(t, w, nil)
		for range 20 {
			publish(t, w, batch("app_1", "org_1", line(want, busv1.LogLevel_LOG_LEVEL_INFO, fmt.Sprint(want))))
			want++
		}
		// Some lines are stored by now, some are not.
		stop()
		_ = conn.Close()
	}
	publish(t, w, batch("app_1", "org_1", line(want, busv1.LogLevel_LOG_LEVEL_INFO, fmt.Sprint(want))))
	want++
	conn, stop := run(t, w, nil)
	defer stop()
	res, err := telemetryv1.NewLogsServiceClient(conn).GetAppLogs(asOrg(t, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: "app_1", Limit: 1000})
	if err != nil || len(res.GetLogEntries()) != want {
		t.Fatalf("GetAppLogs = %d entries, %v, want %d", len(res.GetLogEntries()), err, want)
	}
}

func TestRetention(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *telemetry.Config) {
		c.TrimEvery = 10 * time.Millisecond
		c.Retention.LinesPerTarget = 100
		c.Retention.BytesPerTarget = 100_000
	})
	var lines []*busv1.LogLine
	for n := range 500 {
		lines = append(lines, line(n, busv1.LogLevel_LOG_LEVEL_INFO, fmt.Sprint(n)))
	}
	old := line(9999, busv1.LogLevel_LOG_LEVEL_INFO, "large")
	publish(t, w, batch("app_1", "org_1", lines...))
	publish(t, w, batch("app_2", "org_1", line(1, busv1.LogLevel_LOG_LEVEL_INFO, strings.Repeat("x", 60_000)), line(2, busv1.LogLevel_LOG_LEVEL_INFO, strings.Repeat("y", 60_000))))
	publish(t, w, batch("app_3", "org_1", old))
	for target, want := range map[string]int{"app_1": 100, "app_2": 1, "app_3": 1} {
		eventually(t, fmt.Sprintf("%s has %d lines", target, want), func() bool {
			res, err := w.logs.GetAppLogs(asOrg(t, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: target, Limit: 1000})
			return err == nil && len(res.GetLogEntries()) == want
		})
	}
	res, err := w.logs.GetAppLogs(asOrg(t, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: "app_1", Limit: 1})
	if err != nil || messages(res.GetLogEntries()) != "499" {
		t.Errorf("the newest line after a trim = %v, %v, want 499", res, err)
	}
}

func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); runtime.Gosched() {
		if holds() {
			return
		}
	}
	t.Fatalf("not within 20 s: %s", what)
}

func follow(t testing.TB, w *world, org, target string) grpc.ServerStreamingClient[telemetryv1.TailLogsResponse] {
	t.Helper()
	stream, err := w.logs.TailLogs(asOrg(t, org), &telemetryv1.TailLogsRequest{TargetId: target})
	if err != nil {
		t.Fatal(err)
	}
	if first, err := stream.Recv(); err != nil || len(first.GetEntries()) != 0 {
		t.Fatalf("first message = %v, %v, want an empty one", first, err)
	}
	return stream
}

func TestTailLogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if err := w.bus.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	one, two := follow(t, w, "org_1", "app_1"), follow(t, w, "org_1", "app_1")
	for n := range 100 {
		publish(t, w, batch("app_1", "org_2", line(n, busv1.LogLevel_LOG_LEVEL_INFO, "foreign")))
		publish(t, w, batch("app_2", "org_1", line(n, busv1.LogLevel_LOG_LEVEL_INFO, "another app's")))
		publish(t, w, batch("app_1", "org_1", line(n, busv1.LogLevel_LOG_LEVEL_WARNING, fmt.Sprint(n))))
	}
	for _, stream := range []grpc.ServerStreamingClient[telemetryv1.TailLogsResponse]{one, two} {
		for n := 0; n < 100; {
			res, err := stream.Recv()
			if err != nil || res.GetDropped() != 0 {
				t.Fatalf("Recv = %v, %v", res, err)
			}
			for _, e := range res.GetEntries() {
				if e.GetMessage() != fmt.Sprint(n) || e.GetLevel() != "LOG_LEVEL_WARNING" {
					t.Fatalf("line %d = %v", n, e)
				}
				n++
			}
		}
	}
}

func TestTailEndsWithTheRoom(t *testing.T) {
	t.Parallel()
	w := &world{bus: newBus(t), dir: t.TempDir()}
	conn, stop := run(t, w, nil)
	w.logs = telemetryv1.NewLogsServiceClient(conn)
	stream := follow(t, w, "org_1", "app_1")
	begun := time.Now()
	stop()
	if _, err := stream.Recv(); !fault.Unavailable.Is(err) {
		t.Errorf("Recv after the end = %v, want unavailable", err)
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("the reader held up the end for %s", took)
	}
}

func TestTooManyReaders(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *telemetry.Config) { c.MaxReaders = 1 })
	follow(t, w, "org_1", "app_1")
	stream, err := w.logs.TailLogs(asOrg(t, "org_1"), &telemetryv1.TailLogsRequest{TargetId: "app_1"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); !fault.Exhausted.Is(err) {
		t.Errorf("Recv of the second reader = %v, want exhausted", err)
	}
}
