package edge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

const (
	token     = "agent-token"
	question  = `{"method":"elicitation/create","params":{"message":"may I?"}}`
	consented = `{"action":"accept","content":{"ok":true}}`
)

// withRun is a world with a running agent and a run that alice's session has started.
func withRun(t *testing.T) (w *world, session string, stream *events) {
	t.Helper()
	w = newWorld(t)
	w.Deployments.Grant(token, &schedulerv1.IdentifyAgentResponse{TargetId: app, AppId: app, OrgId: "org_1"})
	session = w.open("alice")
	stream = w.listen(w.request(http.MethodGet, "/mcp", "alice", session, nil))
	body := `{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"workflows-Refund-run","arguments":{"run_parameters":{}},"_meta":{"progressToken":"p7"}}}`
	if res := w.do(http.MethodPost, "/mcp", "alice", session, []byte(body)); !strings.Contains(res.body, "Refund-run") {
		t.Fatalf("run = %+v", res)
	}
	return w, session, stream
}

// phone is a call from an agent's worker.
func (w *world) phone(path, token, body string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.callbacks+path, bytes.NewReader([]byte(body)))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("X-Mcp-Gateway-Token", token)
	return w.send(req)
}

// ask has the run ask, waiting on the line; the event is the scheduler's, once the
// question is recorded.
func (w *world) ask() (answered chan answer) {
	w.t.Helper()
	answered = make(chan answer, 1)
	go func() { answered <- w.phone("/internal/session/by-run/Refund-run/request", token, question) }()
	edgetest.Until(w.t, "the question is recorded", func() bool {
		res, err := schedulerv1.NewRunsServiceClient(w.Conn).ListQuestions(w.t.Context(), &schedulerv1.ListQuestionsRequest{TargetId: app})
		return err == nil && len(res.GetQuestions()) == 1
	})
	w.publish(&schedulerv1.QuestionAsked{TargetId: app, RunId: "Refund-run", OrgId: "org_1"})
	return answered
}

// reply answers a question as its client.
func (w *world) reply(key, session string, asked rpc) {
	w.t.Helper()
	body := fmt.Appendf(nil, `{"jsonrpc":"2.0","id":%s,"result":%s}`, asked.ID, consented)
	if res := w.do(http.MethodPost, "/mcp", key, session, body); res.status != http.StatusAccepted {
		w.t.Errorf("reply = %+v", res)
	}
}

func TestWhatARunSaysReachesItsClient(t *testing.T) {
	t.Parallel()
	w, _, stream := withRun(t)
	tests := []struct{ path, body, method, params string }{
		{"/internal/session/by-run/Refund-run/notify", `{"method":"notifications/message","params":{"data":"hi"}}`, "notifications/message", `"hi"`},
		{"/internal/session/by-run/Refund-run/notify", `{"method":"notifications/progress","params":{"progressToken":"its own","progress":1}}`, "notifications/progress", `"progressToken":"p7"`},
		{"/internal/workflows/log", `{"execution_id":"Refund-run","level":"warning","namespace":"a.b","message":"careful"}`, "notifications/message", "careful"},
	}
	for _, test := range tests {
		if res := w.phone(test.path, token, test.body); res.status != http.StatusOK {
			t.Errorf("%s = %+v", test.path, res)
		}
		if m := parse(t, stream.next()); m.Method != test.method || !strings.Contains(string(m.Params), test.params) {
			t.Errorf("the client hears %+v, want %s with %s", m, test.method, test.params)
		}
	}
}

func TestAQuestionIsAskedAndAnswered(t *testing.T) {
	t.Parallel()
	w, session, stream := withRun(t)
	answers := w.ask()
	asked := parse(t, stream.next())
	if asked.Method != "elicitation/create" || !strings.Contains(string(asked.Params), "may I?") {
		t.Errorf("asked = %+v", asked)
	}
	w.reply("alice", session, asked)
	if got := <-answers; got.status != http.StatusOK || !strings.Contains(got.body, `"accept"`) {
		t.Errorf("the run hears %+v", got)
	}
	w.reply("alice", session, asked) // a second answer is nobody's
	if given := w.Runs.Answers(); len(given) != 1 {
		t.Errorf("answers = %v", given)
	}
}

// By a signal: the worker does not wait on the line, and may be restarted meanwhile.
func TestAQuestionWhoseAnswerIsASignal(t *testing.T) {
	t.Parallel()
	w, session, stream := withRun(t)
	body := `{"method":"sampling/createMessage","params":{},"signal_name":"answer"}`
	if res := w.phone("/internal/session/by-run/Refund-1/Refund-run/async-request", token, body); !strings.Contains(res.body, "received") {
		t.Fatalf("async-request = %+v", res)
	}
	w.reply("alice", session, parse(t, stream.next()))
	edgetest.Until(t, "it is answered", func() bool { return len(w.Runs.Answers()) == 1 })
}

