package approve_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/approve"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/seal"
)

const form = `{"message":"Pay <b>12 €</b>?","requestedSchema":{"type":"object","properties":{
	"ok":{"type":"boolean","title":"Pay it"},"amount":{"type":"number","default":12.5},
	"from":{"type":"string","enum":["a","b"],"enumNames":["Account A","Account B"]},
	"tags":{"type":"array","items":{"enum":["x","y"]}},"note":{"type":"string","description":"A \"note\""}},"required":["ok"]}}`

type keys struct{}

func (keys) Authenticate(_ context.Context, key string) (principal.Principal, error) {
	if key != "alice" {
		return principal.Principal{}, fault.Unauthenticated.Errorf("this key is not known")
	}
	return principal.Principal{Kind: principal.User, UserID: "u_alice", OrgID: "org_1"}, nil
}

// office is a server of links with one open question.
type office struct {
	t        *testing.T
	runs     *edgetest.Runs
	url      string
	question string
	now      time.Time
}

func newOffice(t *testing.T) *office {
	t.Helper()
	ring, err := seal.New(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	rooms := edgetest.NewRooms(t)
	runs := schedulerv1.NewRunsServiceClient(rooms.Conn)
	o := &office{t: t, runs: rooms.Runs, now: time.Now()}
	mux := http.NewServeMux()
	approve.New(approve.Deps{Auth: keys{}, Runs: runs, Seal: ring, Now: func() time.Time { return o.now }}).Routes(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	o.url = server.URL
	rooms.Runs.Put(&schedulerv1.Run{RunId: "run", WorkflowId: "w", TargetId: "app"})
	asked, err := runs.AskQuestion(t.Context(), &schedulerv1.AskQuestionRequest{TargetId: "app", RunId: "run", Method: "elicitation/create", ParamsJson: form, SignalName: "s"})
	if err != nil {
		t.Fatal(err)
	}
	o.question = asked.GetQuestion().GetQuestionId()
	return o
}

func (o *office) do(method, url, key string, form url.Values) (int, string) {
	o.t.Helper()
	req, err := http.NewRequestWithContext(o.t.Context(), method, url, strings.NewReader(form.Encode()))
	if err != nil {
		o.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		o.t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	body, err := io.ReadAll(res.Body)
	if err != nil {
		o.t.Fatal(err)
	}
	if strings.Contains(url, "/approve/") && (res.Header.Get("Cache-Control") != "no-store" || !strings.Contains(res.Header.Get("Content-Security-Policy"), "frame-ancestors 'none'") || res.Header.Get("Referrer-Policy") != "no-referrer") {
		o.t.Errorf("the page has the headers %v", res.Header)
	}
	return res.StatusCode, string(body)
}

// link makes a link as alice.
func (o *office) link() string {
	o.t.Helper()
	status, body := o.do(http.MethodPost, o.url+"/api/v1/approvals/"+o.question+"/link", "alice", nil)
	var made struct{ URL string }
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusOK {
		o.t.Fatalf("a link was made with %d %s", status, body)
	}
	return made.URL
}

func TestLinkAnswersOnce(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	link := o.link()
	for range 2 { // looking answers nothing
		status, body := o.do(http.MethodGet, link, "", nil)
		for _, want := range []string{"Pay &lt;b&gt;12 €&lt;/b&gt;?", `type="checkbox" name="ok"`, `value="12.5"`, "Account B", `lang="en"`, "A &#34;note&#34;", `for="f`} {
			if status != http.StatusOK || !strings.Contains(body, want) {
				t.Errorf("%s is not on the page: %d %s", want, status, body)
			}
		}
	}
	if len(o.runs.Answers()) != 0 {
		t.Fatal("looking at the page has answered")
	}
	if status, body := o.do(http.MethodPost, link, "", url.Values{"ok": {"true"}, "amount": {"much"}, "answer": {"accept"}}); status != http.StatusBadRequest || !strings.Contains(body, "must be a number") || !strings.Contains(body, " checked") {
		t.Errorf("a wrong number = %d %s", status, body)
	}
	given := url.Values{"ok": {"true"}, "amount": {"7"}, "from": {"b"}, "tags": {"x", "y"}, "note": {""}, "answer": {"accept"}}
	if status, body := o.do(http.MethodPost, link, "", given); status != http.StatusOK || !strings.Contains(body, "Thank you") {
		t.Errorf("the answer = %d %s", status, body)
	}
	if got, want := o.runs.Answers()[o.question], `{"action":"accept","content":{"amount":7,"from":"b","ok":true,"tags":["x","y"]}}`; got != want {
		t.Errorf("the run was told %s, want %s", got, want)
	}
	_, callers := edgetest.Requests[*schedulerv1.AnswerQuestionRequest](o.runs)
	if callers[0].UserID != "u_alice" || callers[0].OrgID != "org_1" {
		t.Errorf("it was answered by %+v", callers[0])
	}
	if status, body := o.do(http.MethodPost, link, "", given); status != http.StatusConflict || !strings.Contains(body, "answered already") {
		t.Errorf("a second answer = %d %s", status, body)
	}
	if _, body := o.do(http.MethodGet, link, "", nil); strings.Contains(body, "<form") {
		t.Errorf("the form is still there: %s", body)
	}
}

func TestDecline(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	o.do(http.MethodPost, o.link(), "", url.Values{"answer": {"decline"}, "ok": {"true"}})
	if got := o.runs.Answers()[o.question]; got != `{"action":"decline"}` {
		t.Errorf("the run was told %s", got)
	}
}

func TestOnlyLinksOfOursWork(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	if status, _ := o.do(http.MethodPost, o.url+"/api/v1/approvals/"+o.question+"/link", "nobody", nil); status != http.StatusUnauthorized {
		t.Errorf("a stranger's link: %d", status)
	}
	if status, _ := o.do(http.MethodPost, o.url+"/api/v1/approvals/qst_none/link", "alice", nil); status != http.StatusNotFound {
		t.Errorf("a link for no question: %d", status)
	}
	link := o.link()
	for _, bad := range []string{link + "A", link[:len(link)-3], o.url + "/approve/x", o.url + "/approve/a1.AAAA.AAAA"} {
		if status, body := o.do(http.MethodGet, bad, "", nil); status != http.StatusNotFound || !strings.Contains(body, "not complete") {
			t.Errorf("%s = %d %s", bad, status, body)
		}
	}
	o.now = o.now.Add(8 * 24 * time.Hour)
	if status, body := o.do(http.MethodPost, link, "", url.Values{"answer": {"decline"}}); status != http.StatusNotFound || !strings.Contains(body, "expired") {
		t.Errorf("an old link = %d %s", status, body)
	}
}

func TestADeadlineIsShownAndKept(t *testing.T) {
	t.Parallel()
	o := newOffice(t)
	until := o.now.Add(time.Hour)
	o.runs.Limit(o.question, until, false)
	status, body := o.do(http.MethodPost, o.url+"/api/v1/approvals/"+o.question+"/link", "alice", nil)
	var made struct {
		URL       string
		ExpiresAt time.Time
	}
	if err := json.Unmarshal([]byte(body), &made); err != nil || status != http.StatusOK || !made.ExpiresAt.Equal(until.Truncate(time.Second)) {
		t.Fatalf("a link was made with %d %s, want it to expire at %s", status, body, until)
	}
	shown := until.UTC().Format("2 January 2006, 15:04 UTC")
	if _, body := o.do(http.MethodGet, made.URL, "", nil); !strings.Contains(body, "Answer until "+shown) {
		t.Errorf("the page does not say until when: %s", body)
	}
	o.runs.Limit(o.question, until, true)
	if status, body := o.do(http.MethodPost, made.URL, "", url.Values{"ok": {"true"}, "answer": {"accept"}}); status != http.StatusConflict || !strings.Contains(body, "until "+shown) || strings.Contains(body, "<form") {
		t.Errorf("an answer after the deadline = %d %s", status, body)
	}
}
