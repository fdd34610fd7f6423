package telemetry_test

import (
	"context"
	"fmt"
	"io/fs"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/telemetry"
)

// world is a running room and the bus it listens to.
type world struct {
	bus  *bus.Bus
	dir  string
	logs telemetryv1.LogsServiceClient
}

func newWorld(t testing.TB, change func(*telemetry.Config)) *world {
	t.Helper()
	w := &world{bus: newBus(t), dir: t.TempDir()}
	w.logs = telemetryv1.NewLogsServiceClient(serve(t, w, change))
	return w
}

// env is what the outside gives a telemetry room.
func env(t testing.TB, w *world) service.Env {
	return service.Env{
		Name: "telemetry", Log: slog.New(slog.DiscardHandler), Bus: w.bus, DataDir: w.dir, Now: time.Now,
		OpenDB: func(ctx context.Context, migrations fs.FS) (*sqldb.DB, error) {
			db, err := sqldb.Open(ctx, "sqlite:"+filepath.Join(w.dir, "telemetry.db"), migrations)
			if err == nil {
				t.Cleanup(func() { _ = db.Close() })
			}
			return db, err
		},
	}
}

// asOrg speaks for a user of the organisation.
func asOrg(t testing.TB, org string) context.Context {
	return principal.With(t.Context(), principal.Principal{Kind: principal.User, UserID: "u_1", OrgID: org})
}

func batch(target, org string, lines ...*busv1.LogLine) *busv1.LogBatch {
	return &busv1.LogBatch{TargetId: target, OrgId: org, Lines: lines}
}

var start = time.Now().Add(-10 * time.Minute).Truncate(time.Millisecond)

// line is the n-th line, n seconds after start.
func line(n int, level busv1.LogLevel, text string) *busv1.LogLine {
	return &busv1.LogLine{
		LineId: fmt.Sprintf("l%d", n), Time: timestamppb.New(start.Add(time.Duration(n) * time.Second)), Level: level,
		Logger: "mcp_agent.app", Message: text, Source: busv1.LogSource_LOG_SOURCE_WORKER, VersionId: "ver_1", RunId: fmt.Sprintf("run%d", n%2),
	}
}

func publish(t testing.TB, w *world, b *busv1.LogBatch) {
	t.Helper()
	if err := w.bus.PublishLogs(t.Context(), b); err != nil {
		t.Fatalf("PublishLogs = %v", err)
	}
}

func messages(entries []*telemetryv1.LogEntry) string {
	var texts []string
	for _, e := range entries {
		texts = append(texts, e.GetMessage())
	}
	return strings.Join(texts, " ")
}

func TestGetAppLogs(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	const info, warn, bad, debug = busv1.LogLevel_LOG_LEVEL_INFO, busv1.LogLevel_LOG_LEVEL_WARNING, busv1.LogLevel_LOG_LEVEL_ERROR, busv1.LogLevel_LOG_LEVEL_DEBUG
	publish(t, w, batch("app_1", "org_1", line(1, info, "one"), line(2, bad, "two 100%"), line(3, debug, "three"), line(4, warn, "four")))
	publish(t, w, batch("app_1", "org_1", line(2, bad, "two again"), line(500, 0, "five")))
	publish(t, w, batch("apcnf_1", "org_1", line(1, info, "configured")))
	publish(t, w, batch("app_2", "org_2", line(1, info, "foreign")))

	tests := map[string]struct {
		req  *telemetryv1.GetAppLogsRequest
		org  string
		want string
		kind fault.Kind
	}{
		"newest first by default":       {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1"}, want: "five four three two 100% one"},
		"oldest first when asked":       {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Order: telemetryv1.LogOrder_LOG_ORDER_ASC, Limit: 2}, want: "one two 100%"},
		"the limit keeps the newest":    {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Limit: 2}, want: "five four"},
		"loudest first":                 {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", OrderBy: telemetryv1.LogOrderBy_LOG_ORDER_BY_LEVEL}, want: "two 100% four five one three"},
		"quietest first":                {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", OrderBy: telemetryv1.LogOrderBy_LOG_ORDER_BY_LEVEL, Order: telemetryv1.LogOrder_LOG_ORDER_ASC, Limit: 2}, want: "three five"},
		"since":                         {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Since: "5m"}, want: "five"},
		"since in several units":        {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Since: "1h30m", Limit: 1}, want: "five"},
		"since an instant":              {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Since: start.Add(4 * time.Second).UTC().Format(time.RFC3339Nano)}, want: "five four"},
		"since what is no duration":     {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Since: "yesterday"}, kind: fault.Invalid},
		"one run":                       {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", RunId: "run1"}, want: "three one"},
		"text, whatever its case":       {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Contains: "TWO"}, want: "two 100%"},
		"text that looks like SQL":      {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Contains: "0%"}, want: "two 100%"},
		"only loud ones":                {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", MinLevel: warn}, want: "four two 100%"},
		"a configuration":               {req: &telemetryv1.GetAppLogsRequest{AppConfigurationId: "apcnf_1"}, want: "configured"},
		"no lines at all":               {req: &telemetryv1.GetAppLogsRequest{AppId: "app_9"}, want: ""},
		"another organisation's app":    {req: &telemetryv1.GetAppLogsRequest{AppId: "app_2"}, want: ""},
		"its own organisation sees it":  {req: &telemetryv1.GetAppLogsRequest{AppId: "app_2"}, org: "org_2", want: "foreign"},
		"neither app nor configuration": {req: &telemetryv1.GetAppLogsRequest{}, kind: fault.Invalid},
		"both":                          {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", AppConfigurationId: "apcnf_1"}, kind: fault.Invalid},
		"a wildcard":                    {req: &telemetryv1.GetAppLogsRequest{AppId: "*"}, kind: fault.Invalid},
		"a limit below zero":            {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1", Limit: -1}, kind: fault.Invalid},
		"nobody":                        {req: &telemetryv1.GetAppLogsRequest{AppId: "app_1"}, org: "-", kind: fault.Unauthenticated},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			ctx := asOrg(t, "org_1")
			switch tt.org {
			case "":
			case "-":
				ctx = t.Context()
			default:
				ctx = asOrg(t, tt.org)
			}
			res, err := w.logs.GetAppLogs(ctx, tt.req)
			if fault.KindOf(err) != tt.kind {
				t.Fatalf("GetAppLogs = %v, want kind %v", err, tt.kind)
			}
			if got := messages(res.GetLogEntries()); got != tt.want {
				t.Errorf("GetAppLogs = %q, want %q", got, tt.want)
			}
		})
	}
}

