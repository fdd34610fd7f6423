package commandhost

import (
	"bytes"
	"context"
	"encoding/json"
	"maps"
	"net"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

const patience = 30 * time.Second

// written is what the runtime would read.
type written struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (w *written) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.Write(p)
}

func (w *written) String() string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.text.String()
}

func (w *written) states(t *testing.T) []agentenv.Status {
	t.Helper()
	var all []agentenv.Status
	for line := range strings.Lines(w.String()) {
		s, err := agentenv.ParseStatus([]byte(line))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// world is a host that runs.
type world struct {
	url         string
	log, status *written
	stop        context.CancelFunc
	code        chan int
	table       *sessions // of newTable
}

// newWorld starts a host whose program is a fake.
func newWorld(t *testing.T, fake string, change func(*agentenv.Launch)) *world {
	t.Helper()
	launch := agentenv.Launch{
		Role: agentenv.RoleServer, AppDir: t.TempDir(), DrainSeconds: 10,
		Program: &agentenv.Program{
			Kind: agentenv.KindCommand, Args: []string{os.Args[0], "{port}"}, Env: map[string]string{fakeVariable: fake}, Transport: agentenv.TransportStdio,
		},
		Env:     map[string]string{"TOKEN": "very-secret-value"},
		Secrets: map[string]string{"mcpac_sc_1": "very-secret-value"},
	}
	if change != nil {
		change(&launch)
	}
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	w := &world{url: "http://" + lis.Addr().String() + "/mcp", log: &written{}, status: &written{}, stop: stop, code: make(chan int, 1)}
	out := &output{log: w.log, status: w.status}
	out.hide(launch.Secrets)
	go func() { w.code <- serve(ctx, launch, lis, out) }()
	t.Cleanup(func() {
		stop()
		_ = lis.Close()
		w.end(t)
	})
	return w
}

// newTable serves sessions alone, in which any idle one makes room at once.
func newTable(t *testing.T, most int) *world {
	t.Helper()
	w := &world{log: &written{}, status: &written{}}
	out := &output{log: w.log, status: w.status}
	w.table = newSessions(starter{args: []string{os.Args[0]}, env: append(os.Environ(), fakeVariable+"=stdio"), dir: t.TempDir(), out: out}, most)
	w.table.rest = 0
	going, stop := context.WithCancel(context.Background())
	server := httptest.NewServer(&bridge{sessions: w.table, out: out, going: going})
	t.Cleanup(func() {
		stop()
		w.table.close()
		server.Close()
	})
	w.url = server.URL
	return w
}

// settled waits until a session has no open exchange, and somebody listens to it.
func (w *world) settled(t *testing.T, id string) {
	t.Helper()
	eventually(t, func() bool {
		_, heard, ok := w.table.find(id).idle()
		return heard && ok
	}, func() string { return "the session is in use" })
}

// end waits for the host's end and returns its exit code.
func (w *world) end(t *testing.T) int {
	t.Helper()
	select {
	case code := <-w.code:
		w.code <- code
		return code
	case <-time.After(patience):
		t.Fatal("the host does not end")
		return 0
	}
}

func (w *world) await(t *testing.T, state agentenv.State) agentenv.Status {
	t.Helper()
	var last agentenv.Status
	eventually(t, func() bool {
		for _, s := range w.status.states(t) {
			if last = s; s.State == state {
				return true
			}
		}
		return false
	}, func() string { return w.status.String() })
	return last
}

func eventually(t *testing.T, ok func() bool, say func() string) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("it never came: %s", say())
		}
	}
}

// connect is a client of the official SDK.
func (w *world) connect(t *testing.T, options *mcp.ClientOptions) *mcp.ClientSession {
	t.Helper()
	client := mcp.NewClient(&mcp.Implementation{Name: "test", Version: "1"}, options)
	s, err := client.Connect(t.Context(), &mcp.StreamableClientTransport{Endpoint: w.url}, nil)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func callTool(t *testing.T, s *mcp.ClientSession, tool string, arguments map[string]any, meta ...mcp.Meta) (string, error) {
	t.Helper()
	params := &mcp.CallToolParams{Name: tool, Arguments: arguments, Meta: mcp.Meta{}}
	for _, m := range meta {
		maps.Copy(params.Meta, m)
	}
	res, err := s.CallTool(t.Context(), params)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(res.Content[0])
	if err != nil {
		t.Fatal(err)
	}
	var part struct{ Text string }
	if err := json.Unmarshal(raw, &part); err != nil {
		t.Fatal(err)
	}
	return part.Text, nil
}
