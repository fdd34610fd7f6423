package edge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// The labels of two organisations and of who is in them, and who may read which.
const (
	ofOne, ofAlice, ofBob, ofOther, ofStranger = "label-1-", "label-2-", "label-3-", "label-4-", "label-5-"

	oneHost, otherHost = "one.test", "other.test"
)

var mayRead = map[string]string{"alice": ofOne + ofAlice, "bob": ofOne + ofBob, "stranger": ofOther + ofStranger}

// holder is somebody at their app, with everything that a gateway has given them.
type holder struct {
	key, host, label, run    string
	session, post, task      string
	state, another, question string
	event                    string
}

// tenants are two organisations with an app each, behind one gateway.
type tenants struct {
	t       testing.TB
	w       *world
	handler http.Handler
	holders []*holder
}

// discreet is an agent that says whose it is, and in a session what it was told first.
func discreet(tenant string) func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
	var mu sync.Mutex
	told := map[string]string{}
	return func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		mu.Lock()
		session := r.Header.Get("Mcp-Session-Id")
		if found := labels.FindString(string(m.Params)); told[session] == "" {
			told[session] = found
		}
		said := tenant + told[session]
		mu.Unlock()
		edgetest.Stream(rw)
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"error","data":"`+said+`"}}`))
		if strings.Contains(string(m.Params), `"ask"`) {
			edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","id":1,"method":"elicitation/create","params":{"message":"`+said+`"}}`))
			<-r.Context().Done()
			return
		}
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, jsonrpc.Encode(map[string]any{"content": []any{}, "said": said})))
	}
}

func newTenants(t testing.TB) *tenants {
	t.Helper()
	w := newWorld(t)
	other := edgetest.NewAgent(t)
	w.agent.Call, other.Call = discreet(ofOne), discreet(ofOther)
	w.address(func(a *registryv1.Address) { a.Host, a.Port = oneHost, 0 })
	w.Apps.Set(&registryv1.Address{TargetId: "app_b", AppId: "app_b", OrgId: "org_2", AppName: "other", Host: otherHost, ServerUrl: "http://" + otherHost})
	for _, e := range []*schedulerv1.Endpoint{
		{TargetId: app, AppId: app, OrgId: "org_1", ServerUrl: w.agent.URL(), ToolsJson: `{"tools":[{"name":"` + ofOne + `"}]}`, Workflows: []string{"Refund", "Notice"}, WorkflowsJson: `{"Refund":{},"Notice":{}}`},
		{TargetId: "app_b", AppId: "app_b", OrgId: "org_2", ServerUrl: other.URL(), ToolsJson: `{"tools":[{"name":"` + ofOther + `"}]}`, Workflows: []string{"Payout"}, WorkflowsJson: `{"Payout":{}}`},
	} {
		e.VersionId, e.Ready, e.Kind, e.SyncTools = "ver_1", true, "mcp-agent", []string{"ask", "tell"}
		e.InitializeJson = `{"protocolVersion":"2025-11-25","capabilities":{"tools":{}},"serverInfo":{"name":"recorded","version":"1"}}`
		w.Deployments.Set(e)
	}
	tn := &tenants{t: t, w: w, handler: w.replica(), holders: []*holder{
		{key: "alice", host: oneHost, label: ofAlice, run: "Refund"},
		{key: "bob", host: oneHost, label: ofBob, run: "Notice"},
		{key: "stranger", host: otherHost, label: ofStranger, run: "Payout"},
	}}
	for _, h := range tn.holders {
		edgetest.Until(t, "the app of "+h.key+" is there", func() bool { return tn.do(h.key, h.host, http.MethodGet, "/", "", nil).Code == http.StatusOK })
		tn.settle(h)
	}
	return tn
}

