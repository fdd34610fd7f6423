package edge_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// postAt posts a message of a session by SSE.
func (w *world) postAt(at, post, key, body string) answer {
	w.t.Helper()
	return w.send(sentTo(at, w.request(http.MethodPost, post, key, "", []byte(body))))
}

func TestASessionBySSETakesMessagesAtEveryReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other, stop := w.twins()
	stream := w.listen(sentTo(one, w.request(http.MethodGet, "/sse", "alice", "", nil)))
	post := stream.next()
	for _, message := range []string{hello, ready} {
		if res := w.postAt(other, post, "alice", message); res.status != http.StatusAccepted {
			t.Fatalf("post = %+v", res)
		}
	}
	if m := parse(t, stream.next()); m.Result == nil {
		t.Errorf("initialize = %+v", m)
	}
	called := `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"add","arguments":{ "a" : 1 }}}`
	if res := w.postAt(other, post, "alice", called); res.status != http.StatusAccepted {
		t.Errorf("post = %+v", res)
	}
	if m := parse(t, stream.next()); string(m.ID) != `"c1"` || !strings.Contains(string(m.Result), `"a":1`) {
		t.Errorf("answer = %+v", m)
	}
	passed := false
	for _, seen := range w.agent.Seen() {
		passed = passed || string(seen.Body) == called
	}
	if !passed {
		t.Error("the agent did not get the client's bytes")
	}
	for name, try := range map[string]answer{
		"somebody else's":     w.postAt(other, post, "bob", called),
		"of a replica unseen": w.postAt(other, post[:strings.Index(post, "&at=")]+"&at=NOBODY", "alice", called),
		"with a wild name":    w.postAt(other, post[:strings.Index(post, "&at=")]+"&at=%3E", "alice", called),
		"without a replica":   w.postAt(other, post[:strings.Index(post, "&at=")], "alice", called),
	} {
		if try.status != http.StatusNotFound {
			t.Errorf("%s = %+v", name, try)
		}
	}
	if res := w.postAt(other, post, "alice", `{`); res.status != http.StatusBadRequest {
		t.Errorf("no JSON = %+v", res)
	}
	stop()
	edgetest.Until(t, "the session has ended with its replica", func() bool {
		return w.postAt(other, post, "alice", called).status == http.StatusNotFound
	})
}

