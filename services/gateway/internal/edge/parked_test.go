package edge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// keeper is an agent whose calls outlive their connections: each asks a question, or
// more, and then says what it was told.
type keeper struct {
	t    *testing.T
	w    *world
	asks int
	ids  bool // its events have ids, and it gives the rest of a stream
	key  string
	// asked, when it is set, is how the nth call asks its nth question.
	asked func(call, n int) string

	mu      sync.Mutex
	changed chan struct{}
	streams []*kept
	told    map[string]string // by session and id of the question
}

// kept is what one call has said.
type kept struct {
	events []string
	over   bool
}

func newKeeper(t *testing.T, w *world, asks int, ids bool) *keeper {
	k := &keeper{t: t, w: w, asks: asks, ids: ids, key: "alice", changed: make(chan struct{}), told: map[string]string{}}
	w.agent.Told = k.hear
	w.agent.Call = k.call
	w.agent.Rest = k.rest
	return k
}

func (k *keeper) change(do func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	do()
	close(k.changed)
	k.changed = make(chan struct{})
}

func (k *keeper) hear(session string, m jsonrpc.Message) {
	if m.IsResponse() {
		k.change(func() {
			if key := session + string(m.ID); k.told[key] == "" {
				k.told[key] = string(m.Result)
			}
		})
	}
}

// calls is how many there were.
func (k *keeper) calls() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.streams)
}

func (k *keeper) call(w http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
	s := &kept{}
	var number int
	k.change(func() {
		k.streams = append(k.streams, s)
		number = len(k.streams)
	})
	go k.work(context.WithoutCancel(r.Context()), s, r.Header.Get("Mcp-Session-Id"), number, m)
	k.follow(w, r, s, number, 0)
}

