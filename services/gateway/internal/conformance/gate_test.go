package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/bustest"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
)

const app = "app_everything"

// nobody knows no keys: the app is open to all.
type nobody struct{}

func (nobody) Authenticate(context.Context, string) (principal.Principal, error) {
	return principal.Principal{}, fault.Unauthenticated.Errorf("there are no keys here")
}

// reference starts the reference server of the Go SDK and returns its URL.
func reference(t *testing.T, stateless bool) string {
	t.Helper()
	at := freeAddress(t)
	server := exec.CommandContext(t.Context(), os.Getenv("AGENTCLOUD_REFERENCE_SERVER"), "-http", at, fmt.Sprintf("-stateless=%t", stateless)) //nolint:gosec // a test's own
	server.Stderr = io.Discard
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = server.Process.Kill()
		_ = server.Wait()
	})
	listening(t, at)
	return "http://" + at
}

// gates puts two gateways before a server and returns the app's URL at each.
func gates(t *testing.T, behind string, about *schedulerv1.Endpoint) (urls []string) {
	t.Helper()
	rooms, at, b := edgetest.NewRooms(t), freeAddress(t), bustest.New(t)
	var port int32
	if _, err := fmt.Sscanf(at, "127.0.0.1:%d", &port); err != nil {
		t.Fatal(err)
	}
	url := "http://" + at
	rooms.Apps.Set(&registryv1.Address{TargetId: app, AppId: app, OrgId: "org", AppName: "everything", Port: port, ServerUrl: url, UnauthenticatedAccess: true})
	about.TargetId, about.AppId, about.OrgId, about.VersionId, about.ServerUrl, about.Ready, about.Kind = app, app, "org", "ver_1", behind, true, "remote"
	rooms.Deployments.Set(about)
	for _, host := range []string{"127.0.0.1", "127.0.0.2"} {
		urls = append(urls, gate(t, rooms, b, host, port))
	}
	return urls
}

// gate starts one gateway at an address of its own.
func gate(t *testing.T, rooms *edgetest.Rooms, b *bus.Bus, host string, port int32) string {
	t.Helper()
	ring, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	cfg, at := edge.Defaults(), fmt.Sprintf("%s:%d", host, port)
	cfg.Callbacks, cfg.AppHost = freeAddress(t), host
	e := edge.New(edge.Deps{
		Log: grpctest.Logger(t), Auth: nobody{}, Bus: b, Registry: registryv1.NewAppsServiceClient(rooms.Conn), Limits: registryv1.NewLimitsServiceClient(rooms.Conn),
		Scheduler: schedulerv1.NewDeploymentsServiceClient(rooms.Conn), Runs: schedulerv1.NewRunsServiceClient(rooms.Conn), Calls: schedulerv1.NewCallsServiceClient(rooms.Conn),
		Sleep:     schedulerv1.NewSleepServiceClient(rooms.Conn),
		Outcomes:  schedulerv1.NewRolloutOutcomesServiceClient(rooms.Conn),
		Telemetry: telemetryv1.NewLogsServiceClient(rooms.Conn), Config: cfg, Seal: ring,
	})
	edgetest.Background(t, e.Run)
	listening(t, at)
	edgetest.Until(t, "the app is live", func() bool { return strings.Contains(get(t, "http://"+at), `"live":true`) })
	return "http://" + at
}

// inTurn is one address for several: each request goes to the one after the one before.
func inTurn(t *testing.T, urls []string) string {
	t.Helper()
	var turn atomic.Int64
	proxy := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		to := urls[int(turn.Add(1))%len(urls)]
		r.Out.URL.Scheme, r.Out.URL.Host, r.Out.Host = "http", strings.TrimPrefix(to, "http://"), r.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = http.NewResponseController(w).EnableFullDuplex() // as httputil's proxy needs it for quick answers
		proxy.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	return server.URL
}

// record asks a server of the session era what the health gate asks.
func record(t *testing.T, url string) *schedulerv1.Endpoint {
	t.Helper()
	p := &probe{t: t, url: url + "/mcp"}
	about := &schedulerv1.Endpoint{InitializeJson: p.ask("initialize", `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"probe","version":"1"}}`)}
	p.send(`{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	about.ToolsJson, about.PromptsJson = p.ask("tools/list", "{}"), p.ask("prompts/list", "{}")
	about.ResourcesJson, about.ResourceTemplatesJson = p.ask("resources/list", "{}"), p.ask("resources/templates/list", "{}")
	return about
}

type probe struct {
	t            *testing.T
	url, session string
}

func (p *probe) ask(method, params string) string {
	p.t.Helper()
	body := p.send(`{"jsonrpc":"2.0","id":1,"method":"` + method + `","params":` + params + `}`)
	for line := range strings.Lines(body) {
		line = strings.TrimPrefix(strings.TrimSpace(line), "data: ")
		var m struct{ Result json.RawMessage }
		if json.Unmarshal([]byte(line), &m) == nil && m.Result != nil {
			return string(m.Result)
		}
	}
	p.t.Fatalf("%s was answered with %q", method, body)
	return ""
}

func (p *probe) send(body string) string {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.url, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if p.session != "" {
		req.Header.Set("Mcp-Session-Id", p.session)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if id := res.Header.Get("Mcp-Session-Id"); id != "" {
		p.session = id
	}
	text, err := io.ReadAll(res.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return string(text)
}

func get(t *testing.T, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	text, _ := io.ReadAll(res.Body)
	return string(text)
}

func listening(t *testing.T, at string) {
	t.Helper()
	edgetest.Until(t, at+" answers", func() bool {
		conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", at)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
}

func freeAddress(t *testing.T) string {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close() //nolint:errcheck // it is only asked for
	return lis.Addr().String()
}
