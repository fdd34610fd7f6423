package edge_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// waiter is a version's agent whose calls wait for what their client says: "hold" says
// nothing before, "early" begins its answer, "ask" asks, and "regret" takes that back.
type waiter struct {
	*edgetest.Agent
	version string
	began   chan struct{}

	mu    sync.Mutex
	waits map[string]chan string // by session and id of the call, or of what it asked
	heard []string
}

// asks is what every agent asks first; each counts from the same number.
const asks = `{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{"_meta":{"progressToken":7},"message":"Sure?"}}`

func newWaiter(agent *edgetest.Agent, version string) *waiter {
	a := &waiter{Agent: agent, version: version, began: make(chan struct{}, 100), waits: map[string]chan string{}}
	agent.Told, agent.Call = a.told, a.call
	return a
}

func (a *waiter) told(session string, m jsonrpc.Message) {
	var params struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	_ = json.Unmarshal(m.Params, &params)
	a.mu.Lock()
	defer a.mu.Unlock()
	if m.Method != "notifications/initialized" {
		a.heard = append(a.heard, strings.TrimSpace(fmt.Sprintf("%s %s%s%s", m.Method, m.ID, m.Params, m.Result)))
	}
	if c := a.waits[session+" "+string(m.ID)]; m.IsResponse() && c != nil {
		c <- string(m.Result)
	}
	if c := a.waits[session+" "+string(params.RequestID)]; c != nil {
		c <- "cancelled"
	}
}

// hears is what the agent has been told that holds a text, as far as it needs no answer.
func (a *waiter) hears(text string) (found []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, heard := range a.heard {
		if strings.Contains(heard, text) {
			found = append(found, heard)
		}
	}
	return found
}

func (a *waiter) call(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
	tool, id := jsonrpc.NameOf(m.Params), string(m.ID)
	if m.Method != "tools/call" || tool == "add" {
		saysVersion(a.version)(rw, r, m)
		return
	}
	if tool == "ask" || tool == "regret" {
		id = "7"
	}
	c := make(chan string, 10)
	a.mu.Lock()
	a.waits[r.Header.Get("Mcp-Session-Id")+" "+id] = c
	a.mu.Unlock()
	if tool != "hold" {
		edgetest.Stream(rw)
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"begun"}}`))
	}
	if id == "7" {
		edgetest.Event(rw, []byte(asks))
	}
	if tool == "regret" {
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":7}}`))
		c <- "nothing"
	}
	a.began <- struct{}{}
	select {
	case told := <-c:
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, jsonrpc.Encode(map[string]any{"content": []any{}, "told": told, "by": a.version})))
	case <-r.Context().Done():
	}
}

// moving is a trial at two gateways whose agents wait.
type moving struct {
	*trial
	live, tried *waiter
	one, other  string
	stop        func()
}

func newMoving(t *testing.T) *moving {
	t.Helper()
	mv := &moving{trial: newTrial(newWorld(t))}
	mv.live, mv.tried = newWaiter(mv.agent, "ver_1"), newWaiter(mv.canary, "ver_2")
	mv.one, mv.other, mv.stop = mv.twins()
	mv.everywhere = []string{mv.one, mv.other}
	return mv
}

// begins has a session call a tool, and returns its answer when that is whole.
func (mv *moving) begins(at, session, tool, id string) (ends chan string) {
	mv.t.Helper()
	ends = make(chan string, 1)
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":%q,"arguments":{}}}`, id, tool)
	go func() { ends <- mv.askAt(at, http.MethodPost, "alice", session, body).body }()
	<-mv.live.began
	return ends
}

// asked calls a tool that asks, and returns its stream and the question.
func (mv *moving) asked(at, session, id string) (*events, rpc) {
	mv.t.Helper()
	body := fmt.Sprintf(`{"jsonrpc":"2.0","id":%q,"method":"tools/call","params":{"name":"ask","arguments":{}}}`, id)
	stream := mv.listen(mv.at(at, http.MethodPost, "alice", session, body))
	stream.next()
	q := parse(mv.t, stream.next())
	if q.Method != "elicitation/create" {
		mv.t.Fatalf("the agent asks %+v", q)
	}
	return stream, q
}

