package edge_test

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// trial is a world whose app has a second version that can be tried.
type trial struct {
	*world
	canary *edgetest.Agent
	steps  int
	// everywhere are the gateways that have to know of a step.
	everywhere []string
}

const stepHeader = "X-Step"

func newTrial(w *world) *trial {
	tr := &trial{world: w, canary: edgetest.NewAgent(w.t)}
	w.agent.Call, tr.canary.Call = saysVersion("ver_1"), saysVersion("ver_2")
	return tr
}

func saysVersion(version string) func(http.ResponseWriter, *http.Request, jsonrpc.Message) {
	return func(w http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		if m.Method == "tools/list" {
			edgetest.Answer(w, m, map[string]any{"tools": []any{map[string]string{"name": "add of " + version}}})
			return
		}
		edgetest.Answer(w, m, map[string]any{"content": []any{map[string]string{"type": "text", "text": "by " + version}}})
	}
}

// second is the version that is tried, as the live one would be.
func (tr *trial) second() *schedulerv1.Endpoint {
	e := tr.endpoint(true)
	e.VersionId, e.ServerUrl, e.ToolsJson = "ver_2", tr.canary.URL(), `{"tools":[{"name":"add"},{"name":"subtract"}]}`
	return e
}

// weigh gives the second version a share, and who fits a match.
func (tr *trial) weigh(rollout string, weight int32, matches ...*schedulerv1.CanaryMatch) {
	tr.t.Helper()
	tr.steps++
	e := tr.endpoint(true)
	e.Canary = &schedulerv1.Canary{
		RolloutId: rollout, Endpoint: tr.second(), Weight: weight,
		Matches: append(matches, &schedulerv1.CanaryMatch{Header: stepHeader, Value: strconv.Itoa(tr.steps)}),
	}
	tr.Deployments.Set(e)
	tr.known("the step is known", "ver_2")
}

// end ends the rollout: that version is the only one from now on.
func (tr *trial) end(e *schedulerv1.Endpoint) {
	tr.t.Helper()
	tr.Deployments.Set(e)
	tr.known("the end of the rollout is known", e.GetVersionId())
}

// known waits until every gateway gives who shows the newest step that version.
func (tr *trial) known(what, version string) {
	tr.t.Helper()
	for _, at := range append([]string{""}, tr.everywhere...) {
		edgetest.Until(tr.t, what, func() bool {
			req := tr.plain("alice")
			if at != "" {
				sentTo(at, req)
			} else if len(tr.everywhere) > 0 {
				return true
			}
			req.Header.Set(stepHeader, strconv.Itoa(tr.steps))
			return strings.Contains(tr.send(req).body, "by "+version)
		})
	}
}

// plain is a call by plain HTTP.
func (tr *trial) plain(key string) *http.Request {
	return tr.request(http.MethodPost, "/call_tool", key, "", []byte(`{"name":"add","arguments":{}}`))
}

// served is the version that answers a call of a session.
func (tr *trial) served(key, session string) string {
	tr.t.Helper()
	return version(tr.do(http.MethodPost, "/mcp", key, session, call("add", `{}`)))
}

func version(res answer) string {
	for _, v := range []string{"ver_1", "ver_2"} {
		if res.status == http.StatusOK && strings.Contains(res.body, "by "+v) {
			return v
		}
	}
	return fmt.Sprintf("%+v", res)
}

// Sessions are divided by weight (package routes has more of them). Who has the canary keeps it while the weight
// grows, and all have the live version after an abort.
func TestSessionsAreDividedByWeight(t *testing.T) {
	t.Parallel()
	const sessions = 250
	tr := newTrial(newWorld(t, func(c *edge.Config) { c.SessionsPerCaller = 2 * sessions }))
	tr.weigh("rol_1", 200)
	ids := make([]string, sessions)
	tr.each(sessions, func(i int) error {
		ids[i] = tr.open("alice")
		return nil
	})
	versions := func() []string {
		all := make([]string, sessions)
		tr.each(sessions, func(i int) error {
			all[i] = tr.served("alice", ids[i])
			if all[i] != "ver_1" && all[i] != "ver_2" {
				return fmt.Errorf("session %d is answered with %s", i, all[i])
			}
			return nil
		})
		return all
	}
	before := make([]string, sessions)
	// Six standard deviations to either side: chance has no part in this test.
	for _, step := range []struct{ weight, least, most int }{{200, 13, 87}, {400, 54, 146}} {
		tr.weigh("rol_1", int32(step.weight)) //nolint:gosec // small
		now, tried := versions(), 0
		for i := range now {
			if now[i] == "ver_2" {
				tried++
			} else if before[i] == "ver_2" {
				t.Fatalf("at %d session %d has lost the canary", step.weight, i)
			}
		}
		if tried < step.least || tried > step.most {
			t.Errorf("at %d thousandths %d of %d sessions have the canary", step.weight, tried, sessions)
		}
		before = now
	}
	tr.end(tr.endpoint(true))
	for i, now := range versions() {
		if now != "ver_1" {
			t.Fatalf("after the abort session %d is answered by %s", i, now)
		}
	}
}