// do asks the gateway, without a network between.
func (tn *tenants) do(key, host, method, path, body string, header map[string]string) *httptest.ResponseRecorder {
	req := httptest.NewRequestWithContext(context.Background(), method, "http://"+host+path, strings.NewReader(body))
	req.Header.Set("Authorization", "Bearer "+key)
	for name, value := range header {
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	tn.handler.ServeHTTP(rec, req)
	return rec
}

// stateless makes a call of the stateless era.
func (tn *tenants) stateless(key, host, method, name, params string) *httptest.ResponseRecorder {
	return tn.do(key, host, http.MethodPost, "/mcp", string(modernBody(method, params, everything)), map[string]string{
		"Mcp-Protocol-Version": "2026-07-28", "Mcp-Method": method, "Mcp-Name": name,
	})
}

// settle gives a holder one of everything.
func (tn *tenants) settle(h *holder) {
	tn.t.Helper()
	tn.renew(h)
	tn.openStream(h)
	h.state, h.another = tn.park(h), tn.park(h)
	var made struct{ Result struct{ TaskID string } }
	run := "workflows-" + h.run + "-run"
	raw := tn.stateless(h.key, h.host, "tools/call", run, `{"name":"`+run+`","arguments":{"run_parameters":{}}}`).Body.Bytes()
	if err := json.Unmarshal(raw, &made); err != nil || made.Result.TaskID == "" {
		tn.t.Fatalf("%s has no task: %s", h.key, raw)
	}
	h.task = made.Result.TaskID
	target := map[string]string{oneHost: app, otherHost: "app_b"}[h.host]
	asked, err := schedulerv1.NewRunsServiceClient(tn.w.Conn).AskQuestion(tn.t.Context(), &schedulerv1.AskQuestionRequest{
		TargetId: target, RunId: h.run + "-run", Method: "elicitation/create", ParamsJson: `{"message":"` + h.label + `"}`, SignalName: "s",
	})
	if err != nil {
		tn.t.Fatal(err)
	}
	h.question = asked.GetQuestion().GetQuestionId()
}

// renew gives a holder a session that knows their label.
func (tn *tenants) renew(h *holder) {
	h.session = tn.do(h.key, h.host, http.MethodPost, "/mcp", hello, nil).Header().Get("Mcp-Session-Id")
	own := map[string]string{"Mcp-Session-Id": h.session}
	tn.do(h.key, h.host, http.MethodPost, "/mcp", ready, own)
	got := tn.do(h.key, h.host, http.MethodPost, "/mcp", string(call("tell", `{"for":"`+h.label+`"}`)), own).Body.String()
	if !strings.Contains(got, h.label) {
		tn.t.Fatalf("%s has no session: %s", h.key, got)
	}
	_, id, _ := strings.Cut(got, "id: ")
	id, _, _ = strings.Cut(id, "\n")
	h.event = id[:strings.LastIndex(id, ".")] + ".0"
}

// park leaves a call of a holder's open that asks.
func (tn *tenants) park(h *holder) string {
	var got asked
	raw := tn.stateless(h.key, h.host, "tools/call", "ask", fmt.Sprintf(`{"name":"ask","arguments":{"for":%q}}`, h.label)).Body.String()
	if err := json.Unmarshal([]byte(raw), &got); err != nil || got.Result.RequestState == "" {
		tn.t.Fatalf("%s has no call: %v %s", h.key, err, raw)
	}
	return got.Result.RequestState
}

// openStream gives a holder a session by SSE, until the test ends.
func (tn *tenants) openStream(h *holder) {
	server := httptest.NewServer(tn.handler)
	tn.t.Cleanup(server.Close)
	tn.t.Cleanup(server.CloseClientConnections)
	req, err := http.NewRequestWithContext(tn.t.Context(), http.MethodGet, server.URL+"/sse", nil)
	if err != nil {
		tn.t.Fatal(err)
	}
	req.Host = h.host
	req.Header.Set("Authorization", "Bearer "+h.key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		tn.t.Fatal(err)
	}
	begin := make([]byte, 4096)
	n, _ := res.Body.Read(begin)
	_, data, _ := strings.Cut(string(begin[:n]), "data: ")
	h.post, _, _ = strings.Cut(data, "\n")
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		_, _ = io.Copy(io.Discard, res.Body)
	}()
	tn.t.Cleanup(func() {
		_ = res.Body.Close()
		<-drained
	})
}