// moves gives all sessions the other version, at both gateways.
func (mv *moving) moves(sessions ...string) {
	mv.t.Helper()
	mv.weigh("rol_1", 1000)
	for _, session := range sessions {
		for _, at := range mv.everywhere {
			if got := version(mv.askAt(at, http.MethodPost, "alice", session, string(call("add", `{}`)))); got != "ver_2" {
				mv.t.Fatalf("a session that moved is served by %s", got)
			}
		}
	}
}

// say sends what needs no answer.
func (mv *moving) say(at, session, body string) answer {
	mv.t.Helper()
	return mv.askAt(at, http.MethodPost, "alice", session, body)
}

func replyTo(q rpc, action string) string {
	return `{"jsonrpc":"2.0","id":` + string(q.ID) + `,"result":{"action":"` + action + `"}}`
}

// A call is cancelled in the conversation that carries it, whichever replica hears of it:
// before its session has moved and after, and whether its answer has begun or not.
func TestACallIsCancelledWhereItIsMade(t *testing.T) {
	t.Parallel()
	mv := newMoving(t)
	for _, after := range []bool{false, true} {
		var sessions []string
		var ends []chan string
		for i, tool := range []string{"hold", "early", "hold", "early"} {
			session := mv.openAt(mv.everywhere[i/2], "alice")
			sessions, ends = append(sessions, session), append(ends, mv.begins(mv.one, session, tool, fmt.Sprintf("%v-%d", after, i)))
		}
		if after {
			mv.moves(sessions...)
		}
		for i, session := range sessions {
			cancelled := fmt.Sprintf(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"%v-%d"}}`, after, i)
			at := []string{mv.one, mv.other, mv.other, mv.one}[i]
			if res := mv.say(at, session, cancelled); res.status != http.StatusAccepted {
				t.Errorf("cancelled = %+v", res)
			}
			if end := <-ends[i]; !strings.Contains(end, `"by":"ver_1"`) || !strings.Contains(end, `"told":"cancelled"`) {
				t.Errorf("call %d ends with %s, after a move: %v", i, end, after)
			}
			if got := mv.live.hears(fmt.Sprintf("%v-%d", after, i)); len(got) != 1 {
				t.Errorf("its agent hears %q, after a move: %v", got, after)
			}
		}
	}
	if got := mv.tried.hears("cancelled"); len(got) > 0 {
		t.Errorf("the other version hears %q", got)
	}
}

// Two versions ask one client the same number at once: each is answered, once, at either
// replica.
func TestTwoVersionsAskAtOnce(t *testing.T) {
	t.Parallel()
	mv := newMoving(t)
	session := mv.openAt(mv.one, "alice")
	first, one := mv.asked(mv.one, session, "c1")
	mv.moves(session)
	second, two := mv.asked(mv.other, session, "c2")
	if string(one.ID) == string(two.ID) {
		t.Fatalf("both ask as %s", one.ID)
	}
	var meta struct {
		Meta struct {
			ProgressToken json.RawMessage `json:"progressToken"`
		} `json:"_meta"`
	}
	if err := json.Unmarshal(one.Params, &meta); err != nil {
		t.Fatal(err)
	}
	mv.say(mv.other, session, `{"jsonrpc":"2.0","method":"notifications/progress","params":{"progress":1,"progressToken":`+string(meta.Meta.ProgressToken)+`}}`)
	if got, want := mv.live.hears("progress"), []string{`notifications/progress {"progress":1,"progressToken":7}`}; !slices.Equal(got, want) {
		t.Errorf("who asked hears %q, want %q", got, want)
	}
	bobs := mv.askAt(mv.other, http.MethodPost, "bob", "", hello).header.Get("Mcp-Session-Id")
	mv.askAt(mv.other, http.MethodPost, "bob", bobs, replyTo(one, "bobs"))
	for range 2 {
		if res := mv.say(mv.other, session, replyTo(one, "decline")); res.status != http.StatusAccepted {
			t.Errorf("the answer = %+v", res)
		}
	}
	mv.say(mv.one, session, replyTo(two, "accept"))
	if got := first.next(); !strings.Contains(got, "decline") || !strings.Contains(got, "ver_1") {
		t.Errorf("the call of the first version ends with %s", got)
	}
	if got := second.next(); !strings.Contains(got, "accept") || !strings.Contains(got, "ver_2") {
		t.Errorf("the call of the second version ends with %s", got)
	}
	for agent, want := range map[*waiter]string{mv.live: `7{"action":"decline"}`, mv.tried: `7{"action":"accept"}`} {
		if got := agent.hears("action"); len(got) != 1 || got[0] != want {
			t.Errorf("%s hears %q, want %s once", agent.version, got, want)
		}
	}
	mv.say(mv.other, session, replyTo(one, "late")) // nobody waits, which is no fault
}

// A question that its agent takes back is taken back under the id that the client knows.
func TestAQuestionIsTakenBack(t *testing.T) {
	t.Parallel()
	mv := newMoving(t)
	session := mv.openAt(mv.one, "alice")
	stream := mv.listen(mv.at(mv.one, http.MethodPost, "alice", session, string(call("regret", `{}`))))
	stream.next()
	q, back := parse(t, stream.next()), stream.next()
	if !strings.Contains(back, "notifications/cancelled") || !strings.Contains(back, `"requestId":`+string(q.ID)) {
		t.Errorf("after %s the client hears %s", q.ID, back)
	}
}

// A call whose replica has gone cannot be answered, and the client is told so; what the
// agent asked outside of calls still can.
func TestAnAnswerToACallWhoseReplicaIsGone(t *testing.T) {
	t.Parallel()
	mv := newMoving(t)
	session := mv.openAt(mv.one, "alice")
	mv.askAt(mv.other, http.MethodPost, "alice", session, string(call("add", `{}`)))
	_, q := mv.asked(mv.one, session, "c1")
	unasked := mv.listen(mv.at(mv.one, http.MethodGet, "alice", session, ""))
	edgetest.Until(t, "the agent is heard", func() bool { return mv.live.Listeners() == 1 })
	mv.live.Say(strings.Replace(asks, `"id":7`, `"id":"own"`, 1))
	own := parse(t, unasked.next())
	mv.stop()
	if res := mv.say(mv.other, session, replyTo(q, "accept")); res.status != http.StatusConflict || !strings.Contains(res.body, "has gone") {
		t.Errorf("the answer to the call = %+v", res)
	}
	if res := mv.say(mv.other, session, replyTo(own, "outside")); res.status != http.StatusAccepted {
		t.Errorf("the other answer = %+v", res)
	}
	if got := mv.live.hears("outside"); !slices.Equal(got, []string{`"own"{"action":"outside"}`}) {
		t.Errorf("the agent hears %q", got)
	}
	if got := version(mv.askAt(mv.other, http.MethodPost, "alice", session, string(call("add", `{}`)))); got != "ver_1" {
		t.Errorf("then the session is answered with %s", got)
	}
}

// What an agent asks on its own stream is answered to it after the session has moved, for
// as long as it is there.
func TestWhatAVersionAskedUnasked(t *testing.T) {
	t.Parallel()
	mv := newMoving(t)
	session := mv.openAt(mv.one, "alice")
	mv.askAt(mv.one, http.MethodPost, "alice", session, string(call("add", `{}`)))
	stream := mv.listen(mv.at(mv.one, http.MethodGet, "alice", session, ""))
	edgetest.Until(t, "the agent is heard", func() bool { return mv.live.Listeners() == 1 })
	var asked []rpc
	for id := range 3 {
		mv.live.Say(strings.Replace(asks, `"id":7`, fmt.Sprintf(`"id":%d`, id), 1))
		asked = append(asked, parse(t, stream.next()))
	}
	mv.say(mv.other, session, replyTo(asked[0], "before"))
	mv.moves(session)
	mv.say(mv.other, session, replyTo(asked[1], "after"))
	if got, want := mv.live.hears("action"), []string{`0{"action":"before"}`, `1{"action":"after"}`}; !slices.Equal(got, want) {
		t.Errorf("who asked hears %q, want %q", got, want)
	}
	mv.Deployments.Set(mv.second())
	edgetest.Until(t, "the version is replaced", func() bool {
		return mv.say(mv.other, session, replyTo(asked[2], "late")).status == http.StatusConflict
	})
	if got := mv.tried.hears("action"); len(got) > 0 {
		t.Errorf("the other version hears %q", got)
	}
}

// What a client may send while its session moves: the call that is under way goes on, all
// else is for the new version, and with the session's end nothing stays at either.
func TestWhatAClientSendsWhileItsSessionMoves(t *testing.T) {
	t.Parallel()
	mv := newMoving(t)
	session := mv.openAt(mv.one, "alice")
	held := mv.begins(mv.one, session, "early", "held")
	stream, q := mv.asked(mv.one, session, "asking")
	mv.moves(session)
	for n, at := range mv.everywhere {
		for body, want := range map[string]string{
			`{"jsonrpc":"2.0","id":"p","method":"ping"}`:       `"id":"p"`,
			`{"jsonrpc":"2.0","id":"t","method":"tools/list"}`: "add of ver_2",
			numbered(1, n): "by ver_2",
			fmt.Sprintf(`{"jsonrpc":"2.0","id":"l","method":"logging/setLevel","params":{"level":"%s"}}`, []string{"error", "debug"}[n]): "by ver_2",
			about("resources/subscribe", fmt.Sprintf("file:///%d", n)):                                                                   "by ver_2",
			`{"jsonrpc":"2.0","id":"x","method":"no/such"}`:                                                                              "by ver_2",
		} {
			if res := mv.say(at, session, body); res.status != http.StatusOK || !strings.Contains(res.body, want) {
				t.Errorf("%s = %+v, want %s", body, res, want)
			}
		}
	}
	stream.cut()
	mv.say(mv.other, session, replyTo(q, "accept"))
	if rest := mv.listen(again(mv.at(mv.other, http.MethodGet, "alice", session, ""), stream.last)).next(); !strings.Contains(rest, "accept") || !strings.Contains(rest, "ver_1") {
		t.Errorf("what was missed is %s", rest)
	}
	if res := mv.askAt(mv.other, http.MethodDelete, "alice", session, ""); res.status != http.StatusOK {
		t.Errorf("the end = %+v", res)
	}
	if end := <-held; strings.Contains(end, `"result"`) {
		t.Errorf("the call that was under way ends with %s", end)
	}
	for _, agent := range []*waiter{mv.live, mv.tried} {
		edgetest.Until(t, "nothing stays at "+agent.version, func() bool { open, _ := agent.Sessions(); return open == 0 })
	}
}

// A call is cancelled at an agent of the session era when its app knows no sessions any
// more.
func TestACallOfAnotherEraIsCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := newWaiter(w.agent, "ver_1")
	session := w.open("alice")
	ends := make(chan string, 1)
	go func() { ends <- w.do(http.MethodPost, "/mcp", "alice", session, call("hold", `{}`)).body }()
	<-a.began
	w.sessionless()
	w.do(http.MethodPost, "/mcp", "alice", session, []byte(`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":"c1"}}`))
	if end := <-ends; !strings.Contains(end, `"told":"cancelled"`) {
		t.Errorf("the call ends with %s", end)
	}
}
