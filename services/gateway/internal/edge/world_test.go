package edge_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

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

const (
	app   = "app_a"
	hello = `{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-06-18","capabilities":{"elicitation":{},"sampling":{}},"clientInfo":{"name":"a client","version":"1"}}}`
	ready = `{"jsonrpc":"2.0","method":"notifications/initialized"}`
	// patience is how long anything may take.
	patience = 20 * time.Second
)

// keys are the users that there are.
type keys map[string]principal.Principal

func (k keys) Authenticate(_ context.Context, key string) (principal.Principal, error) {
	if p, ok := k[key]; ok {
		return p, nil
	}
	return principal.Principal{}, fault.Unauthenticated.Errorf("this key is not known")
}

var people = withCrowd(keys{
	"alice":    {Kind: principal.User, UserID: "u_alice", OrgID: "org_1"},
	"bob":      {Kind: principal.User, UserID: "u_bob", OrgID: "org_1"},
	"stranger": {Kind: principal.User, UserID: "u_stranger", OrgID: "org_2"},
})

// world is an edge that runs, with one app that has a port of its own.
type world struct {
	*edgetest.Rooms
	t         testing.TB
	agent     *edgetest.Agent
	edge      *edge.Edge
	nats      *bustest.Server
	bus       *bus.Bus
	url       string
	callbacks string
	buses     []*bus.Bus    // of the replicas
	silence   time.Duration // of a replica that is gone; zero: the usual one
}

func newWorld(t testing.TB, change ...func(*edge.Config)) *world {
	t.Helper()
	w := &world{Rooms: edgetest.NewRooms(t), t: t, agent: edgetest.NewAgent(t), nats: bustest.Start(t)}
	w.bus = w.nats.Bus(t)
	cfg := edge.Defaults()
	cfg.Callbacks, cfg.ReadyWait = freeAddress(t), 10*time.Second
	for _, c := range change {
		c(&cfg)
	}
	ring, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	at := freeAddress(t)
	w.url, w.callbacks = "http://"+at, "http://"+cfg.Callbacks
	w.address(func(*registryv1.Address) {})
	w.live(true)
	e := edge.New(edge.Deps{
		Log: grpctest.Logger(t), Auth: people, Bus: w.bus, Registry: registryv1.NewAppsServiceClient(w.Conn), Limits: registryv1.NewLimitsServiceClient(w.Conn),
		Scheduler: schedulerv1.NewDeploymentsServiceClient(w.Conn), Runs: schedulerv1.NewRunsServiceClient(w.Conn), Calls: schedulerv1.NewCallsServiceClient(w.Conn),
		Sleep:     schedulerv1.NewSleepServiceClient(w.Conn),
		Outcomes:  schedulerv1.NewRolloutOutcomesServiceClient(w.Conn),
		Telemetry: telemetryv1.NewLogsServiceClient(w.Conn), Config: cfg, Seal: ring,
	})
	w.edge = e
	edgetest.Background(t, e.Run)
	for _, url := range []string{w.url, w.callbacks} {
		edgetest.Until(t, url+" answers", func() bool {
			conn, err := net.DialTimeout("tcp", strings.TrimPrefix(url, "http://"), time.Second)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		})
	}
	edgetest.Until(t, "the app is live", func() bool {
		res := w.do(http.MethodGet, "/", "alice", "", nil)
		return strings.Contains(res.body, `"live":true`)
	})
	return w
}

// replica starts another gateway beside the first; its address is another, and so it
// serves the app by host name.
func (w *world) replica() http.Handler {
	w.t.Helper()
	handler, _ := w.replicaUntil()
	return handler
}

// replicaUntil starts one that can be stopped before the test ends.
func (w *world) replicaUntil() (handler http.Handler, stop func()) {
	w.t.Helper()
	ring, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := edge.Defaults()
	cfg.Callbacks, cfg.ReadyWait, cfg.AppHost = freeAddress(w.t), 10*time.Second, "127.0.0.2"
	own := w.nats.Bus(w.t)
	w.buses = append(w.buses, own)
	e := edge.New(edge.Deps{
		Log: grpctest.Logger(w.t), Auth: people, Bus: own, Registry: registryv1.NewAppsServiceClient(w.Conn), Limits: registryv1.NewLimitsServiceClient(w.Conn),
		Scheduler: schedulerv1.NewDeploymentsServiceClient(w.Conn), Runs: schedulerv1.NewRunsServiceClient(w.Conn), Calls: schedulerv1.NewCallsServiceClient(w.Conn),
		Sleep:     schedulerv1.NewSleepServiceClient(w.Conn),
		Outcomes:  schedulerv1.NewRolloutOutcomesServiceClient(w.Conn),
		Telemetry: telemetryv1.NewLogsServiceClient(w.Conn), Config: cfg, Seal: ring,
	})
	if w.silence > 0 {
		e.Silence(w.silence)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(cancel)
	ended := make(chan struct{})
	edgetest.Background(w.t, func(until context.Context) error {
		defer close(ended)
		defer context.AfterFunc(until, cancel)()
		err := e.Run(ctx)
		if own.Conn().IsClosed() { // it was killed
			err = nil
		}
		return err
	})
	edgetest.Until(w.t, "the replica knows the apps", e.Ready)
	serve := func(rw http.ResponseWriter, r *http.Request) {
		handler, ok := e.Handler(strings.Split(r.Host, ":")[0])
		if !ok {
			http.NotFound(rw, r)
			return
		}
		handler.ServeHTTP(rw, r)
	}
	return http.HandlerFunc(serve), func() {
		cancel()
		<-ended
	}
}

// ports are those that the tests of this process take: each once, out of the range from
// which the system takes them for connections.
var (
	ports     atomic.Int64
	firstPort = rand.Int64N(15_000) //nolint:gosec // not secret
)

func freeAddress(t testing.TB) string {
	t.Helper()
	for range 1000 {
		at := fmt.Sprintf("127.0.0.1:%d", 15_000+(firstPort+ports.Add(1))%15_000)
		lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at)
		if err == nil {
			_ = lis.Close()
			return at
		}
	}
	t.Fatal("there is no free port")
	return ""
}