// inCall is an agent that asks in a call and says what it is told, in the same session.
func (w *world) inCall() {
	var mu sync.Mutex
	waiting := map[string]chan string{}
	w.agent.Told = func(session string, m jsonrpc.Message) {
		mu.Lock()
		defer mu.Unlock()
		if told, ok := waiting[session]; ok && m.IsResponse() {
			told <- string(m.Result)
		}
	}
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		told := make(chan string, 1)
		mu.Lock()
		waiting[r.Header.Get("Mcp-Session-Id")] = told
		mu.Unlock()
		edgetest.Stream(rw)
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"Sure?"}}`))
		select {
		case answer := <-told:
			edgetest.Event(rw, jsonrpc.NewResult(m.ID, json.RawMessage(`{"content":[],"told":`+answer+`}`)))
		case <-r.Context().Done():
		}
	}
}

func TestWhatAnAgentAsksInACallIsAnsweredAtAnyReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inCall()
	one, other, _ := w.twins()
	id := w.askAt(one, http.MethodPost, "alice", "", hello).header.Get("Mcp-Session-Id")
	w.askAt(other, http.MethodPost, "alice", id, ready)
	answered := func(at, second string) {
		t.Helper()
		stream := w.listen(sentTo(at, w.request(http.MethodPost, "/mcp", "alice", id, call("add", `{}`))))
		asked := parse(t, stream.next())
		if asked.Method != "elicitation/create" {
			t.Fatalf("question = %+v", asked)
		}
		if res := w.askAt(second, http.MethodPost, "alice", id, replyTo(asked, "accept")); res.status != http.StatusAccepted {
			t.Errorf("answer = %+v", res)
		}
		if m := parse(t, stream.next()); !strings.Contains(string(m.Result), `"accept"`) {
			t.Errorf("the call ends as %+v", m)
		}
	}
	answered(one, other)
	answered(other, one)
	w.agent.Forget() // as a restart would
	answered(other, one)
	w.agent.Forget()
	answered(one, other)
	if open, ever := w.agent.Sessions(); open != 1 || ever != 3 {
		t.Errorf("the agent has %d sessions and has had %d for one client with two restarts", open, ever)
	}
}

func TestAParkedCallGoesOnAtAnyReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.inCall()
	one, other, stop := w.twins()
	ask := func(at, key, more string) answer {
		return w.send(sentTo(at, w.modernRequest(key, "tools/call", "add", `{"name":"add","arguments":{"b":2, "a":1}`+more+`}`, everything)))
	}
	begin := func() string {
		t.Helper()
		var first asked
		if err := json.Unmarshal([]byte(ask(one, "alice", "").body), &first); err != nil || first.Result.RequestState == "" {
			t.Fatalf("the call is not parked: %v %+v", err, first)
		}
		return `,"inputResponses":{"q1":{"action":"accept","content":{"é":1}}},"requestState":"` + first.Result.RequestState + `"`
	}
	retry := begin()
	if res := ask(other, "bob", retry); res.status != http.StatusBadRequest {
		t.Errorf("somebody else's = %+v", res)
	}
	if res := ask(other, "alice", strings.Replace(retry, `"action":"accept"`, `"action":1`, 1)); res.status != http.StatusBadRequest {
		t.Errorf("an answer of no value = %+v", res)
	}
	if res := ask(other, "alice", retry); !strings.Contains(res.body, `"told":{"action":"accept","content":{"é":1}}`) || !strings.Contains(res.body, `"id":"m1"`) {
		t.Errorf("the retry = %+v", res)
	}
	if res := ask(other, "alice", retry); !strings.Contains(res.body, `"told":{"action":"accept"`) {
		t.Errorf("a retry of a call that is over = %+v", res)
	}
	lost := begin()
	stop()
	if res := ask(other, "alice", lost); !strings.Contains(res.body, "call_lost") {
		t.Errorf("a retry of a call whose replica is gone = %+v", res)
	}
}

func TestAClientThatGoesInARetryElsewhereEndsTheCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ended, answered := make(chan struct{}), make(chan struct{})
	w.agent.Told = func(_ string, m jsonrpc.Message) {
		if m.IsResponse() {
			close(answered)
		}
	}
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, _ jsonrpc.Message) {
		edgetest.Stream(rw)
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"Sure?"}}`))
		<-r.Context().Done()
		close(ended)
	}
	one, other, _ := w.twins()
	var first asked
	res := w.send(sentTo(one, w.modernRequest("alice", "tools/call", "add", `{"name":"add"}`, everything)))
	if err := json.Unmarshal([]byte(res.body), &first); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-answered
		cancel()
	}()
	params := `{"name":"add","inputResponses":{"q1":{"action":"accept"}},"requestState":"` + first.Result.RequestState + `"}`
	if res, err := http.DefaultClient.Do(sentTo(other, w.modernRequest("alice", "tools/call", "add", params, everything)).WithContext(ctx)); err == nil {
		_ = res.Body.Close()
	}
	<-ended
}

func TestAReplicaThatEndsInARetryLosesTheCall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other, stop := w.twins()
	w.agent.Told = func(_ string, m jsonrpc.Message) {
		if m.IsResponse() {
			go stop()
		}
	}
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, _ jsonrpc.Message) {
		edgetest.Stream(rw)
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"Sure?"}}`))
		<-r.Context().Done()
	}
	var first asked
	res := w.send(sentTo(one, w.modernRequest("alice", "tools/call", "add", `{"name":"add"}`, everything)))
	if err := json.Unmarshal([]byte(res.body), &first); err != nil {
		t.Fatal(err)
	}
	params := `{"name":"add","inputResponses":{"q1":{"action":"accept"}},"requestState":"` + first.Result.RequestState + `"}`
	if res := w.send(sentTo(other, w.modernRequest("alice", "tools/call", "add", params, everything))); !strings.Contains(res.body, "call_lost") {
		t.Errorf("the retry = %+v", res)
	}
}

func TestAQuestionOfARunIsAnsweredAtAnyReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Deployments.Grant(token, &schedulerv1.IdentifyAgentResponse{TargetId: app, AppId: app, OrgId: "org_1"})
	one, other, _ := w.twins()
	id := w.askAt(one, http.MethodPost, "alice", "", hello).header.Get("Mcp-Session-Id")
	w.askAt(other, http.MethodPost, "alice", id, ready)
	stream := w.listen(sentTo(one, w.request(http.MethodGet, "/mcp", "alice", id, nil)))
	w.askAt(other, http.MethodPost, "alice", id, string(call("workflows-Refund-run", `{"run_parameters":{}}`)))
	answers := w.ask()
	asked := parse(t, stream.next())
	bobs := w.askAt(one, http.MethodPost, "bob", "", hello).header.Get("Mcp-Session-Id")
	reply := `{"jsonrpc":"2.0","id":` + string(asked.ID) + `,"result":` + consented + `}`
	if res := w.askAt(other, http.MethodPost, "bob", bobs, strings.Replace(reply, "accept", "decline", 1)); res.status != http.StatusAccepted {
		t.Errorf("bob's reply = %+v", res)
	}
	if res := w.askAt(other, http.MethodPost, "alice", id, reply); res.status != http.StatusAccepted {
		t.Errorf("reply = %+v", res)
	}
	if got := <-answers; !strings.Contains(got.body, "accept") {
		t.Errorf("the run hears %+v", got)
	}
}

func TestAnAgentIsHeardForAClientThatCallsElsewhere(t *testing.T) {
	t.Parallel()
	for name, callFirst := range map[string]bool{"it listens, then calls": false, "it calls, then listens": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			one, other, _ := w.twins()
			id := w.askAt(one, http.MethodPost, "alice", "", hello).header.Get("Mcp-Session-Id")
			calls := func() {
				if res := w.askAt(other, http.MethodPost, "alice", id, string(call("add", `{}`))); res.status != http.StatusOK {
					t.Errorf("call = %+v", res)
				}
			}
			if callFirst {
				calls()
			}
			stream := w.listen(sentTo(one, w.request(http.MethodGet, "/mcp", "alice", id, nil)))
			if !callFirst {
				calls()
			}
			edgetest.Until(t, "the agent is listened to", func() bool {
				for _, seen := range w.agent.Seen() {
					if seen.Method == http.MethodGet {
						return true
					}
				}
				return false
			})
			w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`)
			if m := parse(t, stream.next()); m.Method != "notifications/tools/list_changed" {
				t.Errorf("message = %+v", m)
			}
		})
	}
}