// work asks, and answers with what it was told.
func (k *keeper) work(ctx context.Context, s *kept, session string, number int, m jsonrpc.Message) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var told []string
	say := func(event string, over bool) {
		k.change(func() { s.events, s.over = append(s.events, event), over })
	}
	for n := range k.asks {
		text := fmt.Sprintf("Sure %d?", n+1)
		if k.asked != nil {
			text = k.asked(number, n+1)
		}
		id := strconv.Itoa(number*100 + n)
		say(`{"jsonrpc":"2.0","id":`+id+`,"method":"elicitation/create","params":{"message":"`+text+`"}}`, false)
		for {
			k.mu.Lock()
			answer, changed := k.told[session+id], k.changed
			k.mu.Unlock()
			if answer != "" {
				told = append(told, answer)
				break
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
		say(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1","progress":`+strconv.Itoa(n+1)+`}}`, false)
	}
	say(string(jsonrpc.NewResult(m.ID, jsonrpc.Encode(map[string]any{"content": []any{}, "told": told}))), true)
}

// follow says what a call has said and says, from a place on.
func (k *keeper) follow(w http.ResponseWriter, r *http.Request, s *kept, number, from int) {
	edgetest.Stream(w)
	for {
		k.mu.Lock()
		events, over, changed := s.events[from:], s.over, k.changed
		k.mu.Unlock()
		for _, event := range events {
			from++
			if k.ids {
				_, _ = fmt.Fprintf(w, "id: %d_%d\r\n", number, from)
			}
			edgetest.Event(w, []byte(event))
		}
		if over {
			return
		}
		select {
		case <-changed:
		case <-r.Context().Done():
			return
		}
	}
}

// rest goes on with a stream after an event.
func (k *keeper) rest(w http.ResponseWriter, r *http.Request) {
	var number, from int
	if _, err := fmt.Sscanf(r.Header.Get("Last-Event-Id"), "%d_%d", &number, &from); err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	k.mu.Lock()
	s := k.streams[number-1]
	k.mu.Unlock()
	k.follow(w, r, s, number, from)
}

// begin makes a call that is parked, and returns the params of its retry.
func (k *keeper) begin(at string) (retry string) {
	k.t.Helper()
	return k.next(k.tool(at, ""))
}

// next are the params that answer what a call asks.
func (k *keeper) next(res answer) string {
	k.t.Helper()
	var asks asked
	if _, data, ok := strings.Cut(res.body, "data: "); ok {
		lines := strings.Split(strings.TrimSpace(data), "data: ")
		res.body = lines[len(lines)-1]
	}
	if err := json.Unmarshal([]byte(res.body), &asks); err != nil || asks.Result.ResultType != "input_required" || len(asks.Result.InputRequests) != 1 {
		k.t.Fatalf("the call is not parked: %v %+v", err, res)
	}
	for key := range asks.Result.InputRequests {
		return `,"inputResponses":{"` + key + `":{"action":"accept","content":{"to":"` + key + `"}}},"requestState":"` + asks.Result.RequestState + `"`
	}
	return ""
}

// tool calls the tool, for the first time or again.
func (k *keeper) tool(at, more string) answer {
	k.t.Helper()
	return k.w.send(sentTo(at, k.w.modernRequest(k.key, "tools/call", "add", `{"name":"add","arguments":{"a":1}`+more+`}`, everything)))
}

// mortals are twins of which the first can be killed: it says goodbye to nobody.
func (w *world) mortals() (one, other string, kill func()) {
	one, other, stop := w.twins()
	const alive = "test.alive"
	if _, err := w.buses[0].Conn().Subscribe(alive, func(*nats.Msg) {}); err != nil {
		w.t.Fatal(err)
	}
	return one, other, func() {
		w.buses[0].Conn().Close()
		stop()
		edgetest.Until(w.t, "NATS has noticed", func() bool {
			_, err := w.buses[1].Conn().Request(alive, nil, time.Millisecond)
			return errors.Is(err, nats.ErrNoResponders)
		})
	}
}

const toldOnce = `"told":["{\"action\":\"accept\",\"content\":{\"to\":\"q1\"}}"]`

// hinted records that the tool says something about itself.
func (w *world) hinted(hints string) {
	e := w.endpoint(true)
	e.ToolsJson = `{"tools":[{"name":"workflows-list"},{"name":"add","annotations":{` + hints + `}}]}`
	w.Deployments.Set(e)
}

func TestAParkedCallOutlivesItsReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := newKeeper(t, w, 2, true)
	one, other, kill := w.mortals()
	retry := k.begin(one)
	kill()
	second := k.tool(other, retry)
	retry = k.next(second)
	again := k.tool(other, retry)
	for _, want := range []string{`to\":\"q1\"`, `to\":\"q2\"`, `"resultType":"complete"`} {
		if !strings.Contains(again.body, want) {
			t.Errorf("%s is not in %+v", want, again)
		}
	}
	if n := k.calls(); n != 1 {
		t.Errorf("the agent was called %d times", n)
	}
	if repeated := k.tool(other, retry); !strings.Contains(repeated.body, `to\":\"q2\"`) {
		t.Errorf("the same again = %+v", repeated)
	}
	for _, call := range w.Calls.All() {
		if text := call.String(); strings.Contains(text, "Sure") || strings.Contains(text, "agent-session") || strings.Contains(text, "accept") {
			t.Errorf("the record can be read: %s", text)
		}
	}
}

// A replica that ends leaves the sessions at agents in which a call waits: those of
// callers without a name are for one call alone.
func TestAParkedCallOfNobodyOutlivesItsReplica(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := newKeeper(t, w, 1, true)
	k.key = ""
	one, other, stop := w.twins()
	w.address(func(a *registryv1.Address) { a.Host, a.Port, a.UnauthenticatedAccess = "finder.test", 0, true })
	for _, at := range []string{one, other} {
		edgetest.Until(t, "the app is open", func() bool { return w.askAt(at, http.MethodPost, "", "", hello).status == http.StatusOK })
	}
	retry := k.begin(one)
	stop()
	if res := k.tool(other, retry); !strings.Contains(res.body, toldOnce) {
		t.Errorf("the retry = %+v", res)
	}
}

func TestACallWhoseReplicaDiesWhileItIsAnsweredGoesOn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.silence = 3 * time.Second
	k := newKeeper(t, w, 1, true)
	answered, proceed := make(chan struct{}), make(chan struct{})
	hear := w.agent.Told
	w.agent.Told = func(session string, m jsonrpc.Message) {
		if m.IsResponse() {
			select {
			case answered <- struct{}{}:
				<-proceed
			default:
			}
		}
		hear(session, m)
	}
	one, other, kill := w.mortals()
	retry := k.begin(one)
	broken := make(chan answer, 1)
	go func() { broken <- k.tool(other, retry) }() // carried to the first
	<-answered
	go kill()
	close(proceed)
	if res := <-broken; !strings.Contains(res.body, toldOnce) {
		t.Errorf("the retry = %+v", res)
	}
	if n := k.calls(); n != 1 {
		t.Errorf("the agent was called %d times", n)
	}
}

func TestACallWhoseStreamIsLostSaysSo(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		hints, reason string
	}{
		"it may have done something": {``, "call_lost"},
		"it only reads":              {`"readOnlyHint":true`, ""},
		"twice is once":              {`"idempotentHint":true`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			k := newKeeper(t, w, 1, false)
			one, other, kill := w.mortals()
			w.hinted(test.hints)
			edgetest.Until(t, "the hints are known", func() bool {
				return strings.Contains(w.send(sentTo(one, w.modernRequest("alice", "tools/list", "", `{}`, everything))).body, test.hints) &&
					strings.Contains(w.send(sentTo(other, w.modernRequest("alice", "tools/list", "", `{}`, everything))).body, test.hints)
			})
			retry := k.begin(one)
			kill()
			for range 2 { // the same again says the same
				res := k.tool(other, retry)
				if test.reason != "" && (!strings.Contains(res.body, test.reason) || !strings.Contains(res.body, "-32603") || !strings.Contains(res.body, `"retriable":false`)) {
					t.Errorf("the retry = %+v", res)
				}
				if test.reason == "" && !strings.Contains(res.body, toldOnce) {
					t.Errorf("the retry = %+v", res)
				}
			}
			if n, want := k.calls(), map[bool]int{true: 2, false: 1}[test.reason == ""]; n != want {
				t.Errorf("the agent was called %d times, want %d", n, want)
			}
		})
	}
}