// address changes how the app is reached.
func (w *world) address(change func(*registryv1.Address)) {
	var port int32
	if _, err := fmt.Sscanf(w.url, "http://127.0.0.1:%d", &port); err != nil {
		w.t.Fatal(err)
	}
	a := &registryv1.Address{TargetId: app, AppId: app, OrgId: "org_1", AppName: "finder", Port: port, ServerUrl: w.url}
	change(a)
	w.Apps.Set(a)
}

// live says whether the agent is up; what it said at its health check is known.
func (w *world) live(up bool) {
	w.Deployments.Set(w.endpoint(up))
}

func (w *world) endpoint(up bool) *schedulerv1.Endpoint {
	return &schedulerv1.Endpoint{
		TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_1", ServerUrl: w.agent.URL(), Ready: up, Kind: "mcp-agent",
		Workflows: []string{"Refund"}, AsyncTools: []string{"dig"}, SyncTools: []string{"add"},
		InitializeJson: `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"recorded","version":"1"}}`,
		ToolsJson:      `{"tools":[{"name":"workflows-list"},{"name":"add"}]}`, WorkflowsJson: `{"Refund":{"name":"Refund"}}`,
	}
}

// publish sends an event of another process.
func (w *world) publish(event proto.Message) {
	w.t.Helper()
	subject, err := bus.Subject(event)
	if err != nil {
		w.t.Fatal(err)
	}
	raw, err := proto.Marshal(event)
	if err == nil {
		err = w.bus.Conn().Publish(subject, raw)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// answer is a whole HTTP answer.
type answer struct {
	status int
	header http.Header
	body   string
}

func (w *world) request(method, path, key, session string, body []byte) *http.Request {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.url+path, bytes.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	return req
}

func (w *world) send(req *http.Request) answer {
	w.t.Helper()
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		w.t.Fatalf("the answer breaks off: %v after %q", err, raw)
	}
	return answer{res.StatusCode, res.Header, string(raw)}
}

func (w *world) do(method, path, key, session string, body []byte) answer {
	w.t.Helper()
	return w.send(w.request(method, path, key, session, body))
}

// open begins a session by streamable HTTP.
func (w *world) open(key string) string {
	w.t.Helper()
	res := w.do(http.MethodPost, "/mcp", key, "", []byte(hello))
	id := res.header.Get("Mcp-Session-Id")
	if res.status != http.StatusOK || id == "" {
		w.t.Fatalf("initialize = %+v", res)
	}
	if res := w.do(http.MethodPost, "/mcp", key, id, []byte(ready)); res.status != http.StatusAccepted {
		w.t.Fatalf("initialized = %+v", res)
	}
	return id
}

func call(tool, arguments string) []byte {
	return fmt.Appendf(nil, `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":%q,"arguments":%s}}`, tool, arguments)
}

// events reads server-sent events as they come.
type events struct {
	t     testing.TB
	res   *http.Response
	lines *bufio.Scanner
	last  string // the id of the last event
	cut   func()
}

func (w *world) listen(req *http.Request) *events {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	res, err := http.DefaultClient.Do(req.WithContext(ctx)) //nolint:bodyclose // below
	if err != nil || res.StatusCode != http.StatusOK {
		cancel()
		w.t.Fatalf("stream = %v, %v", res, err)
	}
	w.t.Cleanup(func() {
		cancel()
		_ = res.Body.Close()
	})
	lines := bufio.NewScanner(res.Body)
	lines.Buffer(nil, 1<<20)
	return &events{t: w.t, res: res, lines: lines, cut: cancel}
}

// next is the data of the next event.
func (e *events) next() string {
	e.t.Helper()
	stop := time.AfterFunc(patience, func() { _ = e.res.Body.Close() })
	defer stop.Stop()
	for e.lines.Scan() {
		if id, ok := strings.CutPrefix(e.lines.Text(), "id: "); ok {
			e.last = id
		}
		if data, ok := strings.CutPrefix(e.lines.Text(), "data: "); ok && data != "" {
			return data
		}
	}
	e.t.Fatalf("the stream ended: %v", e.lines.Err())
	return ""
}

// rpc reads the parts of a message.
type rpc struct {
	ID     json.RawMessage `json:"id"`
	Method string          `json:"method"`
	Params json.RawMessage `json:"params"`
	Result json.RawMessage `json:"result"`
	Error  *struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
	} `json:"error"`
}

func parse(t testing.TB, text string) rpc {
	t.Helper()
	if _, data, ok := strings.Cut(text, "data: "); ok {
		text, _, _ = strings.Cut(data, "\n")
	}
	var m rpc
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		t.Fatalf("%v: %q", err, text)
	}
	return m
}
