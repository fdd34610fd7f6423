package edge_test

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"
)

// limit sets limits once the gateway knows that it is alone.
func (w *world) limit(policies ...limits.Policy) {
	w.t.Helper()
	edgetest.Until(w.t, "the gateway knows that it is alone", func() bool {
		n, known := w.edge.Limiter().Replicas()
		return known && n == 1 && w.edge.Ready()
	})
	w.edge.Limiter().Set(policies)
}

// limited reads a refusal.
type limited struct {
	ID    json.RawMessage `json:"id"`
	Error struct {
		Code    int    `json:"code"`
		Message string `json:"message"`
		Data    struct {
			Limit        string `json:"limit"`
			RetryAfterMs int64  `json:"retryAfterMs"`
		} `json:"data"`
	} `json:"error"`
}

// wantLimited checks the refusal of a call by the limit with that id.
func wantLimited(t *testing.T, text, id, limit string) {
	t.Helper()
	var got limited
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	wait := got.Error.Data.RetryAfterMs
	if string(got.ID) != id || got.Error.Code != 42900 || got.Error.Data.Limit != limit || wait < 90_000 || wait > 100_001 ||
		!strings.HasPrefix(got.Error.Message, "the limit "+limit+" (0.01 calls per second) is reached; try again in 1m") {
		t.Errorf("refusal = %s", text)
	}
}

func wantRetryAfter(t *testing.T, res answer, least, most int) {
	t.Helper()
	seconds, err := strconv.Atoi(res.header.Get("Retry-After"))
	if res.status != http.StatusTooManyRequests || err != nil || seconds < least || seconds > most {
		t.Errorf("= %d, Retry-After %q, %s; want 429, between %d and %d", res.status, res.header.Get("Retry-After"), res.body, least, most)
	}
}

// hundredth is one call in a hundred seconds.
func hundredth(id string) limits.Policy {
	return limits.Policy{ID: id, OrgID: "org_1", TargetID: app, CallsPerSecond: 0.01, Burst: 1}
}

func TestARateHoldsOnEveryWayIn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open("alice")
	ways := map[string]struct {
		id   string
		call func() answer
	}{
		"streamable":    {`"c1"`, func() answer { return w.do(http.MethodPost, "/mcp", "alice", session, call("add", `{}`)) }},
		"workflow-tool": {`"c1"`, func() answer { return w.do(http.MethodPost, "/mcp", "alice", session, call("workflows-list", `{}`)) }},
		"list": {`"l"`, func() answer {
			return w.do(http.MethodPost, "/mcp", "alice", session, []byte(`{"jsonrpc":"2.0","id":"l","method":"tools/list"}`))
		}},
		"stateless":       {`"m1"`, func() answer { return w.modern("alice", "tools/call", "add", `{"name":"add","arguments":{}}`, nothing) }},
		"stateless-list":  {`"m1"`, func() answer { return w.modern("alice", "tools/list", "", `{}`, nothing) }},
		"somebody-else's": {`"m1"`, func() answer { return w.modern("bob", "tools/list", "", `{}`, nothing) }},
	}
	for name, way := range ways {
		w.limit(hundredth(name))
		if res := way.call(); res.status != http.StatusOK {
			t.Errorf("%s: the first call = %+v", name, res)
		}
		res := way.call()
		wantRetryAfter(t, res, 90, 100)
		wantLimited(t, res.body, way.id, name)
	}
}

func TestARateHoldsBySSE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream, post := w.openSSE("alice")
	w.limit(hundredth("lim_1"))
	for range 2 {
		if res := w.do(http.MethodPost, post, "alice", "", call("add", `{"a":1}`)); res.status != http.StatusAccepted {
			t.Fatalf("post = %+v", res)
		}
	}
	texts := stream.next() + stream.next() // in any order: calls of a session run beside each other
	if strings.Count(texts, `"a":1`) != 1 || strings.Count(texts, `"code":42900`) != 1 {
		t.Errorf("answers = %s, want a result and a refusal", texts)
	}
}

func TestARateHoldsByPlainHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limit(hundredth("lim_1"))
	plain := []byte(`{"name":"add","arguments":{}}`)
	if res := w.do(http.MethodPost, "/call_tool", "alice", "", plain); res.status != http.StatusOK {
		t.Errorf("the first call = %+v", res)
	}
	res := w.do(http.MethodPost, "/call_tool", "alice", "", plain)
	wantRetryAfter(t, res, 90, 100)
	var about struct {
		Error, Limit string
		RetryAfterMs int64
	}
	if err := json.Unmarshal([]byte(res.body), &about); err != nil || !strings.Contains(about.Error, "lim_1") || about.Limit != "lim_1" || about.RetryAfterMs < 90_000 {
		t.Errorf("refusal = %s, %v", res.body, err)
	}
}

