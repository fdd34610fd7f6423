package edgetest

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// Seen is one request as an agent's server got it.
type Seen struct {
	Method, Path, Host string
	Header             http.Header
	Body               []byte
}

// Agent is an agent's MCP server over streamable HTTP, with sessions.
type Agent struct {
	// Call answers a tool call, and everything else that no default answers; it writes
	// the HTTP answer. It is set before the first request.
	Call func(w http.ResponseWriter, r *http.Request, m jsonrpc.Message)
	// Hello, when it is set, answers initialize.
	Hello func(w http.ResponseWriter, r *http.Request, m jsonrpc.Message)
	// Told, when it is set before the first request, hears what needs no answer, with the
	// session that it came in.
	Told func(session string, m jsonrpc.Message)
	// Rest, when it is set before the first request, answers who asks for the rest of a
	// stream (Last-Event-ID).
	Rest func(w http.ResponseWriter, r *http.Request)
	// Silent agents have no stream of their own.
	Silent bool

	address  string
	server   *httptest.Server
	mu       sync.Mutex
	seen     []Seen
	sessions map[string]chan []byte
	opened   int

	listeners atomic.Int64
}

// NewAgent returns an agent that is up until the test ends.
func NewAgent(t testing.TB) *Agent {
	t.Helper()
	a := &Agent{sessions: map[string]chan []byte{}, Call: Echo}
	a.Start(t)
	t.Cleanup(a.Stop)
	return a
}

// URL is where it answers, also while it is down.
func (a *Agent) URL() string { return "http://" + a.address }

// Start starts it again at the same address, with no memory of sessions.
func (a *Agent) Start(t testing.TB) {
	t.Helper()
	at := a.address
	if at == "" {
		at = "127.0.0.1:0"
	}
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", at)
	if err != nil {
		t.Fatal(err)
	}
	a.Forget()
	a.address = lis.Addr().String()
	a.server = &httptest.Server{Listener: lis, Config: &http.Server{Handler: a}} //nolint:gosec // a test's own
	a.server.Start()
}

// Stop cuts every connection and refuses new ones.
func (a *Agent) Stop() {
	a.server.CloseClientConnections()
	a.server.Close()
}

// Forget drops the sessions, as a restart would.
func (a *Agent) Forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.sessions = map[string]chan []byte{}
}

// Sessions is how many sessions it has, and has ever had.
func (a *Agent) Sessions() (open, ever int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.sessions), a.opened
}

// Seen are the requests so far.
func (a *Agent) Seen() []Seen {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Seen(nil), a.seen...)
}

// Say gives a message to every session's own stream.
func (a *Agent) Say(message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, out := range a.sessions {
		out <- []byte(message)
	}
}

// Listeners is how many of its own streams are open.
func (a *Agent) Listeners() int { return int(a.listeners.Load()) }

// SayTo gives a message to one session's own stream.
func (a *Agent) SayTo(session, message string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if out, ok := a.sessions[session]; ok {
		out <- []byte(message)
	}
}

// ServeHTTP serves /mcp.
func (a *Agent) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	id := r.Header.Get("Mcp-Session-Id")
	a.mu.Lock()
	a.seen = append(a.seen, Seen{r.Method, r.URL.Path, r.Host, r.Header.Clone(), body})
	out, known := a.sessions[id]
	a.mu.Unlock()
	m, err := jsonrpc.Parse(body)
	switch {
	case r.URL.Path != "/mcp":
		http.NotFound(w, r)
	case r.Method == http.MethodPost && err == nil && m.Method == "initialize" && a.Hello != nil:
		a.Hello(w, r, m)
	case r.Method == http.MethodPost && err == nil && m.Method == "initialize":
		a.hello(w, m)
	case !known:
		http.Error(w, "Session not found", http.StatusNotFound)
	case r.Method == http.MethodDelete:
		a.mu.Lock()
		defer a.mu.Unlock()
		delete(a.sessions, id)
	case r.Method == http.MethodGet && a.Rest != nil && r.Header.Get("Last-Event-Id") != "":
		a.Rest(w, r)
	case r.Method == http.MethodGet && a.Silent:
		w.WriteHeader(http.StatusMethodNotAllowed)
	case r.Method == http.MethodGet:
		a.listeners.Add(1)
		defer a.listeners.Add(-1)
		talk(w, r, out)
	case !m.IsRequest():
		if a.Told != nil && err == nil {
			a.Told(id, m)
		}
		w.WriteHeader(http.StatusAccepted)
	default:
		a.Call(w, r, m)
	}
}

// Greet answers initialize.
func (a *Agent) Greet(w http.ResponseWriter, m jsonrpc.Message) { a.hello(w, m) }

func (a *Agent) hello(w http.ResponseWriter, m jsonrpc.Message) {
	var asked struct {
		ProtocolVersion string `json:"protocolVersion"`
	}
	_ = json.Unmarshal(m.Params, &asked)
	a.mu.Lock()
	a.opened++
	id := "agent-session-" + strconv.Itoa(a.opened)
	a.sessions[id] = make(chan []byte, 1000)
	a.mu.Unlock()
	w.Header().Set("Mcp-Session-Id", id)
	Answer(w, m, map[string]any{
		"protocolVersion": asked.ProtocolVersion, "capabilities": map[string]any{"tools": map[string]any{}, "logging": map[string]any{}},
		"serverInfo": map[string]string{"name": "agent", "version": "1"},
	})
}

func talk(w http.ResponseWriter, r *http.Request, out <-chan []byte) {
	Stream(w)
	for {
		select {
		case <-r.Context().Done():
			return
		case message := <-out:
			Event(w, message)
		}
	}
}

// Echo answers a call with its own params.
func Echo(w http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
	Answer(w, m, map[string]any{"content": []any{}, "structuredContent": m.Params})
}

// Answer answers in a stream of one event, as the framework's server does.
func Answer(w http.ResponseWriter, m jsonrpc.Message, result any) {
	Stream(w)
	Event(w, jsonrpc.NewResult(m.ID, jsonrpc.Encode(result)))
}

// Stream begins a stream of events.
func Stream(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/event-stream")
	_ = http.NewResponseController(w).Flush()
}

// Event writes an event at once.
func Event(w http.ResponseWriter, message []byte) {
	_, _ = w.Write([]byte("event: message\r\ndata: " + string(message) + "\r\n\r\n"))
	_ = http.NewResponseController(w).Flush()
}
