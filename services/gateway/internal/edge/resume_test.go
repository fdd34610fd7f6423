package edge_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// talks makes the agent say in a call what comes, and answer when that closes.
func (w *world) talks() chan<- string {
	say := make(chan string)
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		edgetest.Stream(rw)
		for text := range say {
			edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"`+text+`"}}`))
		}
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, []byte(`{"content":[]}`)))
	}
	return say
}

// again asks for what comes after an event.
func again(req *http.Request, last string) *http.Request {
	req.Header.Set("Last-Event-Id", last)
	return req
}

func TestAnswerGoesOnAfterTheConnectionBroke(t *testing.T) {
	t.Parallel()
	for name, there := range map[string]bool{"at the same replica": false, "at another": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			say := w.talks()
			one, other, _ := w.twins()
			if !there {
				other = one
			}
			id := w.openAt(one, "alice")
			stream := w.listen(w.at(one, http.MethodPost, "alice", id, string(call("add", `{}`))))
			for _, text := range []string{"one", "two"} {
				say <- text
				if got := stream.next(); !strings.Contains(got, text) {
					t.Errorf("event = %s", got)
				}
			}
			stream.cut()
			say <- "three" // while nobody listens
			rest := w.listen(again(w.at(other, http.MethodGet, "alice", id, ""), stream.last))
			if got := rest.next(); !strings.Contains(got, "three") {
				t.Errorf("what was missed is %s", got)
			}
			say <- "four"
			if got := rest.next(); !strings.Contains(got, "four") {
				t.Errorf("after that comes %s", got)
			}
			close(say)
			if m := parse(t, rest.next()); m.Result == nil || string(m.ID) != `"c1"` {
				t.Errorf("the answer = %+v", m)
			}
			if res := w.send(again(w.at(other, http.MethodGet, "bob", id, ""), stream.last)); res.status != http.StatusNotFound {
				t.Errorf("bob reads alice's answer: %+v", res)
			}
		})
	}
}

func TestFeedGoesOnAfterTheConnectionBroke(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other, _ := w.twins()
	id := w.openAt(one, "alice")
	w.askAt(one, http.MethodPost, "alice", id, string(call("add", `{}`)))
	stream := w.listen(w.at(one, http.MethodGet, "alice", id, ""))
	var first string
	for _, text := range []string{"one", "two", "three"} {
		w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + text + `"}}`)
		if got := stream.next(); !strings.Contains(got, text) {
			t.Errorf("event = %s", got)
		}
		if first == "" {
			first = stream.last
		}
	}
	stream.cut()
	edgetest.Until(t, "what was said is written down", func() bool {
		noted, err := w.bus.JetStream().Stream(t.Context(), "SESSION_EVENTS")
		return err == nil && noted.CachedInfo().State.Msgs == 3
	})
	for name, at := range map[string]string{"the same replica": one, "another": other} {
		rest := w.listen(again(w.at(at, http.MethodGet, "alice", id, ""), first))
		if two, three := rest.next(), rest.next(); !strings.Contains(two, "two") || !strings.Contains(three, "three") {
			t.Errorf("%s says %s, %s", name, two, three)
		}
		rest.cut()
	}
}

func TestLastEventIDThatMeansNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.open("alice")
	for name, last := range map[string]string{"no id": "what?", "too long": strings.Repeat("1", 100) + ".1.1", "negative": "-1.0.0"} {
		res := w.send(again(w.request(http.MethodGet, "/mcp", "alice", id, nil), last))
		if res.status != http.StatusBadRequest || !strings.Contains(res.body, "Last-Event-ID") {
			t.Errorf("%s = %+v", name, res)
		}
	}
}

func TestNewVersionIsToldToSessions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stream := w.listen(w.request(http.MethodGet, "/mcp", "alice", w.open("alice"), nil))
	w.Deployments.Set(&schedulerv1.Endpoint{
		TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", ServerUrl: w.agent.URL(), Ready: true, Kind: "mcp-agent",
		ToolsJson: `{"tools":[{"name":"another"}]}`, InitializeJson: `{}`,
	})
	if m := parse(t, stream.next()); m.Method != "notifications/tools/list_changed" {
		t.Errorf("a new version was told as %+v", m)
	}
}

// The agent asks in a call at one replica; the client answers at the other.
func TestAnyReplicaTakesAnAnswerForTheAgent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.talks()
	one, other, _ := w.twins()
	id := w.openAt(one, "alice")
	w.askAt(other, http.MethodPost, "alice", id, `{"jsonrpc":"2.0","id":"its own","result":{"action":"accept"}}`)
	if _, ever := w.agent.Sessions(); ever != 1 {
		t.Errorf("the agent has seen %d sessions of one client", ever)
	}
	edgetest.Until(t, "the answer is with the agent, in the session that asked", func() bool {
		for _, seen := range w.agent.Seen() {
			if strings.Contains(string(seen.Body), "its own") {
				return seen.Header.Get("Mcp-Session-Id") == "agent-session-1"
			}
		}
		return false
	})
}