func (tr *trial) each(n int, do func(i int) error) {
	tr.t.Helper()
	var group errgroup.Group
	group.SetLimit(8) //nolint:mnd // enough to meet
	for i := range n {
		group.Go(func() error { return do(i) })
	}
	if err := group.Wait(); err != nil {
		tr.t.Fatal(err)
	}
}

// Matches pick by what opens a session, and by who calls; weight nobody has.
func TestMatchesPick(t *testing.T) {
	t.Parallel()
	tr := newTrial(newWorld(t))
	early := tr.open("alice")
	tr.weigh("rol_1", 0,
		&schedulerv1.CanaryMatch{Header: "X-Beta", Value: "yes"}, &schedulerv1.CanaryMatch{Header: "X-Any"}, &schedulerv1.CanaryMatch{Caller: "u_bob"},
		&schedulerv1.CanaryMatch{Header: "X-Both", Caller: "u_member_1"}, &schedulerv1.CanaryMatch{})
	tests := map[string]struct{ key, header, value, want string }{
		"nothing fits":                {"alice", "", "", "ver_1"},
		"the header fits":             {"alice", "x-beta", "yes", "ver_2"},
		"its value does not":          {"alice", "X-Beta", "no", "ver_1"},
		"any value does":              {"alice", "X-Any", "whatever", "ver_2"},
		"the caller fits":             {"bob", "", "", "ver_2"},
		"the header but not the user": {"alice", "X-Both", "1", "ver_1"},
		"the user but not the header": {"member-1", "", "", "ver_1"},
		"both":                        {"member-1", "X-Both", "1", "ver_2"},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			for way, req := range map[string]*http.Request{
				"a session": tr.request(http.MethodPost, "/mcp", tt.key, "", []byte(hello)), "plain HTTP": tr.plain(tt.key),
				"the stateless era": tr.modernRequest(tt.key, "tools/call", "add", `{"name":"add"}`, nothing),
			} {
				if tt.header != "" {
					req.Header.Set(tt.header, tt.value)
				}
				res := tr.send(req)
				got := version(res)
				if id := res.header.Get("Mcp-Session-Id"); id != "" {
					got = tr.served(tt.key, id)
				}
				if got != tt.want {
					t.Errorf("by %s it is answered by %s, want %s", way, got, tt.want)
				}
			}
		})
	}
	if got := tr.served("alice", early); got != "ver_1" {
		t.Errorf("a session that was there before is answered by %s", got)
	}
}

// Calls of one user without a session have one version, those of the nameless are divided.
func TestCallsWithoutASessionAreDivided(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tr := newTrial(w)
	tr.weigh("rol_1", 500)
	for i := range 20 {
		key := fmt.Sprintf("member-%d", i)
		first := version(tr.send(tr.plain(key)))
		for range 3 {
			if again := version(tr.send(tr.modernRequest(key, "tools/call", "add", `{"name":"add"}`, nothing))); again != first {
				t.Errorf("%s is answered by %s, and then by %s", key, first, again)
			}
		}
	}
	tr.address(func(a *registryv1.Address) { a.UnauthenticatedAccess = true })
	edgetest.Until(t, "nobody may call", func() bool { return tr.send(tr.plain("")).status == http.StatusOK })
	seen := map[string]int{}
	for range 100 {
		seen[version(tr.send(tr.plain("")))]++
	}
	if seen["ver_1"] < 10 || seen["ver_2"] < 10 || len(seen) != 2 {
		t.Errorf("calls of nobody are divided as %v", seen)
	}
}

