package edge_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

func often(c *edge.Config) { c.Outcomes = 5 * time.Millisecond }

// reported waits until the scheduler knows of so many calls of a version.
func (tr *trial) reported(version string, calls int64) edgetest.VersionSeen {
	tr.t.Helper()
	edgetest.Until(tr.t, fmt.Sprintf("%d calls of %s are reported", calls, version), func() bool { return tr.Outcomes.Of(version).Calls >= calls })
	return tr.Outcomes.Of(version)
}

// Of a version that fails one call of twenty exactly that is told, by which users, and
// nothing of the time without a rollout.
func TestOutcomesAreReported(t *testing.T) {
	t.Parallel()
	const sessions, calls = 20, 10
	tr := newTrial(newWorld(t, often))
	for range 10 {
		tr.served("alice", tr.open("alice"))
	}
	var made, failed atomic.Int64
	fine := tr.canary.Call
	tr.canary.Call = func(w http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		if made.Add(1)%20 != 0 {
			fine(w, r, m)
			return
		}
		failed.Add(1)
		edgetest.Answer(w, m, map[string]any{"content": []any{}, "isError": true})
	}
	tr.weigh("rol_1", 500)
	users, unlucky, live := map[string]bool{}, map[string]bool{}, map[string]bool{}
	probes := made.Load()
	if failed.Load() > 0 {
		t.Fatal("the rollout was noticed too late for this test")
	}
	for i := range sessions {
		key := fmt.Sprintf("member-%d", i)
		session := tr.open(key)
		for range calls {
			before := failed.Load()
			switch got := tr.served(key, session); {
			case got == "ver_1":
				live[session] = true
			case failed.Load() > before:
				unlucky[session] = true
				fallthrough
			default:
				users[session] = true
			}
		}
	}
	tried := int64(len(users)) * calls
	want := map[string]edgetest.VersionSeen{
		// Who asked whether the rollout has begun is a user, too.
		"ver_2": {Calls: tried + probes, Failures: failed.Load(), Timed: tried + probes, Users: len(users) + 1, FailedUsers: len(unlucky)},
		"ver_1": {Calls: sessions*calls - tried, Timed: sessions*calls - tried, Users: len(live)},
	}
	for v, want := range want {
		if diff := cmp.Diff(want, tr.reported(v, want.Calls)); diff != "" {
			t.Errorf("what is told of %s, -want +got:\n%s", v, diff)
		}
	}
	if failed.Load() == 0 || len(live) == 0 {
		t.Errorf("%d calls failed and %d sessions had the live version; there must be some", failed.Load(), len(live))
	}
}

// What a call ends with says whether it failed, by whichever way it came.
func TestWhichCallsFailed(t *testing.T) {
	t.Parallel()
	tr := newTrial(newWorld(t, often))
	var answer atomic.Value
	tr.canary.Call = func(w http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		if how, ok := answer.Load().(func(http.ResponseWriter, jsonrpc.Message)); ok {
			how(w, m)
			return
		}
		saysVersion("ver_2")(w, r, m)
	}
	tr.weigh("rol_1", 1000)
	result := func(body string) func(http.ResponseWriter, jsonrpc.Message) {
		return func(w http.ResponseWriter, m jsonrpc.Message) {
			edgetest.Stream(w)
			edgetest.Event(w, jsonrpc.NewResult(m.ID, []byte(body)))
		}
	}
	plain := func(status int, body func(jsonrpc.Message) []byte) func(http.ResponseWriter, jsonrpc.Message) {
		return func(w http.ResponseWriter, m jsonrpc.Message) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = w.Write(body(m))
		}
	}
	large := strings.Repeat("x", 1<<20)
	tests := []struct {
		desc   string
		how    func(http.ResponseWriter, jsonrpc.Message)
		failed bool
	}{
		{"a result", result(`{"content":[],"isError":false}`), false},
		{"a result that is an error", result(`{"content":[],"isError":true}`), true},
		{"a word inside of a result", result(`{"content":[{"type":"text","text":"\"isError\":true","isError":true}]}`), false},
		{"a large result", plain(200, func(m jsonrpc.Message) []byte {
			return jsonrpc.NewResult(m.ID, []byte(`{"content":[{"type":"text","text":"`+large+`"}],"isError":false}`))
		}), false},
		{"a large result that is an error", plain(200, func(m jsonrpc.Message) []byte {
			return jsonrpc.NewResult(m.ID, []byte(`{"content":[{"type":"text","text":"`+large+`"}],"isError":true}`))
		}), true},
		{"an error", plain(200, func(m jsonrpc.Message) []byte { return jsonrpc.NewError(m.ID, -32603, "no") }), true},
		{"an error of the caller's", plain(200, func(m jsonrpc.Message) []byte { return jsonrpc.NewError(m.ID, jsonrpc.CodeInvalidParams, "no") }), false},
		{"a broken server", plain(502, func(jsonrpc.Message) []byte { return []byte("Bad Gateway") }), true},
		{"a stream without an answer", func(w http.ResponseWriter, _ jsonrpc.Message) { edgetest.Stream(w) }, true},
		{"a connection that breaks", func(http.ResponseWriter, jsonrpc.Message) { panic(http.ErrAbortHandler) }, true},
	}
	session := tr.open("alice")
	ways := []func(){
		func() { tr.do(http.MethodPost, "/mcp", "alice", session, call("add", `{}`)) },
		func() { tr.send(tr.plain("bob")) },
		func() { tr.modern("bob", "tools/call", "add", `{"name":"add"}`, nothing) },
	}
	for _, tt := range tests {
		for way, do := range ways {
			before := tr.reported("ver_2", 1)
			answer.Store(tt.how)
			do()
			now := tr.reported("ver_2", before.Calls+1)
			if got := now.Failures - before.Failures; now.Calls != before.Calls+1 || got == 1 != tt.failed {
				t.Errorf("%s, way %d: %d calls and %d failures more, want failed: %v", tt.desc, way, now.Calls-before.Calls, got, tt.failed)
			}
		}
	}
}
