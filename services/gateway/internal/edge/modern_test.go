package edge_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

const (
	everything = `{"elicitation":{"form":{}},"sampling":{},"extensions":{"io.modelcontextprotocol/tasks":{}}}`
	nothing    = `{}`
)

// modernBody is a request of the stateless era.
func modernBody(method, params, capabilities string) []byte {
	params = strings.TrimSuffix(strings.TrimSpace(params), "}")
	if params != "{" {
		params += ","
	}
	return []byte(`{"jsonrpc":"2.0","id":"m1","method":"` + method + `","params":` + params +
		`"_meta":{"io.modelcontextprotocol/protocolVersion":"2026-07-28","io.modelcontextprotocol/clientCapabilities":` + capabilities + `,"progressToken":"p1","vendor.example/own":1}}}`)
}

// modern sends a request of the stateless era, with the headers that belong to it.
func (w *world) modern(key, method, name, params, capabilities string) answer {
	w.t.Helper()
	return w.send(w.modernRequest(key, method, name, params, capabilities))
}

func (w *world) modernRequest(key, method, name, params, capabilities string) *http.Request {
	w.t.Helper()
	req := w.request(http.MethodPost, "/mcp", key, "", modernBody(method, params, capabilities))
	req.Header.Set("Mcp-Protocol-Version", "2026-07-28")
	req.Header.Set("Mcp-Method", method)
	if name != "" {
		req.Header.Set("Mcp-Name", name)
	}
	return req
}

func TestStatelessEnvelopeIsChecked(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fine := modernBody("tools/list", `{}`, nothing)
	call := modernBody("tools/call", `{"name":"add"}`, nothing)
	set := func(h http.Header, pairs ...string) {
		for i := 0; i < len(pairs); i += 2 {
			if h.Del(pairs[i]); pairs[i+1] != "" {
				h.Set(pairs[i], pairs[i+1])
			}
		}
	}
	tests := map[string]struct {
		body    []byte
		headers []string
		status  int
		code    int
	}{
		"as it should be":                 {fine, nil, 200, 0},
		"a name in base64":                {call, []string{"Mcp-Method", "tools/call", "Mcp-Name", "=?base64?YWRk?="}, 200, 0},
		"no version header":               {fine, []string{"Mcp-Protocol-Version", ""}, 400, -32020},
		"another version header":          {fine, []string{"Mcp-Protocol-Version", "2027-01-01"}, 400, -32020},
		"a version nobody speaks":         {[]byte(strings.Replace(string(fine), "2026-07-28", "2027-01-01", 1)), []string{"Mcp-Protocol-Version", "2027-01-01"}, 400, -32022},
		"no method header":                {fine, []string{"Mcp-Method", ""}, 400, -32020},
		"another method header":           {fine, []string{"Mcp-Method", "tools/call"}, 400, -32020},
		"no name header":                  {call, []string{"Mcp-Method", "tools/call"}, 400, -32020},
		"another name":                    {call, []string{"Mcp-Method", "tools/call", "Mcp-Name", "sub"}, 400, -32020},
		"a name in bad base64":            {call, []string{"Mcp-Method", "tools/call", "Mcp-Name", "=?base64?YWRk=?="}, 400, -32020},
		"no _meta":                        {[]byte(`{"jsonrpc":"2.0","id":1,"method":"tools/list","params":{}}`), nil, 400, -32602},
		"no capabilities":                 {[]byte(strings.Replace(string(fine), "clientCapabilities", "other", 1)), nil, 400, -32602},
		"capabilities that are no object": {[]byte(strings.Replace(string(fine), "Capabilities\":{}", "Capabilities\":7", 1)), nil, 400, -32602},
		"a method of the session era":     {modernBody("initialize", `{}`, nothing), []string{"Mcp-Method", "initialize"}, 404, -32601},
		"no such method":                  {modernBody("tasks/result", `{}`, nothing), []string{"Mcp-Method", "tasks/result"}, 404, -32601},
		"a response":                      {[]byte(`{"jsonrpc":"2.0","id":1,"result":{}}`), nil, 400, -32600},
		"a batch":                         {[]byte(`[]`), nil, 400, -32600},
		"no JSON":                         {[]byte(`{`), nil, 400, -32700},
		"an unknown cursor":               {modernBody("tools/list", `{"cursor":"x"}`, nothing), nil, 400, -32602},
		"a member twice":                  {modernBody("tools/call", `{"name":"sub","name":"add"}`, nothing), []string{"Mcp-Method", "tools/call", "Mcp-Name", "add"}, 400, -32602},
		"an Accept without streams":       {fine, []string{"Accept", "application/json"}, 406, -32600},
		"tasks without the extension":     {modernBody("tasks/get", `{"taskId":"t"}`, nothing), []string{"Mcp-Method", "tasks/get", "Mcp-Name", "t"}, 400, -32021},
		"a task that never was":           {modernBody("tasks/get", `{"taskId":"t"}`, everything), []string{"Mcp-Method", "tasks/get", "Mcp-Name", "t"}, 400, -32602},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := w.modernRequest("alice", "tools/list", "", `{}`, nothing)
			req = w.request(http.MethodPost, "/mcp", "alice", "", test.body).WithContext(req.Context())
			set(req.Header, "Mcp-Protocol-Version", "2026-07-28", "Mcp-Method", "tools/list")
			set(req.Header, test.headers...)
			res := w.send(req)
			m := parse(t, res.body)
			code := 0
			if m.Error != nil {
				code = m.Error.Code
			}
			if res.status != test.status || code != test.code {
				t.Errorf("= %d %s; want %d, code %d", res.status, res.body, test.status, test.code)
			}
		})
	}
}

