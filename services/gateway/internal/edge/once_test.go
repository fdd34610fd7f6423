package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// executions makes the agent count how often it did what.
func (w *world) executions() (of func(arguments string) int) {
	var mu sync.Mutex
	made, all := map[string]int{}, 0
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		c, _ := jsonrpc.ParseCall(m.Params)
		mu.Lock()
		made[string(c.Arguments)]++
		all++
		result, whole := fmt.Sprintf(`{"content":[{"type":"text","text":"execution %d"}]}`, all), all%2 == 0
		mu.Unlock()
		if whole {
			edgetest.Answer(rw, m, json.RawMessage(result))
			return
		}
		edgetest.Stream(rw)
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, []byte(result)))
	}
	return func(arguments string) int {
		mu.Lock()
		defer mu.Unlock()
		return made[arguments]
	}
}

// keyed sends a call with a key, in one of the ways that there are.
func (w *world) keyed(way int, at, session, key, arguments string) answer {
	switch way % 4 { //nolint:mnd // as many as there are cases
	case 0: // a session, the key in a header
		req := w.at(at, http.MethodPost, "alice", session, string(call("add", arguments)))
		req.Header.Set("Idempotency-Key", key)
		return w.send(req)
	case 1: // a session, the key in the message
		return w.askAt(at, http.MethodPost, "alice", session, `{"jsonrpc":"2.0","id":"other","method":"tools/call","params":{"name":"add","arguments":`+
			arguments+`,"_meta":{"io.agentcloud/idempotencyKey":"`+key+`"}}}`)
	case 2: // the stateless era
		req := sentTo(at, w.modernRequest("alice", "tools/call", "add", `{"name":"add","arguments":`+arguments+`}`, nothing))
		req.Header.Set("Idempotency-Key", key)
		return w.send(req)
	}
	req := sentTo(at, w.request(http.MethodPost, "/call_tool", "alice", "", []byte(`{"name":"add","arguments":`+arguments+`}`)))
	req.Header.Set("Idempotency-Key", key)
	return w.send(req)
}

func TestACallWithAKeyIsMadeOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	of := w.executions()
	one, other, _ := w.twins()
	session := w.openAt(one, "alice")
	var mu sync.Mutex
	said := map[string]map[string]bool{}
	var group errgroup.Group
	group.SetLimit(32) //nolint:mnd // enough to meet
	for i := range 1000 {
		group.Go(func() error {
			key := fmt.Sprintf("key-%d", i/4) //nolint:mnd // four of each
			at := []string{one, other}[i%2]
			res := w.keyed(i, at, session, key, fmt.Sprintf(`{"n":%d}`, i/4)) //nolint:mnd // as above
			_, text, ok := strings.Cut(res.body, `"text":"`)
			if res.status != http.StatusOK || !ok {
				return fmt.Errorf("%s is answered with %+v", key, res)
			}
			text, _, _ = strings.Cut(text, `"`)
			mu.Lock()
			defer mu.Unlock()
			if said[key] == nil {
				said[key] = map[string]bool{}
			}
			said[key][text] = true
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i := range 250 {
		if n := of(fmt.Sprintf(`{"n":%d}`, i)); n != 1 {
			t.Errorf("call %d was made %d times", i, n)
		}
		if all := said[fmt.Sprintf("key-%d", i)]; len(all) != 1 {
			t.Errorf("call %d was answered with %v", i, all)
		}
	}
}

func TestKeysOfCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	of := w.executions()
	one, other, _ := w.twins()
	session := w.openAt(one, "alice")
	first := w.keyed(0, one, session, "k", `{"n":1}`)
	if first.status != http.StatusOK {
		t.Fatal(first)
	}
	if res := w.keyed(1, other, session, "k", `{"n":1}`); res.status != http.StatusOK || !strings.Contains(res.body, `"id":"other"`) {
		t.Errorf("the answer to another request = %+v", res)
	}
	for way := range 4 {
		if res := w.keyed(way, other, session, "k", `{"n":2}`); res.status != http.StatusConflict || !strings.Contains(res.body, "another call") {
			t.Errorf("way %d: the key of another call = %+v", way, res)
		}
	}
	if res := w.keyed(0, one, session, strings.Repeat("k", 201), `{"n":3}`); res.status != http.StatusBadRequest {
		t.Errorf("a long key = %+v", res)
	}
	if of(`{"n":1}`) != 1 || of(`{"n":2}`)+of(`{"n":3}`) != 0 {
		t.Error("a call was made that must not be")
	}
}

// Who died in a call may have done it: it is not made again.
func TestACallWithAKeyThatBrokeOffIsNotMadeAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var made atomic.Int64
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, _ jsonrpc.Message) {
		made.Add(1)
		edgetest.Stream(rw)
	}
	one, other, _ := w.twins()
	session := w.openAt(one, "alice")
	for _, at := range []string{one, other, one} {
		if res := w.keyed(0, at, session, "k", `{"n":1}`); !strings.Contains(res.body, "may have been started") {
			t.Errorf("answered with %+v", res)
		}
	}
	if n := made.Load(); n != 1 {
		t.Errorf("the call was made %d times", n)
	}
}

func TestKeysReachRuns(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := w.request(http.MethodPost, "/mcp", "alice", w.open("alice"), call("workflows-Refund-run", `{}`))
	req.Header.Set("Idempotency-Key", "k")
	w.send(req)
	started, _ := edgetest.Requests[*schedulerv1.StartRunRequest](w.Runs)
	if len(started) != 1 || started[0].GetIdempotencyKey() != "u_alice/k" {
		t.Errorf("started %v", started)
	}
}