func TestALimitOfATool(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open("alice")
	ofAdd := hundredth("lim_1")
	ofAdd.Tool = "add"
	w.limit(ofAdd)
	add := func() int { return w.do(http.MethodPost, "/mcp", "alice", session, call("add", `{}`)).status }
	if first, second := add(), add(); first != http.StatusOK || second != http.StatusTooManyRequests {
		t.Errorf("add = %d, %d; want one answer and one refusal", first, second)
	}
	if res := w.modern("alice", "tools/call", "add", `{"name":"add","arguments":{}}`, nothing); res.status != http.StatusTooManyRequests {
		t.Errorf("add in the other era = %+v, want a refusal", res)
	}
	for name, res := range map[string]answer{
		"another tool":  w.do(http.MethodPost, "/mcp", "alice", session, call("workflows-list", `{}`)),
		"a list":        w.do(http.MethodPost, "/mcp", "alice", session, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)),
		"the other era": w.modern("alice", "tools/list", "", `{}`, nothing),
	} {
		if res.status != http.StatusOK {
			t.Errorf("%s = %+v", name, res)
		}
	}
}

// A workflow or tool that has a limit is not to be had without it by workflows-run, nor as
// a task.
func TestALimitOfAToolHoldsForItsOtherNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open("alice")
	ways := map[string]func() answer{
		"by workflows-run": func() answer {
			return w.do(http.MethodPost, "/mcp", "alice", session, call("workflows-run", `{"workflow_name":"Refund"}`))
		},
		"by workflows-run, stateless": func() answer {
			return w.modern("alice", "tools/call", "workflows-run", `{"name":"workflows-run","arguments":{"workflow_name":"Refund"}}`, nothing)
		},
		"by workflows-run, in plain HTTP": func() answer {
			return w.do(http.MethodPost, "/call_tool", "alice", "", []byte(`{"name":"workflows-run","arguments":{"workflow_name":"Refund"}}`))
		},
		"as a task": func() answer {
			return w.modern("alice", "tools/call", "workflows-Refund-run", `{"name":"workflows-Refund-run","arguments":{}}`, everything)
		},
	}
	for name, way := range ways {
		limit := hundredth(name)
		limit.Tool = "workflows-Refund-run"
		w.limit(limit)
		if res := way(); res.status != http.StatusOK {
			t.Errorf("%s: the first call = %+v", name, res)
		}
		wantRetryAfter(t, way(), 90, 100)
		if res := w.do(http.MethodPost, "/mcp", "alice", session, call("workflows-run", `{"workflow_name":"dig"}`)); res.status != http.StatusOK {
			t.Errorf("%s: another workflow = %+v, want it to go on", name, res)
		}
	}
	ofTool := hundredth("dig")
	ofTool.Tool = "dig"
	w.limit(ofTool)
	for n, res := range []answer{
		w.do(http.MethodPost, "/mcp", "alice", session, call("dig", `{}`)),
		w.do(http.MethodPost, "/mcp", "alice", session, call("workflows-run", `{"workflow_name":"dig"}`)),
	} {
		if refused := res.status == http.StatusTooManyRequests; refused != (n == 1) {
			t.Errorf("call %d of dig = %+v, want the second refused", n+1, res)
		}
	}
}

func TestWhatNoLimitCounts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	session := w.open("alice")
	w.limit(hundredth("lim_1"))
	if res := w.do(http.MethodPost, "/mcp", "alice", session, call("add", `{}`)); res.status != http.StatusOK {
		t.Fatalf("the one call = %+v", res)
	}
	w.open("alice") // initialize, and the notification after it
	for name, res := range map[string]answer{
		"ping":     w.do(http.MethodPost, "/mcp", "alice", session, []byte(`{"jsonrpc":"2.0","id":1,"method":"ping"}`)),
		"discover": w.modern("alice", "server/discover", "", `{}`, nothing),
	} {
		if res.status != http.StatusOK {
			t.Errorf("%s = %+v", name, res)
		}
	}
}

func TestCallsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	began, release := make(chan struct{}), make(chan struct{})
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		began <- struct{}{}
		<-release
		edgetest.Echo(rw, r, m)
	}
	session := w.open("alice")
	w.limit(limits.Policy{ID: "lim_1", Concurrent: 1, Tool: "add"})
	add := func() answer { return w.do(http.MethodPost, "/mcp", "alice", session, call("add", `{}`)) }
	first := make(chan answer)
	go func() { first <- add() }()
	<-began
	wantRetryAfter(t, add(), 1, 1)
	wantRetryAfter(t, w.modern("alice", "tools/call", "add", `{"name":"add","arguments":{}}`, nothing), 1, 1)
	release <- struct{}{}
	if res := <-first; res.status != http.StatusOK {
		t.Errorf("the first call = %+v", res)
	}
	go func() { <-began; release <- struct{}{} }()
	edgetest.Until(t, "there is room again", func() bool { return add().status == http.StatusOK })
}