func TestListsAreAnsweredWhileTheAgentSleeps(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.live(false)
	edgetest.Until(t, "lists come from what was recorded", func() bool {
		return strings.Contains(w.modern("alice", "tools/list", "", `{}`, nothing).body, `"workflows-list"`)
	})
	list := w.modern("alice", "tools/list", "", `{}`, nothing).body
	for _, want := range []string{`"resultType":"complete"`, `"ttlMs":60000`, `"cacheScope":"private"`} {
		if !strings.Contains(list, want) {
			t.Errorf("%s is not in %s", want, list)
		}
	}
	about := w.modern("alice", "server/discover", "", `{}`, nothing).body
	for _, want := range []string{`"2026-07-28","2025-11-25"`, `"io.modelcontextprotocol/tasks"`, `"listChanged":true`, `"recorded"`} {
		if !strings.Contains(about, want) {
			t.Errorf("%s is not in %s", want, about)
		}
	}
	if res := w.modern("alice", "prompts/list", "", `{}`, nothing); res.status != http.StatusNotFound {
		t.Errorf("prompts that the app does not have: %+v", res)
	}
	if n := len(w.agent.Seen()); n != 0 {
		t.Errorf("the agent was asked %d times", n)
	}
}

func TestStatelessCallReachesAnAgentOfTheSessionEra(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.agent.Call = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		edgetest.Stream(rw)
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/message","params":{"level":"info","data":"unasked"}}`))
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"p1","progress":1}}`))
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, json.RawMessage(`{"content":[]}`)))
	}
	res := w.modern("alice", "tools/call", "add", `{"name":"add","arguments":{"a":1}}`, everything)
	if !strings.Contains(res.body, `"progressToken":"p1"`) || strings.Contains(res.body, "unasked") ||
		!strings.Contains(res.body, `"id":"m1","result":{"resultType":"complete","content":[]}`) {
		t.Errorf("the client got %s", res.body)
	}
	if res.header.Get("Mcp-Session-Id") != "" {
		t.Error("a session was given")
	}
	var called string
	for _, seen := range w.agent.Seen() {
		if seen.Header.Get("Authorization") != "" {
			t.Errorf("the caller's key was passed on: %v", seen.Header)
		}
		if strings.Contains(string(seen.Body), "tools/call") {
			called = string(seen.Body)
		}
	}
	if strings.Contains(called, "modelcontextprotocol/") || !strings.Contains(called, `"vendor.example/own":1`) || !strings.Contains(called, `"arguments":{"a":1}`) {
		t.Errorf("the agent got %s", called)
	}
}

// asking is an agent that asks one question in a call, and says what it was told.
func (w *world) asking() {
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, m jsonrpc.Message) {
		edgetest.Stream(rw)
		edgetest.Event(rw, []byte(`{"jsonrpc":"2.0","id":77,"method":"elicitation/create","params":{"message":"Sure?","requestedSchema":{"type":"object","properties":{}}}}`))
		told := ""
		for told == "" && r.Context().Err() == nil {
			for _, seen := range w.agent.Seen() {
				if a, err := jsonrpc.Parse(seen.Body); err == nil && a.IsResponse() && string(a.ID) == "77" {
					told = string(a.Result) + string(a.Error)
				}
			}
		}
		edgetest.Event(rw, jsonrpc.NewResult(m.ID, jsonrpc.Encode(map[string]any{"content": []any{}, "told": told})))
	}
}

type asked struct {
	Result struct {
		ResultType    string
		RequestState  string
		InputRequests map[string]struct{ Method string }
	}
}

func TestQuestionIsCarriedAcrossTheEras(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asking()
	res := w.modern("alice", "tools/call", "add", `{"name":"add","arguments":{"a":1,"b":2}}`, everything)
	var first asked
	if err := json.Unmarshal([]byte(res.body), &first); err != nil || first.Result.ResultType != "input_required" || first.Result.InputRequests["q1"].Method != "elicitation/create" {
		t.Fatalf("the question came as %+v", res)
	}
	retry := func(key, state, arguments, responses string) answer {
		params := `{"name":"add","arguments":` + arguments + `,"requestState":"` + state + `","inputResponses":` + responses + `}`
		return w.modern(key, "tools/call", "add", params, everything)
	}
	state, arguments, yes := first.Result.RequestState, `{"b":2, "a":1}`, `{"q1":{"action":"accept","content":{}}}`
	for name, try := range map[string]answer{
		"somebody else's":      retry("bob", state, arguments, yes),
		"with other arguments": retry("alice", state, `{"a":2}`, yes),
		"changed":              retry("alice", state+"A", arguments, yes),
		"of no value":          retry("alice", state, arguments, `{"q1":12345}`),
	} {
		if m := parse(t, try.body); try.status != http.StatusBadRequest || m.Error == nil || m.Error.Code != -32602 {
			t.Errorf("%s = %+v", name, try)
		}
	}
	if again := retry("alice", state, arguments, `{"other":{}}`); !strings.Contains(again.body, `"input_required"`) {
		t.Errorf("a retry without the answer = %+v", again)
	}
	if done := retry("alice", state, arguments, yes); !strings.Contains(done.body, `"told":"{\"action\":\"accept\",\"content\":{}}"`) || !strings.Contains(done.body, `"resultType":"complete"`) {
		t.Errorf("the answer led to %+v", done)
	}
	if late := retry("alice", state, arguments, yes); !strings.Contains(late.body, `"resultType":"complete"`) {
		t.Errorf("a retry of a call that is over = %+v", late)
	}
}

func TestQuestionThatTheClientCannotAnswerIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.asking()
	res := w.modern("alice", "tools/call", "add", `{"name":"add"}`, `{"sampling":{}}`)
	if !strings.Contains(res.body, `-32601`) || strings.Contains(res.body, "input_required") {
		t.Errorf("the call ended as %+v", res)
	}
}

func TestCallOfAClientThatHasGoneIsCancelled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	begun := make(chan struct{})
	w.agent.Call = func(rw http.ResponseWriter, r *http.Request, _ jsonrpc.Message) {
		edgetest.Stream(rw)
		close(begun)
		<-r.Context().Done()
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-begun
		cancel()
	}()
	if res, err := http.DefaultClient.Do(w.modernRequest("alice", "tools/call", "add", `{"name":"add"}`, nothing).WithContext(ctx)); err == nil {
		_ = res.Body.Close()
	}
	edgetest.Until(t, "the agent is told", func() bool {
		for _, seen := range w.agent.Seen() {
			if strings.Contains(string(seen.Body), "notifications/cancelled") {
				return true
			}
		}
		return false
	})
}

func TestRunIsATask(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	run := func(capabilities string) answer {
		return w.modern("alice", "tools/call", "workflows-Refund-run", `{"name":"workflows-Refund-run","arguments":{"run_parameters":{"order":"A"}}}`, capabilities)
	}
	if ids := run(nothing); !strings.Contains(ids.body, `"resultType":"complete"`) || !strings.Contains(ids.body, "run_id") {
		t.Errorf("a client without tasks got %+v", ids)
	}
	var made struct {
		Result struct{ ResultType, TaskID, Status string }
	}
	created := run(everything)
	if err := json.Unmarshal([]byte(created.body), &made); err != nil || made.Result.ResultType != "task" || made.Result.Status != "working" {
		t.Fatalf("the task was made as %+v", created)
	}
	id := made.Result.TaskID
	task := func(key, method, more string) string {
		return w.modern(key, method, id, `{"taskId":"`+id+`"`+more+`}`, everything).body
	}
	if got := task("alice", "tasks/get", ""); !strings.Contains(got, `"status":"working"`) || !strings.Contains(got, `"ttlMs":null`) {
		t.Errorf("the task is %s", got)
	}
	if got := task("bob", "tasks/get", ""); !strings.Contains(got, "Task not found") {
		t.Errorf("bob sees alice's task: %s", got)
	}
	q, err := schedulerv1.NewRunsServiceClient(w.Conn).AskQuestion(t.Context(), &schedulerv1.AskQuestionRequest{
		TargetId: app, RunId: "Refund-run", Method: "elicitation/create", ParamsJson: `{"message":"Sure?"}`, SignalName: "s",
	})
	if err != nil {
		t.Fatal(err)
	}
	key := q.GetQuestion().GetQuestionId()
	if got := task("alice", "tasks/get", ""); !strings.Contains(got, `"status":"input_required"`) || !strings.Contains(got, key) {
		t.Errorf("the task that asks is %s", got)
	}
	if got := task("alice", "tasks/update", `,"inputResponses":{"`+key+`":{"action":"accept"},"unknown":{}}`); !strings.Contains(got, `{"resultType":"complete"}`) {
		t.Errorf("the answer was taken with %s", got)
	}
	if got := w.Runs.Answers()[key]; got != `{"action":"accept"}` {
		t.Errorf("the run was told %q", got)
	}
	if got := task("alice", "tasks/get", ""); strings.Contains(got, key) {
		t.Errorf("the answered question is still there: %s", got)
	}
	if got := task("alice", "tasks/cancel", ""); !strings.Contains(got, `{"resultType":"complete"}`) {
		t.Errorf("cancelled with %s", got)
	}
}

func TestRunAsksAClientThatPolls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	asking := `{"elicitation":{"form":{}}}`
	poll := func(key, more, capabilities string) string {
		return w.modern(key, "tools/call", "workflows-get_status", `{"name":"workflows-get_status","arguments":{"run_id":"Refund-run"}`+more+`}`, capabilities).body
	}
	w.modern("alice", "tools/call", "workflows-Refund-run", `{"name":"workflows-Refund-run","arguments":{"run_parameters":{"order":"A"}}}`, asking)
	if got := poll("alice", "", asking); !strings.Contains(got, `"resultType":"complete"`) {
		t.Errorf("a run that asks nothing is %s", got)
	}
	q, err := schedulerv1.NewRunsServiceClient(w.Conn).AskQuestion(t.Context(), &schedulerv1.AskQuestionRequest{
		TargetId: app, RunId: "Refund-run", Method: "elicitation/create", ParamsJson: `{"message":"Sure?"}`, SignalName: "s",
	})
	if err != nil {
		t.Fatal(err)
	}
	id := q.GetQuestion().GetQuestionId()
	var asked struct {
		Result struct{ ResultType, RequestState string }
	}
	got := poll("alice", "", asking)
	if err := json.Unmarshal([]byte(got), &asked); err != nil || asked.Result.ResultType != "input_required" || !strings.Contains(got, id) {
		t.Fatalf("a run that asks is %s", got)
	}
	back := `,"requestState":"` + asked.Result.RequestState + `","inputResponses":{"` + id + `":{"action":"accept"}}`
	for who, got := range map[string]string{
		"a client that cannot be asked": poll("alice", "", nothing), "another user": poll("bob", "", asking), "another user's answer": poll("bob", back, asking),
	} {
		// Who sees the run sees what it asks (as text), but is not asked.
		if strings.Contains(got, `"resultType":"input_required"`) || len(w.Runs.Answers()) > 0 {
			t.Errorf("%s got %s", who, got)
		}
	}
	if got := poll("alice", back, asking); !strings.Contains(got, `"resultType":"complete"`) || w.Runs.Answers()[id] != `{"action":"accept"}` {
		t.Errorf("answered, the run is %s and was told %v", got, w.Runs.Answers())
	}
	if got := poll("alice", back, asking); !strings.Contains(got, `"resultType":"complete"`) {
		t.Errorf("answered twice, the run is %s", got)
	}
}

func TestSubscriptionTellsTasksAndLists(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.Runs.Put(&schedulerv1.Run{RunId: "Refund-run", WorkflowId: "Refund-1", TargetId: app, Name: "Refund", Status: schedulerv1.RunStatus_RUN_STATUS_RUNNING})
	created := w.modern("alice", "tools/call", "workflows-Refund-run", `{"name":"workflows-Refund-run"}`, everything)
	var made struct{ Result struct{ TaskID string } }
	if err := json.Unmarshal([]byte(created.body), &made); err != nil {
		t.Fatal(err)
	}
	stream := w.listen(w.modernRequest("alice", "subscriptions/listen", "", `{"notifications":{"toolsListChanged":true,"promptsListChanged":true,"taskIds":["`+made.Result.TaskID+`"]}}`, everything))
	if ack := stream.next(); !strings.Contains(ack, "notifications/subscriptions/acknowledged") || strings.Contains(ack, "prompts") || !strings.Contains(ack, `"io.modelcontextprotocol/subscriptionId":"m1"`) {
		t.Errorf("acknowledged with %s", ack)
	}
	if now := stream.next(); !strings.Contains(now, `"notifications/tasks"`) || !strings.Contains(now, `"working"`) {
		t.Errorf("first told %s", now)
	}
	w.Deployments.Set(&schedulerv1.Endpoint{TargetId: app, AppId: app, OrgId: "org_1", VersionId: "ver_2", ServerUrl: w.agent.URL(), Ready: true, Kind: "mcp-agent", ToolsJson: `{"tools":[]}`, InitializeJson: `{}`})
	if changed := stream.next(); !strings.Contains(changed, "notifications/tools/list_changed") || !strings.Contains(changed, "subscriptionId") {
		t.Errorf("a new version was told as %s", changed)
	}
}
