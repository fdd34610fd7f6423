package e2e

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"
)

// Programs that this test's binary can be as well, each in a process of its own beside
// the cloud: what a gateway is measured with.
const (
	besideRole   = "AGENTCLOUD_BESIDE"
	besideOn     = "AGENTCLOUD_BESIDE_ON"
	besideOf     = "AGENTCLOUD_BESIDE_OF"
	besideKey    = "beside-key"
	roleBare     = "bare"
	roleFeatures = "features"
	roleUpstream = "upstream"
)

// besides runs the program that the environment names; it returns when that is none.
func besides() {
	var handler http.Handler
	switch os.Getenv(besideRole) {
	case "":
		return
	case roleBare:
		handler = bareProxy(os.Getenv(besideOf))
	case roleFeatures:
		handler = newFeatures(bareProxy(os.Getenv(besideOf)))
	case roleUpstream:
		handler = upstream()
	}
	_, _ = fmt.Fprintln(os.Stderr, http.ListenAndServe(os.Getenv(besideOn), handler)) //nolint:gosec // for minutes, on loopback
	os.Exit(1)
}

// startBeside starts one of them and says where it answers.
func startBeside(t *testing.T, role, name, target string) endpoint {
	t.Helper()
	port := freePort(t)
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), besideRole+"="+role, besideOf+"="+target, besideOn+"=127.0.0.1:"+port)
	out := &bytes.Buffer{}
	cmd.Stderr = out
	startProgram(t, cmd)
	awaitPort(t, port, out)
	return endpoint{name: name, url: "http://127.0.0.1:" + port + "/mcp", key: besideKey, pids: []int{cmd.Process.Pid}}
}

// bareProxy is Go's reverse proxy, and nothing else.
func bareProxy(target string) http.Handler {
	u, err := url.Parse(target)
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return &httputil.ReverseProxy{
		FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: &http.Transport{MaxIdleConns: 4096, MaxIdleConnsPerHost: 4096, IdleConnTimeout: 90 * time.Second, DisableCompression: true},
	}
}

// features are what a gateway for MCP cannot do without, each as cheap as the standard
// library has it: a key by its hash, a token bucket, a look at the message, a record of
// the request, and a trace.
type features struct {
	next http.Handler
	key  [sha256.Size]byte

	mu      sync.Mutex
	tokens  float64
	filled  time.Time
	records chan []byte
}

const plenty = 1e6

func newFeatures(next http.Handler) http.Handler {
	f := &features{next: next, key: sha256.Sum256([]byte(besideKey)), tokens: plenty, filled: time.Now(), records: make(chan []byte, 8192)}
	go func() {
		for line := range f.records {
			_, _ = io.Discard.Write(line)
		}
	}()
	return f
}

func (f *features) take(now time.Time) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.tokens, f.filled = min(plenty, f.tokens+now.Sub(f.filled).Seconds()*plenty), now
	f.tokens--
	return f.tokens >= 0
}

func (f *features) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := time.Now()
	key, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if sha256.Sum256([]byte(key)) != f.key || !f.take(began) {
		http.Error(w, "not you, or not now", http.StatusUnauthorized)
		return
	}
	r.Header.Del("Authorization")
	var message struct {
		Method string
		Params struct{ Name string }
	}
	if r.Method == http.MethodPost {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 4<<20))
		if err != nil {
			http.Error(w, "too large", http.StatusRequestEntityTooLarge)
			return
		}
		_ = json.Unmarshal(body, &message) // what it is not is the upstream's business
		r.Body = io.NopCloser(bytes.NewReader(body))
	}
	if r.Header.Get("Traceparent") == "" {
		var id [24]byte
		_, _ = rand.Read(id[:])
		r.Header.Set("Traceparent", "00-"+hex.EncodeToString(id[:16])+"-"+hex.EncodeToString(id[16:])+"-01")
	}
	f.next.ServeHTTP(w, r)
	line, _ := json.Marshal(map[string]any{
		"time": began, "method": message.Method, "tool": message.Params.Name, "trace": r.Header.Get("Traceparent"),
		"session": r.Header.Get("Mcp-Session-Id"), "took": time.Since(began),
	})
	f.records <- line
}

// upstream is an MCP server whose tools take no time: echo, big (a large answer) and
// steps (progress).
func upstream() http.Handler {
	s := mcp.NewServer(&mcp.Implementation{Name: "upstream", Version: "1"}, nil)
	text := func(text string) *mcp.CallToolResult {
		return &mcp.CallToolResult{Content: []mcp.Content{&mcp.TextContent{Text: text}}}
	}
	type echo struct {
		Message string `json:"message"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "echo"}, func(_ context.Context, _ *mcp.CallToolRequest, in echo) (*mcp.CallToolResult, any, error) {
		return text(in.Message), nil, nil
	})
	type big struct {
		Bytes int `json:"bytes"`
	}
	mcp.AddTool(s, &mcp.Tool{Name: "big"}, func(_ context.Context, _ *mcp.CallToolRequest, in big) (*mcp.CallToolResult, any, error) {
		return text(strings.Repeat("x", min(in.Bytes, 4<<20))), nil, nil
	})
	mcp.AddTool(s, &mcp.Tool{Name: "steps"}, func(ctx context.Context, req *mcp.CallToolRequest, _ struct{}) (*mcp.CallToolResult, any, error) {
		for i := range 20 {
			err := req.Session.NotifyProgress(ctx, &mcp.ProgressNotificationParams{ProgressToken: req.Params.GetProgressToken(), Progress: float64(i + 1), Total: 20})
			if err != nil {
				return nil, nil, err
			}
		}
		return text("done"), nil, nil
	})
	mux := http.NewServeMux()
	mux.Handle("/mcp", mcp.NewStreamableHTTPHandler(func(*http.Request) *mcp.Server { return s }, &mcp.StreamableHTTPOptions{DisableLocalhostProtection: true}))
	return mux
}
