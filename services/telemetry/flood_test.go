package telemetry_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
)

// flood publishes lines for some targets at the same time, in batches, and returns
// when the bus has all of them.
func flood(t testing.TB, w *world, targets, lines, batchSize int) {
	t.Helper()
	var group sync.WaitGroup
	for target := range targets {
		group.Go(func() {
			for from := 0; from < lines; from += batchSize {
				b := batch(fmt.Sprintf("app_%d", target), "org_1")
				for n := from; n < min(lines, from+batchSize); n++ {
					b.Lines = append(b.Lines, line(n, busv1.LogLevel_LOG_LEVEL_INFO, fmt.Sprintf("line %d %s", n, strings.Repeat("x", 100))))
				}
				if err := w.bus.PublishLogs(context.Background(), b); err != nil {
					t.Errorf("PublishLogs = %v", err)
					return
				}
			}
		})
	}
	group.Wait()
}

// Ten thousand lines a second for five seconds: none is lost, and when the last
// publisher has its answer the store is at most seconds behind, although a reader
// follows and does not read.
func TestFlood(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("floods the machine for some seconds")
	}
	const targets, lines = 5, 10_000
	w := newWorld(t, nil)
	follow(t, w, "org_1", "app_0") // and never reads
	begun := time.Now()
	flood(t, w, targets, lines, 20)
	published := time.Since(begun)
	for target := range targets {
		res, err := w.logs.GetAppLogs(asOrg(t, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: fmt.Sprintf("app_%d", target), Limit: 10_000})
		if err != nil || len(res.GetLogEntries()) != lines {
			t.Fatalf("GetAppLogs(app_%d) = %d lines, %v, want %d", target, len(res.GetLogEntries()), err, lines)
		}
	}
	stored := time.Since(begun)
	t.Logf("%d lines published in %s, all found after %s: %.0f lines/s", targets*lines, published, stored, targets*lines/stored.Seconds())
	if stored > 30*time.Second {
		t.Errorf("%d lines took %s; ten thousand a second are promised on a machine of its own", targets*lines, stored)
	}
}

// A reader that does not read loses lines, is told how many, and loses none silently.
func TestASlowReaderIsToldWhatItLost(t *testing.T) {
	t.Parallel()
	const lines = 60_000
	w := newWorld(t, nil)
	if err := w.bus.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	slow, quick := follow(t, w, "org_1", "app_0"), follow(t, w, "org_1", "app_0")
	seen := make(chan int64, 1)
	go func() {
		var n int64
		for n < lines {
			res, err := quick.Recv()
			if err != nil {
				break
			}
			n += int64(len(res.GetEntries())) + res.GetDropped()
		}
		seen <- n
	}()
	flood(t, w, 1, lines, 200)
	if n := <-seen; n != lines {
		t.Errorf("the quick reader accounts for %d of %d lines", n, lines)
	}
	var got, dropped int64
	for got+dropped < lines {
		res, err := slow.Recv()
		if err != nil {
			t.Fatalf("Recv = %v after %d lines and %d dropped", err, got, dropped)
		}
		got, dropped = got+int64(len(res.GetEntries())), dropped+res.GetDropped()
	}
	if dropped == 0 || got == 0 {
		t.Errorf("the slow reader got %d lines and lost %d; want some of both", got, dropped)
	}
}

func BenchmarkIngest(b *testing.B) {
	w := newWorld(b, nil)
	b.ResetTimer()
	for b.Loop() {
		flood(b, w, 4, 2500, 20)
	}
	for target := range 4 {
		if _, err := w.logs.GetAppLogs(asOrg(b, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: fmt.Sprintf("app_%d", target), Limit: 1}); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*10_000/b.Elapsed().Seconds(), "lines/s")
}