// An open subscription is no call at work.
func TestASubscriptionHoldsNoPlace(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limit(limits.Policy{ID: "lim_1", Concurrent: 1})
	stream := w.listen(w.modernRequest("alice", "subscriptions/listen", "", `{"notifications":{"toolsListChanged":true}}`, nothing))
	stream.next()
	if res := w.modern("alice", "tools/list", "", `{}`, nothing); res.status != http.StatusOK {
		t.Errorf("a call beside an open subscription = %+v", res)
	}
}

func TestLimitsFollowTheRegistry(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limit()
	status := func() int { return w.modern("alice", "tools/list", "", `{}`, nothing).status }
	until := func(what string, want int) {
		t.Helper()
		edgetest.Until(t, what, func() bool { return status() == want })
	}
	w.Limits.Set(&registryv1.Limit{LimitId: "lim_1", OrgId: "org_1", AppId: app, CallsPerSecond: 0.01, Burst: 1})
	until("the limit holds", http.StatusTooManyRequests)
	asked := w.Limits.Opens()
	w.Limits.Away(true)
	edgetest.Until(t, "the registry is asked in vain", func() bool { return w.Limits.Opens() > asked })
	if got := status(); got != http.StatusTooManyRequests {
		t.Errorf("while the registry is away: %d, want what was known before", got)
	}
	w.Limits.Delete("lim_1")
	w.Limits.Away(false)
	until("the limit is gone", http.StatusOK)
}

func TestReplicasShareLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.limit()
	w.replica()
	edgetest.Until(t, "the gateway knows the other", func() bool {
		n, _ := w.edge.Limiter().Replicas()
		return n == 2
	})
}

// 64 callers at two replicas: no more is let through than the limit says, and who is
// refused hears when to come back.
func TestALimitHoldsAcrossReplicas(t *testing.T) {
	t.Parallel()
	const rate, burst = 50, 20
	w := newWorld(t, func(c *edge.Config) { c.Limits = edge.LimitDefaults{} })
	w.Limits.Set(&registryv1.Limit{LimitId: "lim_1", OrgId: "org_1", CallsPerSecond: rate, Burst: burst, Caller: limits.Together})
	one, other, _ := w.twins()
	edgetest.Until(t, "the limit holds at both, and each knows the other", func() bool {
		n, known := w.edge.Limiter().Replicas()
		return known && n == 3 && w.refused(one) && w.refused(other)
	})
	var let, refused atomic.Int64
	began := time.Now()
	var group sync.WaitGroup
	for i := range 64 {
		group.Go(func() {
			for time.Since(began) < time.Second {
				res := w.send(sentTo([]string{one, other}[i%2], w.modernRequest("alice", "tools/list", "", `{}`, nothing)))
				switch {
				case res.status == http.StatusOK:
					let.Add(1)
				case res.status == http.StatusTooManyRequests && res.header.Get("Retry-After") != "":
					refused.Add(1)
				default:
					t.Errorf("answered with %+v", res)
				}
			}
		})
	}
	group.Wait()
	if most := int64(rate*time.Since(began).Seconds()) + burst; let.Load() > most || let.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d requests were let through in %s and %d refused; at most %d may be", let.Load(), time.Since(began), refused.Load(), most)
	}
}

// refused says whether a gateway refuses requests now.
func (w *world) refused(at string) bool {
	for range 100 {
		if w.send(sentTo(at, w.modernRequest("alice", "tools/list", "", `{}`, nothing))).status == http.StatusTooManyRequests {
			return true
		}
	}
	return false
}

func TestTheDefaultLimit(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Limits = edge.LimitDefaults{CallsPerSecond: 0.01, Burst: 1} })
	w.limit()
	list := func(key string) int { return w.modern(key, "tools/list", "", `{}`, nothing).status }
	for _, key := range []string{"alice", "bob"} { // each by itself
		if first, second := list(key), list(key); first != http.StatusOK || second != http.StatusTooManyRequests {
			t.Errorf("%s: %d, %d; want one answer and one refusal", key, first, second)
		}
	}
}

func TestLimitDefaultsAreChecked(t *testing.T) {
	t.Parallel()
	for want, defaults := range map[string]edge.LimitDefaults{
		"":             {CallsPerSecond: 1, Burst: 2, Concurrent: 3},
		"negative":     {Concurrent: -1},
		"at least":     {CallsPerSecond: 1e-9},
		"needs":        {Burst: 1, Concurrent: 1},
		"calls_per_se": {CallsPerSecond: -1},
	} {
		err := defaults.Validate()
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("Validate(%+v) = %v, want %q", defaults, err, want)
		}
	}
}