func TestWhatARunSaysReachesAClientThatListensElsewhere(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Deployments.Grant(token, &schedulerv1.IdentifyAgentResponse{TargetId: app, AppId: app, OrgId: "org_1"})
	one, other, _ := w.twins()
	id := w.askAt(one, http.MethodPost, "alice", "", hello).header.Get("Mcp-Session-Id")
	stream := w.listen(sentTo(one, w.request(http.MethodGet, "/mcp", "alice", id, nil)))
	bobs := w.askAt(one, http.MethodPost, "bob", "", hello).header.Get("Mcp-Session-Id")
	w.listen(sentTo(one, w.request(http.MethodGet, "/mcp", "bob", bobs, nil)))
	w.askAt(other, http.MethodPost, "alice", id, `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"workflows-Refund-run","arguments":{"run_parameters":{}},"_meta":{"progressToken":"p7"}}}`)
	for _, said := range []string{
		`{"method":"notifications/message","params":{"data":"hi"}}`, `{"method":"notifications/progress","params":{"progress":1}}`, `{"method":"notifications/message","params":{"data":"bye"}}`,
	} {
		if res := w.phone("/internal/session/by-run/Refund-run/notify", token, said); res.status != http.StatusOK {
			t.Errorf("the run says %s: %+v", said, res)
		}
	}
	for _, want := range []string{`"hi"`, `"p7"`, `"bye"`} {
		if got := stream.next(); !strings.Contains(got, want) {
			t.Errorf("the client reads %s, want %s", got, want)
		}
	}
}

// The client that started a run is asked, wherever it listens; the user's others only
// when it is gone.
func TestTheStarterOfARunIsAskedFirstAtAnyReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Deployments.Grant(token, &schedulerv1.IdentifyAgentResponse{TargetId: app, AppId: app, OrgId: "org_1"})
	one, other, _ := w.twins()
	id := w.openAt(one, "alice")
	stream := w.listen(sentTo(one, w.request(http.MethodGet, "/mcp", "alice", id, nil)))
	window := w.listen(sentTo(other, w.request(http.MethodGet, "/mcp", "alice", w.openAt(other, "alice"), nil)))
	w.askAt(one, http.MethodPost, "alice", id, string(call("workflows-Refund-run", `{"run_parameters":{}}`)))
	answers := w.ask()
	first := parse(t, stream.next())
	w.askAt(one, http.MethodPost, "alice", id, `{"jsonrpc":"2.0","id":`+string(first.ID)+`,"result":`+consented+`}`)
	<-answers
	w.askAt(one, http.MethodDelete, "alice", id, "")
	answers = w.ask()
	second := parse(t, window.next())
	if string(second.ID) == string(first.ID) || second.Method != "elicitation/create" {
		t.Fatalf("the other window was asked %s %s, which its neighbour was asked before", second.Method, second.ID)
	}
	w.askAt(other, http.MethodPost, "alice", window.res.Request.Header.Get("Mcp-Session-Id"), `{"jsonrpc":"2.0","id":`+string(second.ID)+`,"result":`+consented+`}`)
	<-answers
}
