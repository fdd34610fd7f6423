package edge_test

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// post sends one message and throws the answer away.
func post(b *testing.B, url, key, session string, body []byte) {
	b.Helper()
	w := &world{t: b, url: url}
	res, err := http.DefaultClient.Do(w.request(http.MethodPost, "/mcp", key, session, body))
	if err != nil {
		b.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("%s, %v", res.Status, err)
	}
	_ = res.Body.Close()
}

// A tool of the agent's, by an agent that takes no time: what the gateway adds. Both
// ways run side by side; the ratio is what counts.
func BenchmarkPassThrough(b *testing.B) { passThrough(b, "42", "gateway", "bare proxy") }

// The same with an answer of 1 MiB. (Go's reverse proxy ends such answers early, now and
// then.)
func BenchmarkLargeAnswer(b *testing.B) {
	passThrough(b, strings.Repeat("x", 1<<20), "gateway", "the agent itself")
}

func passThrough(b *testing.B, text string, names ...string) {
	w := newWorld(b)
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		edgetest.Stream(rw)
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, []byte(`{"content":[{"type":"text","text":"`+text+`"}]}`)))
	}
	agent, err := url.Parse(w.agent.URL())
	if err != nil {
		b.Fatal(err)
	}
	proxy := &http.Server{Addr: freeAddress(b), Handler: &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(agent) }}} //nolint:gosec // a benchmark's own
	go func() { _ = proxy.ListenAndServe() }()
	b.Cleanup(func() { _ = proxy.Close() })
	body := call("add", `{"a":1,"b":2}`)
	through := map[string]string{"gateway": w.url, "bare proxy": "http://" + proxy.Addr, "the agent itself": w.agent.URL()}
	for _, name := range names {
		direct := &world{t: b, url: through[name]}
		edgetest.Until(b, name+" answers", func() bool {
			res, err := http.Get(direct.url)
			if err == nil {
				_ = res.Body.Close()
			}
			return err == nil
		})
		session := direct.open("alice")
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				post(b, direct.url, "alice", session, body)
			}
		})
	}
}

func BenchmarkNative(b *testing.B) {
	w := newWorld(b)
	session := w.open("alice")
	w.Runs.Put(&schedulerv1.Run{RunId: "r", WorkflowId: "w", TargetId: app, Name: "Refund", Status: schedulerv1.RunStatus_RUN_STATUS_RUNNING})
	for name, arguments := range map[string]string{"workflows-list": `{}`, "workflows-get_status": `{"run_id":"r"}`} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				post(b, w.url, "alice", session, call(name, arguments))
			}
		})
	}
}

// The same answers without a rollout and during one: what it costs to divide and to count.
func BenchmarkRollout(b *testing.B) {
	tr := newTrial(newWorld(b))
	session := tr.open("alice")
	for _, weight := range []int32{-1, 1000} {
		name := "none"
		if weight >= 0 {
			tr.weigh("rol_1", weight)
			name = "under way"
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				post(b, tr.url, "alice", session, call("add", `{}`))
			}
		})
	}
}