// A client hears that its lists are others, gets those of its version, and hears what that
// version's agent says unasked.
func TestASessionMovesWithItsLists(t *testing.T) {
	t.Parallel()
	tr := newTrial(newWorld(t))
	session := tr.open("alice")
	tr.served("alice", session)
	stream := tr.listen(tr.request(http.MethodGet, "/mcp", "alice", session, nil))
	heardAt := func(agent *edgetest.Agent, name string) {
		t.Helper()
		edgetest.Until(t, name+" is listened to", func() bool { return agent.Listeners() == 1 })
	}
	heardAt(tr.agent, "the live version")
	list := func() string {
		return tr.do(http.MethodPost, "/mcp", "alice", session, []byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list"}`)).body
	}
	steps := []struct {
		what  string
		do    func()
		agent *edgetest.Agent
		other *edgetest.Agent
		list  string
	}{
		{"the weight takes it in", func() { tr.weigh("rol_1", 1000) }, tr.canary, tr.agent, "add of ver_2"},
		{"the weight leaves it out", func() { tr.weigh("rol_1", 0) }, tr.agent, tr.canary, "add of ver_1"},
		{"the weight takes it in again", func() { tr.weigh("rol_1", 1000) }, tr.canary, tr.agent, "add of ver_2"},
	}
	for _, step := range steps {
		step.do()
		if m := parse(t, stream.next()); m.Method != "notifications/tools/list_changed" {
			t.Fatalf("when %s the client hears %+v", step.what, m)
		}
		heardAt(step.agent, "its version, when "+step.what+",")
		edgetest.Until(t, "the other is not listened to any more", func() bool { return step.other.Listeners() == 0 })
		if got := list(); !strings.Contains(got, step.list) {
			t.Errorf("when %s the list is %s", step.what, got)
		}
		step.agent.Say(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
		if m := parse(t, stream.next()); m.Method != "notifications/message" {
			t.Errorf("when %s its agent is heard as %+v", step.what, m)
		}
	}
}

// What an agent asks inside of a call is answered to it, also when its session has got
// another version meanwhile.
func TestAnAnswerGoesToTheVersionThatAsked(t *testing.T) {
	t.Parallel()
	tr := newTrial(newWorld(t))
	answered := make(chan string, 1)
	tr.agent.Told = func(_ string, m jsonrpc.Message) {
		if m.IsResponse() {
			answered <- string(m.Result)
		}
	}
	tr.agent.Call = func(w http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		edgetest.Stream(w)
		edgetest.Event(w, []byte(`{"jsonrpc":"2.0","id":7,"method":"elicitation/create","params":{"message":"which?"}}`))
		edgetest.Event(w, jsonrpc.NewResult(m.ID, []byte(`{"content":[{"type":"text","text":`+string(jsonrpc.Encode(<-answered))+`}]}`)))
	}
	session := tr.open("alice")
	asking := tr.listen(tr.request(http.MethodPost, "/mcp", "alice", session, call("add", `{}`)))
	asked := parse(t, asking.next())
	if asked.Method != "elicitation/create" {
		t.Fatalf("the agent says %+v", asked)
	}
	tr.weigh("rol_1", 1000)
	if got := version(tr.do(http.MethodPost, "/mcp", "alice", session, []byte(numbered(1, 1)))); got != "ver_2" {
		t.Fatalf("meanwhile another call is answered by %s", got)
	}
	tr.do(http.MethodPost, "/mcp", "alice", session, []byte(replyTo(asked, "decline")))
	if got := asking.next(); !strings.Contains(got, "decline") {
		t.Errorf("the call ends with %s", got)
	}
}

// Runs start on the version that their session has.
func TestRunsStartOnTheVersionOfTheirSession(t *testing.T) {
	t.Parallel()
	tr := newTrial(newWorld(t))
	tr.weigh("rol_1", 0, &schedulerv1.CanaryMatch{Caller: "u_bob"})
	for key, want := range map[string]string{"alice": "", "bob": "ver_2"} {
		res := tr.do(http.MethodPost, "/mcp", key, tr.open(key), call("workflows-Refund-run", `{"run_parameters":{}}`))
		asked, _ := edgetest.Requests[*schedulerv1.StartRunRequest](tr.Runs)
		if len(asked) == 0 || asked[len(asked)-1].GetVersionId() != want {
			t.Errorf("the run of %s is asked for as %v after %+v; want version %q", key, asked, res, want)
		}
	}
}

// Two gateways agree about every session, and none is lost nor a call fails while the
// weight grows, the rollout is aborted, and another one's version becomes live.
func TestSessionsLiveThroughRolloutsAtTwoReplicas(t *testing.T) {
	t.Parallel()
	tr := newTrial(newWorld(t))
	one, other, _ := tr.twins()
	tr.everywhere = []string{one, other}
	ids := make([]string, 40)
	for i := range ids {
		ids[i] = tr.openAt(tr.everywhere[i%2], "alice")
	}
	ask := func(at string, i int) string {
		return version(tr.askAt(at, http.MethodPost, "alice", ids[i], string(call("add", fmt.Sprintf(`{"n":%d}`, i)))))
	}
	stop := make(chan struct{})
	var group errgroup.Group
	for from := range 4 {
		group.Go(func() error {
			for n := from; ; n++ {
				select {
				case <-stop:
					return nil
				default:
				}
				if got := ask(tr.everywhere[n/len(ids)%2], n%len(ids)); got != "ver_1" && got != "ver_2" {
					return fmt.Errorf("call %d: %s", n, got)
				}
			}
		})
	}
	agreed := func(what string) (tried int) {
		for i := range ids {
			first, second := ask(one, i), ask(other, i)
			if first != second {
				t.Errorf("%s: session %d is with %s at one replica and with %s at the other", what, i, first, second)
			}
			if first == "ver_2" {
				tried++
			}
		}
		return tried
	}
	tr.weigh("rol_1", 300)
	if n := agreed("at first"); n < 1 || n > 30 {
		t.Errorf("%d of 40 sessions have the canary", n)
	}
	tr.weigh("rol_1", 1000)
	if n := agreed("with all"); n != len(ids) {
		t.Errorf("%d of 40 sessions have the canary at the end", n)
	}
	tr.end(tr.endpoint(true))
	if n := agreed("after the abort"); n != 0 {
		t.Errorf("%d of 40 sessions have the canary after its end", n)
	}
	tr.weigh("rol_2", 500)
	agreed("of another rollout")
	tr.Deployments.Set(tr.second())
	edgetest.Until(t, "all have the version that was promoted", func() bool { return agreed("after the promotion") == len(ids) || t.Failed() })
	close(stop)
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
