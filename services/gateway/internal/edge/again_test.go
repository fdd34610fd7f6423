package edge_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// held makes the agent begin each call with a sign of life and end it when it may: of says
// how often it was made.
type held struct {
	mu   sync.Mutex
	made map[string]int
	may  map[string]chan struct{}
}

func (w *world) held() *held {
	h := &held{made: map[string]int{}, may: map[string]chan struct{}{}}
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		if m.Method != "tools/call" {
			edgetest.Echo(rw, r, m)
			return
		}
		c, _ := jsonrpc.ParseCall(m.Params)
		edgetest.Stream(rw)
		n := h.begin(string(c.Arguments))
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":1,"progress":1}}`))
		<-h.end(string(c.Arguments))
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, fmt.Appendf(nil, `{"content":[{"type":"text","text":"execution %d of %s"}]}`, n, strings.ReplaceAll(string(c.Arguments), `"`, ""))))
	}
	return h
}

func (h *held) begin(arguments string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.made[arguments]++
	return h.made[arguments]
}

func (h *held) of(arguments string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.made[arguments]
}

func (h *held) end(arguments string) chan struct{} {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.may[arguments] == nil {
		h.may[arguments] = make(chan struct{})
	}
	return h.may[arguments]
}

// calls hears what replicas tell each other of calls.
func (w *world) calls() *nats.Subscription {
	w.t.Helper()
	sub, err := w.bus.Conn().SubscribeSync("gateway.sessions.calls")
	if err == nil {
		err = w.bus.Conn().Flush()
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return sub
}

// bothKnow waits until replicas know that a session is used at the other, too: they tell
// of its calls then.
func (w *world) bothKnow(session string, h *held, replicas ...string) {
	w.t.Helper()
	told := w.calls()
	close(h.end(`{"n":1000}`))
	for _, at := range replicas {
		edgetest.Until(w.t, "calls are told of", func() bool {
			w.askAt(at, http.MethodPost, "alice", session, numbered(1000, 1000))
			_, err := told.NextMsg(20 * time.Millisecond)
			return err == nil
		})
		for _, err := told.NextMsg(20 * time.Millisecond); err == nil; {
			_, err = told.NextMsg(20 * time.Millisecond)
		}
	}
}

func numbered(id, n int) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"add","arguments":{"n":%d}}}`, id, n)
}

// A client whose connection breaks in a call repeats it, thrice and at whichever replica:
// each of 250 calls is made once, and all hear of it.
func TestACallIsRepeatedAfterItsConnectionBroke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.held()
	one, other, _ := w.twins()
	session := w.openAt(one, "alice")
	w.askAt(other, http.MethodPost, "alice", session, `{"jsonrpc":"2.0","id":"list","method":"tools/list"}`)
	w.bothKnow(session, h, one, other)
	var group errgroup.Group
	group.SetLimit(16) //nolint:mnd // enough to meet
	for n := range 250 {
		group.Go(func() error {
			first := w.listen(w.at([]string{one, other}[n%2], http.MethodPost, "alice", session, numbered(n, n)))
			first.next()
			first.cut()
			var again []*events
			for i := range 3 {
				repeat := w.listen(w.at([]string{one, other}[i%2], http.MethodPost, "alice", session, numbered(n, n)))
				if got := repeat.next(); !strings.Contains(got, "progress") {
					return fmt.Errorf("call %d: first comes %s", n, got)
				}
				again = append(again, repeat)
			}
			close(h.end(fmt.Sprintf(`{"n":%d}`, n)))
			for _, repeat := range again {
				if got := repeat.next(); !strings.Contains(got, fmt.Sprintf("execution 1 of {n:%d}", n)) || !strings.Contains(got, fmt.Sprintf(`"id":%d`, n)) {
					return fmt.Errorf("call %d: then comes %s", n, got)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for n := range 250 {
		if made := h.of(fmt.Sprintf(`{"n":%d}`, n)); made != 1 {
			t.Errorf("call %d was made %d times", n, made)
		}
	}
}

// The answer waits for a client that comes after the end, too.
func TestACallThatEndedMeanwhileIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]bool{"at the same replica": false, "at another": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			h := w.held()
			one, other, _ := w.twins()
			if !there {
				other = one
			}
			session := w.openAt(one, "alice")
			broke := w.calls()
			first := w.listen(w.at(one, http.MethodPost, "alice", session, numbered(1, 1)))
			first.next()
			first.cut()
			if _, err := broke.NextMsg(patience); err != nil {
				close(h.end(`{"n":1}`))
				t.Fatalf("that the connection broke is not told: %v", err)
			}
			close(h.end(`{"n":1}`))
			for _, key := range []string{"bob", "alice"} {
				res := w.askAt(other, http.MethodPost, key, session, numbered(1, 1))
				if key == "alice" && !strings.Contains(res.body, "execution 1 of") || key == "bob" && res.status != http.StatusNotFound {
					t.Errorf("%s is answered with %+v", key, res)
				}
			}
			if n := h.of(`{"n":1}`); n != 1 {
				t.Errorf("the call was made %d times", n)
			}
		})
	}
}

// An id with another body is another call, while the first is made and after it; so is the
// same again when the answer went out whole.
func TestIdsThatAreUsedAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.held()
	session := w.open("alice")
	first := w.listen(w.request(http.MethodPost, "/mcp", "alice", session, []byte(numbered(1, 1))))
	first.next()
	close(h.end(`{"n":2}`))
	if res := w.do(http.MethodPost, "/mcp", "alice", session, []byte(numbered(1, 2))); !strings.Contains(res.body, "execution 1 of {n:2}") {
		t.Errorf("the same id with another body = %+v", res)
	}
	close(h.end(`{"n":1}`))
	if got := first.next(); !strings.Contains(got, "execution 1 of {n:1}") {
		t.Errorf("the first is answered with %s", got)
	}
	first.cut()
	for _, want := range []string{"execution 2 of {n:2}", "execution 3 of {n:2}"} {
		if res := w.do(http.MethodPost, "/mcp", "alice", session, []byte(numbered(1, 2))); !strings.Contains(res.body, want) {
			t.Errorf("the same again = %+v, want %s", res, want)
		}
	}
}

// The replica that made a call has gone: nobody knows what became of it, and it is not made
// again.
func TestACallWhoseReplicaHasGoneIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	h := w.held()
	one, other, stop := w.twins()
	session := w.openAt(one, "alice")
	w.askAt(other, http.MethodPost, "alice", session, `{"jsonrpc":"2.0","id":"list","method":"tools/list"}`)
	w.bothKnow(session, h, one, other)
	broke := w.calls()
	first := w.listen(w.at(one, http.MethodPost, "alice", session, numbered(1, 1)))
	first.next()
	first.cut()
	for range 2 { // that it was begun, and that the connection broke
		if _, err := broke.NextMsg(patience); err != nil {
			t.Fatal(err)
		}
	}
	stop()
	close(h.end(`{"n":1}`))
	if res := w.askAt(other, http.MethodPost, "alice", session, numbered(1, 1)); res.status != http.StatusServiceUnavailable || !strings.Contains(res.body, "had been started") {
		t.Errorf("the same again = %+v", res)
	}
	if n := h.of(`{"n":1}`); n != 1 {
		t.Errorf("the call was made %d times", n)
	}
}

func TestARunIsStartedOnceByARepeatedCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	started, goOn := make(chan struct{}, 2), make(chan struct{})
	w.Runs.Refuse = func(m proto.Message) error {
		if _, starts := m.(*schedulerv1.StartRunRequest); starts {
			started <- struct{}{}
			<-goOn
		}
		return nil
	}
	session := w.open("alice")
	broke := w.calls()
	run := call("workflows-Refund-run", `{}`)
	ctx, cut := context.WithCancel(t.Context())
	over := make(chan struct{})
	go func() {
		defer close(over)
		if res, err := http.DefaultClient.Do(w.request(http.MethodPost, "/mcp", "alice", session, run).WithContext(ctx)); err == nil {
			_ = res.Body.Close()
			t.Error("the first is answered")
		}
	}()
	<-started
	cut()
	<-over
	if _, err := broke.NextMsg(patience); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	if res := w.do(http.MethodPost, "/mcp", "alice", session, run); !strings.Contains(res.body, "Refund-run") {
		t.Errorf("the same again = %+v", res)
	}
	if all, _ := edgetest.Requests[*schedulerv1.StartRunRequest](w.Runs); len(all) != 1 {
		t.Errorf("%d runs were started", len(all))
	}
}
