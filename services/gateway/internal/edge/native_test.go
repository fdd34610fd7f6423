package edge_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// tool calls a tool and returns the text of its result, and whether it is an error.
func (w *world) tool(session, name, arguments string) (text string, isError bool) {
	w.t.Helper()
	res := w.do(http.MethodPost, "/mcp", "alice", session, call(name, arguments))
	var result struct {
		Content []struct{ Text string }
		IsError bool
	}
	if err := json.Unmarshal(parse(w.t, res.body).Result, &result); err != nil || len(result.Content) == 0 {
		w.t.Fatalf("%s answers %+v", name, res)
	}
	compact := &bytes.Buffer{}
	if json.Compact(compact, []byte(result.Content[0].Text)) != nil {
		return result.Content[0].Text, result.IsError
	}
	return compact.String(), result.IsError
}

func TestWorkflowTools(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.open("alice")
	w.Runs.Put(&schedulerv1.Run{RunId: "other-run", WorkflowId: "other-1", TargetId: "app_b", Name: "Other"})
	tests := []struct {
		tool, arguments string
		isError         bool
		says            string
	}{
		{"workflows-list", `{}`, false, `"Refund"`},
		{"workflows-Refund-run", `{"run_parameters":{"order":"A"}}`, false, `"run_id":"Refund-run"`},
		{"dig", `{"deep":true}`, false, `"run_id":"dig-run"`},
		{"workflows-run", `{"workflow_name":"Refund"}`, false, `"run_id":"Refund-run"`},
		{"workflows-run", `{}`, true, "workflow_name is needed"},
		{"workflows-get_status", `{"run_id":"Refund-run"}`, false, `"status":"running"`},
		{"workflows-get_status", `{"workflow_id":"Refund-1"}`, false, `"status":"running"`},
		{"workflows-get_status", `{}`, true, "Either run_id or workflow_id"},
		{"workflows-get_status", `{"run_id":"nothing"}`, true, "no run of this app"},
		{"workflows-get_status", `{"run_id":"other-run"}`, true, "no run of this app"},
		{"workflows-get_status", `{"run_id":7}`, true, "input schema"},
		{"workflows-resume", `{"run_id":"Refund-run","payload":{"ok":true}}`, false, "true"},
		{"workflows-resume", `{"run_id":"other-run"}`, false, "false"},
		{"workflows-cancel", `{"run_id":"Refund-run"}`, false, "true"},
		{"workflows-cancel", `{"run_id":"nothing"}`, false, "false"},
	}
	for _, test := range tests { // one after another: the first start what the others ask about
		if text, isError := w.tool(id, test.tool, test.arguments); isError != test.isError || !strings.Contains(text, test.says) {
			t.Errorf("%s %s = %v, %s; want %v, %s", test.tool, test.arguments, isError, text, test.isError, test.says)
		}
	}
	if listed, _ := w.tool(id, "workflows-runs-list", `{"limit":5}`); strings.Contains(listed, "Other") || !strings.Contains(listed, "Refund") {
		t.Errorf("runs = %s", listed)
	}
	starts, callers := edgetest.Requests[*schedulerv1.StartRunRequest](w.Runs)
	if starts[0].GetArgumentsJson() != `{"order":"A"}` || starts[0].GetSessionId() != id || callers[0].UserID != "u_alice" {
		t.Errorf("the run was started with %v by %+v", starts[0], callers[0])
	}
	signals, _ := edgetest.Requests[*schedulerv1.SignalRunRequest](w.Runs)
	if signals[0].GetSignalName() != "resume" || signals[0].GetPayloadJson() != `{"ok":true}` {
		t.Errorf("the signal was %v", signals[0])
	}
	for _, seen := range w.agent.Seen() {
		if strings.Contains(string(seen.Body), "tools/call") {
			t.Errorf("the agent was asked: %s", seen.Body)
		}
	}
}

// Only a part of the cloud that is away is an error of the protocol.
func TestWhatTheSchedulerRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		refusal error
		inside  bool // a result that says so
		never   string
	}{
		"wrong arguments":      {refusal: fault.Invalid.Errorf("order is missing"), inside: true},
		"no such workflow":     {refusal: fault.NotFound.Errorf("no workflow of that name"), inside: true},
		"it is away":           {refusal: fault.Unavailable.Errorf("Temporal does not answer")},
		"a mistake of our own": {refusal: errors.New("dial 10.0.0.7: password hunter2"), never: "hunter2"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.Runs.Refuse = func(proto.Message) error { return test.refusal }
			res := w.do(http.MethodPost, "/mcp", "alice", w.open("alice"), call("workflows-Refund-run", `{}`))
			m := parse(t, res.body)
			if test.inside && !strings.Contains(string(m.Result), fault.Message(test.refusal)) || !test.inside && m.Error == nil {
				t.Errorf("answer = %+v", res)
			}
			if test.never != "" && strings.Contains(res.body, test.never) {
				t.Errorf("it shows what it must not: %s", res.body)
			}
		})
	}
}

// A run that waits says for what, and how it is told.
func TestStatusListsOpenQuestions(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.open("alice")
	w.tool(id, "workflows-Refund-run", `{}`)
	status := func() string {
		text, _ := w.tool(id, "workflows-get_status", `{"run_id":"Refund-run"}`)
		return text
	}
	if text := status(); !strings.Contains(text, `"metadata":{}`) {
		t.Errorf("a run that asks nothing has the status %s", text)
	}
	_, err := schedulerv1.NewRunsServiceClient(w.Conn).AskQuestion(t.Context(), &schedulerv1.AskQuestionRequest{
		TargetId: app, RunId: "Refund-run", Method: "elicitation/create", ParamsJson: `{"message":"Sure?"}`, SignalName: "mcp_rpc_1",
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `"metadata":{"questions":[{"question_id":"qst_1","signal_name":"mcp_rpc_1","method":"elicitation/create","params":{"message":"Sure?"},"asked_at":null,"deadline":null,"href":"/api/v1/approvals/qst_1"}]}`
	if text := status(); !strings.Contains(text, want) {
		t.Errorf("a run that asks has the status %s, want %s", text, want)
	}
}