func TestAnEntryHasEveryField(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	cut := line(7, busv1.LogLevel_LOG_LEVEL_ERROR, "broke")
	cut.DroppedBefore = 12
	publish(t, w, batch("app_1", "org_1", cut, &busv1.LogLine{Message: "bare"}))
	res, err := w.logs.GetAppLogs(asOrg(t, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: "app_1", Order: telemetryv1.LogOrder_LOG_ORDER_ASC})
	if err != nil || len(res.GetLogEntries()) != 2 {
		t.Fatalf("GetAppLogs = %v, %v, want two entries", res, err)
	}
	got := res.GetLogEntries()[0]
	if !got.GetTimestamp().AsTime().Equal(start.Add(7 * time.Second)) {
		t.Errorf("time = %v, want %v", got.GetTimestamp().AsTime(), start.Add(7*time.Second))
	}
	fields := []string{got.GetLevel(), got.GetMessage(), got.GetLogger(), got.GetSource(), got.GetRunId(), got.GetVersionId()}
	want := []string{"LOG_LEVEL_ERROR", "[12 lines before this one were dropped] broke", "mcp_agent.app", "LOG_SOURCE_WORKER", "run1", "ver_1"}
	if diff := cmp.Diff(want, fields); diff != "" {
		t.Errorf("entry differs (-want +got):\n%s", diff)
	}
	bare := res.GetLogEntries()[1]
	if bare.GetLevel() != "LOG_LEVEL_INFO" || time.Since(bare.GetTimestamp().AsTime()) > time.Minute {
		t.Errorf("a bare line = %v, want level INFO and the time it came", bare)
	}
}

// A reader sees what a publisher has been told is stored, each time.
func TestReadYourWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	for n := range 50 {
		publish(t, w, batch("app_1", "org_1", line(n, busv1.LogLevel_LOG_LEVEL_INFO, fmt.Sprint("line", n))))
		res, err := w.logs.GetAppLogs(asOrg(t, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: "app_1", Limit: 1})
		if err != nil || messages(res.GetLogEntries()) != fmt.Sprint("line", n) {
			t.Fatalf("GetAppLogs after line %d = %v, %v", n, res, err)
		}
	}
}

func TestRefusedBatchesHoldUpNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if err := w.bus.EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{"\xff\xff\xff", ""} {
		if _, err := w.bus.JetStream().Publish(t.Context(), bus.LogSubject("app_1"), []byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	forged := batch("app_1", "org_1", line(1, busv1.LogLevel_LOG_LEVEL_INFO, "forged"))
	forged.TargetId = "app_2"
	if _, err := w.bus.JetStream().Publish(t.Context(), bus.LogSubject("app_1"), marshal(t, forged)); err != nil {
		t.Fatal(err)
	}
	publish(t, w, batch("app_1", "org_1", line(2, busv1.LogLevel_LOG_LEVEL_INFO, "honest \x00")))
	for target, want := range map[string]string{"app_1": "honest \ufffd", "app_2": ""} {
		res, err := w.logs.GetAppLogs(asOrg(t, "org_1"), &telemetryv1.GetAppLogsRequest{AppId: target})
		if err != nil || messages(res.GetLogEntries()) != want {
			t.Errorf("GetAppLogs(%s) = %v, %v, want %q", target, res, err, want)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	good := telemetry.Defaults()
	if err := good.Validate(); err != nil {
		t.Fatalf("Defaults().Validate() = %v", err)
	}
	good.MaxReaders = 0
	if err := good.Validate(); err == nil {
		t.Error("no readers are taken for good settings")
	}
	_, err := telemetry.New(t.Context(), good, service.Env{Log: grpctest.Logger(t)})
	if err == nil {
		t.Error("New takes bad settings")
	}
}
