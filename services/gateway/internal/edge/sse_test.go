package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// openSSE begins a session of the older transport and returns where to post.
func (w *world) openSSE(key string) (stream *events, post string) {
	w.t.Helper()
	stream = w.listen(w.request(http.MethodGet, "/sse", key, "", nil))
	post = stream.next()
	for _, message := range []string{hello, ready} {
		if res := w.do(http.MethodPost, post, key, "", []byte(message)); res.status != http.StatusAccepted {
			w.t.Fatalf("post = %+v", res)
		}
	}
	if m := parse(w.t, stream.next()); m.Result == nil {
		w.t.Fatalf("initialize = %+v", m)
	}
	return stream, post
}

func TestASessionBySSE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream, post := w.openSSE("alice")
	if !strings.HasPrefix(post, "/messages/?session_id=") {
		t.Errorf("endpoint = %s", post)
	}
	if res := w.do(http.MethodPost, post, "alice", "", call("add", `{"a":1}`)); res.status != http.StatusAccepted {
		t.Errorf("post = %+v", res)
	}
	if m := parse(t, stream.next()); string(m.ID) != `"c1"` || !strings.Contains(string(m.Result), `"a":1`) {
		t.Errorf("answer = %+v", m)
	}
	if res := w.do(http.MethodPost, post, "alice", "", call("workflows-list", `{}`)); res.status != http.StatusAccepted {
		t.Errorf("post = %+v", res)
	}
	if m := parse(t, stream.next()); !strings.Contains(string(m.Result), "Refund") {
		t.Errorf("answer = %+v", m)
	}
	if res := w.do(http.MethodPost, post, "bob", "", call("add", `{}`)); res.status != http.StatusNotFound {
		t.Errorf("a colleague in the session = %+v", res)
	}
	_ = stream.res.Body.Close()
	edgetest.Until(t, "the session ends with its stream", func() bool {
		open, _ := w.agent.Sessions()
		return open == 0 && w.do(http.MethodPost, post, "alice", "", call("add", `{}`)).status == http.StatusNotFound
	})
}

func TestAnAgentThatDiesInACallBySSE(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, _ jsonrpc.Message) {
		edgetest.Stream(rw)
		panic(http.ErrAbortHandler)
	}
	stream, post := w.openSSE("alice")
	w.do(http.MethodPost, post, "alice", "", call("add", `{}`))
	if m := parse(t, stream.next()); m.Error == nil || string(m.ID) != `"c1"` {
		t.Errorf("answer = %+v", m)
	}
}

func TestMessagesBySSEThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.MaxBody = 1000 })
	_, post := w.openSSE("alice")
	for name, test := range map[string]struct {
		post, body string
		want       int
	}{
		"no session":         {"/messages/", "{}", http.StatusBadRequest},
		"an unknown session": {"/messages/?session_id=x", "{}", http.StatusNotFound},
		"no JSON":            {post, "{", http.StatusBadRequest},
		"too large":          {post, strings.Repeat(" ", 1001) + "{}", http.StatusRequestEntityTooLarge},
	} {
		if res := w.do(http.MethodPost, test.post, "alice", "", []byte(test.body)); res.status != test.want {
			t.Errorf("%s: %+v, want %d", name, res, test.want)
		}
	}
}

func TestTooManyCallsAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.Limits = edge.LimitDefaults{} })
	release := make(chan struct{})
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		<-release
		edgetest.Echo(rw, r, m)
	}
	stream, post := w.openSSE("alice")
	taken := 0
	for ; taken < 10_000; taken++ {
		if res := w.do(http.MethodPost, post, "alice", "", call("add", `{}`)); res.status == http.StatusTooManyRequests {
			break
		}
	}
	close(release)
	if taken == 0 || taken == 10_000 {
		t.Fatalf("%d calls at once are taken", taken)
	}
	for range taken {
		stream.next()
	}
}