// A question waits for a client: here its asker's session is gone, and comes again.
func TestAQuestionStaysOpenUntilSomebodyComes(t *testing.T) {
	t.Parallel()
	w, session, _ := withRun(t)
	w.do(http.MethodDelete, "/mcp", "alice", session, nil)
	prompt := `{"execution_id":"Refund-run","prompt":{"text":"which one?"},"metadata":{"workflow_id":"Refund-1","signal_name":"human"}}`
	if res := w.phone("/internal/human/prompts", token, prompt); !strings.Contains(res.body, "request_id") {
		t.Fatalf("prompt = %+v", res)
	}
	bobs := w.open("bob")
	bob := w.listen(w.request(http.MethodGet, "/mcp", "bob", bobs, nil))
	later := w.open("alice")
	asked := parse(t, w.listen(w.request(http.MethodGet, "/mcp", "alice", later, nil)).next())
	if !strings.Contains(string(asked.Params), "which one?") {
		t.Errorf("asked = %+v", asked)
	}
	w.reply("alice", later, asked)
	edgetest.Until(t, "it is answered", func() bool { return len(w.Runs.Answers()) == 1 })
	heard := make(chan string, 1)
	go func() {
		if bob.lines.Scan() {
			heard <- bob.lines.Text()
		}
	}()
	select {
	case line := <-heard:
		t.Errorf("bob was asked, or told: %s", line)
	case <-time.After(50 * time.Millisecond): // nothing came
	}
}

func TestCallbacksThatAreRefused(t *testing.T) {
	t.Parallel()
	w, _, _ := withRun(t)
	w.Deployments.Grant("other-token", &schedulerv1.IdentifyAgentResponse{TargetId: "app_b", AppId: "app_b", OrgId: "org_1"})
	run := "/internal/session/by-run/Refund-run"
	tests := map[string]struct {
		path, token, body string
		want              int
	}{
		"no token":               {run + "/notify", "", `{"method":"notifications/message"}`, http.StatusUnauthorized},
		"a wrong token":          {run + "/notify", "wrong", `{"method":"notifications/message"}`, http.StatusUnauthorized},
		"another app's run":      {run + "/notify", "other-token", `{"method":"notifications/message"}`, http.StatusNotFound},
		"another app's question": {run + "/request", "other-token", question, http.StatusNotFound},
		"no notification":        {run + "/notify", token, `{"method":"tools/call"}`, http.StatusBadRequest},
		"no JSON":                {run + "/notify", token, `{`, http.StatusBadRequest},
		"too large":              {run + "/notify", token, `{"method":"` + strings.Repeat("x", 4<<20) + `"}`, http.StatusRequestEntityTooLarge},
		"what nobody can answer": {run + "/request", token, `{"method":"tools/call"}`, http.StatusNotImplemented},
		"no signal":              {"/internal/session/by-run/Refund-1/Refund-run/async-request", token, question, http.StatusBadRequest},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if res := w.phone(test.path, test.token, test.body); res.status != test.want {
				t.Errorf("answer = %+v, want %d", res, test.want)
			}
		})
	}
}

func TestWhatNeedsNoAnswerIsWithdrawn(t *testing.T) {
	t.Parallel()
	for name, event := range map[string]proto.Message{
		"answered":  &schedulerv1.QuestionAnswered{TargetId: app, QuestionId: "qst_1"},
		"expired":   &schedulerv1.QuestionExpired{TargetId: app, QuestionId: "qst_1"},
		"withdrawn": &schedulerv1.QuestionWithdrawn{TargetId: app, QuestionId: "qst_1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			isWithdrawn(t, event)
		})
	}
}

// isWithdrawn checks that a client which was asked is told by the event not to answer.
func isWithdrawn(t *testing.T, event proto.Message) {
	t.Helper()
	w, _, stream := withRun(t)
	answers := w.ask()
	asked := parse(t, stream.next())
	w.publish(event)
	var params struct {
		RequestID json.RawMessage `json:"requestId"`
	}
	m := parse(t, stream.next())
	if err := json.Unmarshal(m.Params, &params); err != nil || m.Method != "notifications/cancelled" || string(params.RequestID) != string(asked.ID) {
		t.Errorf("the client hears %+v", m)
	}
	// The call ends with the answer that was given elsewhere.
	if _, err := schedulerv1.NewRunsServiceClient(w.Conn).AnswerQuestion(t.Context(), &schedulerv1.AnswerQuestionRequest{QuestionId: "qst_1", AnswerJson: consented}); err != nil {
		t.Error(err)
	}
	if got := <-answers; !strings.Contains(got.body, "accept") {
		t.Errorf("the run hears %+v", got)
	}
}