// A tool that is called again and asks something else is answered by a person again.
func TestACallThatIsMadeAgainAsksWhatIsNew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := newKeeper(t, w, 2, false)
	k.asked = func(call, n int) string {
		if call == 2 && n == 2 {
			return "Something else?"
		}
		return fmt.Sprintf("Sure %d?", n)
	}
	w.hinted(`"readOnlyHint":true`)
	one, other, kill := w.mortals()
	second := k.next(k.tool(one, k.begin(one)))
	kill()
	res := k.tool(other, second)
	if !strings.Contains(res.body, "Something else?") {
		t.Fatalf("the retry = %+v", res)
	}
	if res := k.tool(other, k.next(res)); !strings.Contains(res.body, `to\":\"q1\"`) || !strings.Contains(res.body, `to\":\"q3\"`) {
		t.Errorf("the end = %+v", res)
	}
}

func TestAnAgentThatRestartsWhileItsCallWaits(t *testing.T) {
	t.Parallel()
	for name, hints := range map[string]string{"told": ``, "made again": `"readOnlyHint":true`} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			k := newKeeper(t, w, 1, true)
			w.hinted(hints)
			one, other, _ := w.twins()
			retry := k.begin(one)
			w.agent.Stop()
			w.agent.Start(t)
			res := k.tool(other, retry)
			if hints == "" && (!strings.Contains(res.body, "agent_restarted") || !strings.Contains(res.body, "had been started")) {
				t.Errorf("the retry = %+v", res)
			}
			if hints != "" && (!strings.Contains(res.body, toldOnce) || k.calls() != 2) {
				t.Errorf("the retry = %+v after %d calls", res, k.calls())
			}
		})
	}
}

func TestTheSameRetryTwiceAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	k := newKeeper(t, w, 1, true)
	one, other, kill := w.mortals()
	retry := k.begin(one)
	kill()
	results := make(chan answer, 8)
	for range cap(results) {
		go func() { results <- k.tool(other, retry) }()
	}
	for range cap(results) {
		if res := <-results; !strings.Contains(res.body, toldOnce) {
			t.Errorf("one of them = %+v", res)
		}
	}
	if n := k.calls(); n != 1 {
		t.Errorf("the agent was called %d times", n)
	}
}

func TestAParkedCallExpires(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.QuestionWait = time.Second })
	newKeeper(t, w, 1, true)
	var first asked
	res := w.modern("alice", "tools/call", "add", `{"name":"add"}`, everything)
	if err := json.Unmarshal([]byte(res.body), &first); err != nil {
		t.Fatal(err)
	}
	edgetest.Until(t, "the agent is told", func() bool {
		for _, seen := range w.agent.Seen() {
			if strings.Contains(string(seen.Body), "notifications/cancelled") {
				return true
			}
		}
		return false
	})
	edgetest.Until(t, "the record has its end", func() bool { return w.Calls.All()[0].GetEnded() })
	late := w.modern("alice", "tools/call", "add", `{"name":"add","inputResponses":{"q1":{"action":"accept"}},"requestState":"`+first.Result.RequestState+`"}`, everything)
	if m := parse(t, late.body); m.Error == nil || m.Error.Code != -32602 || !strings.Contains(m.Error.Message, "expired") {
		t.Errorf("a retry after that = %+v", late)
	}
}

// While Temporal is away a call waits in its replica alone.
func TestAParkedCallLivesWithoutARecord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Calls.Away(true)
	k := newKeeper(t, w, 2, true)
	one, other, kill := w.mortals()
	second := k.next(k.tool(other, k.begin(one)))
	w.Calls.Away(false)
	if n := len(w.Calls.All()); n != 0 {
		t.Errorf("there are %d records", n)
	}
	if res := k.tool(other, second); !strings.Contains(res.body, `to\":\"q2\"`) {
		t.Errorf("the retry = %+v", res)
	}
	w.Calls.Away(true)
	retry := k.begin(one)
	kill()
	if res := k.tool(other, retry); res.status != http.StatusServiceUnavailable {
		t.Errorf("while nobody can say what became of it, the retry = %+v", res)
	}
	w.Calls.Away(false)
	if res := k.tool(other, retry); !strings.Contains(res.body, "call_lost") {
		t.Errorf("the retry = %+v", res)
	}
}
