package edge_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

func about(method, uri string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":"s","method":%q,"params":{"uri":%q}}`, method, uri)
}

const wantsWarnings = `{"jsonrpc":"2.0","id":"l","method":"logging/setLevel","params":{"level":"warning"}}`

// wishesIn are what an agent's session was asked to tell.
func wishesIn(agent *edgetest.Agent, session string) (all []string) {
	for _, seen := range agent.Seen() {
		m, err := jsonrpc.Parse(seen.Body)
		if err == nil && seen.Header.Get("Mcp-Session-Id") == session && (strings.HasPrefix(m.Method, "resources/") || m.Method == "logging/setLevel") {
			all = append(all, m.Method+string(m.Params))
		}
	}
	slices.Sort(all)
	return all
}

func TestWishesOutliveTheAgent(t *testing.T) {
	t.Parallel()
	for name, forgets := range map[string]func(w *world) *edgetest.Agent{
		"it is restarted": func(w *world) *edgetest.Agent {
			w.agent.Stop()
			w.agent.Start(w.t)
			return w.agent
		},
		"its version is replaced": func(w *world) *edgetest.Agent {
			next := edgetest.NewAgent(w.t)
			w.Deployments.Set(&schedulerv1.Endpoint{
				TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_1", ServerUrl: next.URL(), Ready: true, Kind: "mcp-agent",
				InitializeJson: `{}`, ToolsJson: `{"tools":[{"name":"workflows-list"},{"name":"add"}]}`,
			})
			w.agent.Stop()
			return next
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			one, other, _ := w.twins()
			id := w.openAt(one, "alice")
			stream := w.listen(w.at(one, http.MethodGet, "alice", id, ""))
			// Who takes a wish, and who listens, need not be the same.
			for at, message := range map[string]string{about("resources/subscribe", "file:///a"): one, about("resources/subscribe", "file:///b"): other, about("resources/subscribe", "file:///c"): one, wantsWarnings: other} {
				if res := w.askAt(message, http.MethodPost, "alice", id, at); res.status != http.StatusOK {
					t.Fatalf("%s = %+v", at, res)
				}
			}
			w.askAt(other, http.MethodPost, "alice", id, about("resources/unsubscribe", "file:///c"))
			edgetest.Until(t, "the agent is heard", func() bool { return w.agent.Listeners() == 1 })
			w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///a"}}`)
			if got := stream.next(); !strings.Contains(got, "file:///a") {
				t.Errorf("before it comes %s", got)
			}
			before, _ := w.agent.Sessions()
			agent := forgets(w)
			told := []string{stream.next(), stream.next()}
			slices.Sort(told)
			for i, uri := range []string{"file:///a", "file:///b"} {
				if m := parse(t, told[i]); m.Method != "notifications/resources/updated" || !strings.Contains(string(m.Params), uri) {
					t.Errorf("after it comes %s, want that %s may have changed", told[i], uri)
				}
			}
			_, ever := agent.Sessions()
			want := []string{`logging/setLevel{"level":"warning"}`, `resources/subscribe{"uri":"file:///a"}`, `resources/subscribe{"uri":"file:///b"}`}
			if got := wishesIn(agent, fmt.Sprintf("agent-session-%d", ever)); before != 1 || !slices.Equal(got, want) {
				t.Errorf("the agent is asked %v, want %v", got, want)
			}
			edgetest.Until(t, "the agent is heard again", func() bool { return agent.Listeners() == 1 })
			agent.Say(`{"jsonrpc":"2.0","method":"notifications/resources/updated","params":{"uri":"file:///b"}}`)
			if got := stream.next(); !strings.Contains(got, "file:///b") {
				t.Errorf("then comes %s", got)
			}
		})
	}
}

// What an agent refuses is not asked for again, and there is an end to it.
func TestWishesThatAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		if strings.Contains(string(m.Params), "secret") {
			edgetest.Stream(rw)
			edgetest.Event(rw, jsonrpc.NewError(m.ID, -32602, "no such resource"))
			return
		}
		edgetest.Echo(rw, r, m)
	}
	id := w.open("alice")
	w.do(http.MethodPost, "/mcp", "alice", id, []byte(about("resources/subscribe", "secret:///a")))
	for i := range 101 {
		res := w.do(http.MethodPost, "/mcp", "alice", id, []byte(about("resources/subscribe", fmt.Sprintf("file:///%d", i))))
		if want := map[bool]int{true: http.StatusOK, false: http.StatusTooManyRequests}[i < 100]; res.status != want {
			t.Fatalf("subscription %d = %+v, want %d", i, res, want)
		}
	}
	w.agent.Forget()
	w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{}`))
	if again := wishesIn(w.agent, "agent-session-2"); len(again) != 100 || strings.Contains(strings.Join(again, " "), "secret") {
		t.Errorf("the agent is asked again for %d: %v", len(again), again)
	}
}
