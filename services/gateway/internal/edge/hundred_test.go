package edge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	crowd = 100
	// crowdLimit bounds all that they do together.
	crowdLimit = 40 * time.Second
)

// labels are what each of the crowd puts into all that they say.
var labels = regexp.MustCompile(`label-\d+-`)

func label(i int) string { return fmt.Sprintf("label-%d-", i) }

// member is one of the crowd; each request goes to the replica after the one before.
type member struct {
	*world
	label, key string
	at         []string
	turn       int
	client     *http.Client
	until      context.Context //nolint:containedctx // one for all that the crowd does
}

func (u *member) next() string {
	u.turn++
	return u.at[u.turn%len(u.at)]
}

// own holds what came to the user's label.
func (u *member) own(text string) string {
	for _, found := range labels.FindAllString(text, -1) {
		if found != u.label {
			u.t.Errorf("%s reads %s", u.label, text)
		}
	}
	return text
}

func (u *member) begin(req *http.Request) *http.Response {
	res, err := u.client.Do(sentTo(u.next(), req.WithContext(u.until)))
	if err != nil {
		u.t.Error(err)
		return &http.Response{Body: io.NopCloser(strings.NewReader("")), Header: http.Header{}}
	}
	return res
}

func (u *member) whole(req *http.Request) answer {
	res := u.begin(req)
	defer res.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		u.t.Error(err)
	}
	return answer{res.StatusCode, res.Header, u.own(string(raw))}
}

// reply answers what the agent asks, with the label.
func (u *member) answerOf(m jsonrpc.Message) string {
	if m.Method == "sampling/createMessage" {
		return `{"role":"assistant","model":"m","content":{"type":"text","text":"` + u.label + `"}}`
	}
	return `{"action":"accept","content":{"who":"` + u.label + `"}}`
}

// converse reads a stream and posts what is due: a session by SSE is begun, questions
// are answered. It ends with the response to the call and says what came, by method.
func (u *member) converse(body io.Reader, post func(message string)) (result string, seen map[string]int) {
	seen = map[string]int{}
	_ = sessions.ReadEvents(body, func(e sessions.Event) error { // a stream that ends early shows in the result
		m, err := jsonrpc.Parse([]byte(u.own(string(e.Data))))
		switch {
		case len(e.Data) == 0: // a sign of life
		case err != nil: // where to post
			post(string(e.Data))
			post(hello)
		case m.IsResponse() && string(m.ID) == "0":
			post(ready)
			post(string(u.work()))
		case m.IsRequest():
			post(`{"jsonrpc":"2.0","id":` + string(m.ID) + `,"result":` + u.answerOf(m) + `}`)
		case m.IsResponse() && string(m.ID) == `"c1"`:
			result = string(m.Result)
			return io.EOF
		}
		seen[m.Method]++
		return nil
	})
	return result, seen
}

// complete holds a result to both answers.
func (u *member) complete(how, result string, seen map[string]int) {
	if strings.Count(result, u.label) != 2 {
		u.t.Errorf("%s by %s ends as %q", u.label, how, result)
	}
	if seen["notifications/progress"] != 1 || seen["notifications/message"] < 1 {
		u.t.Errorf("%s by %s was told %v", u.label, how, seen)
	}
}

func (u *member) work() []byte {
	return []byte(`{"jsonrpc":"2.0","id":"c1","method":"tools/call","params":{"name":"work","arguments":{"for":"` + u.label + `"},"_meta":{"progressToken":"p1"}}}`)
}

// byStreamable is a session of streamable HTTP, with a stream of its own.
func (u *member) byStreamable() (session string) {
	id := u.whole(u.request(http.MethodPost, "/mcp", u.key, "", []byte(hello))).header.Get("Mcp-Session-Id")
	u.whole(u.request(http.MethodPost, "/mcp", u.key, id, []byte(ready)))
	unasked := u.begin(u.request(http.MethodGet, "/mcp", u.key, id, nil))
	defer unasked.Body.Close() //nolint:errcheck // it has no end
	called := u.begin(u.request(http.MethodPost, "/mcp", u.key, id, u.work()))
	defer called.Body.Close() //nolint:errcheck // read to its end
	result, seen := u.converse(called.Body, func(message string) {
		u.whole(u.request(http.MethodPost, "/mcp", u.key, id, []byte(message)))
	})
	u.complete("streamable HTTP", result, seen)
	first := ""
	_ = sessions.ReadEvents(unasked.Body, func(e sessions.Event) error {
		if len(e.Data) > 0 {
			first = u.own(string(e.Data))
			return io.EOF
		}
		return nil
	})
	if !strings.Contains(first, "unasked "+u.label) {
		u.t.Errorf("%s is told unasked %q", u.label, first)
	}
	return id
}

// bySSE is a session of the older transport.
func (u *member) bySSE() {
	res := u.begin(u.request(http.MethodGet, "/sse", u.key, "", nil))
	defer res.Body.Close() //nolint:errcheck // it has no end
	post := ""
	result, seen := u.converse(res.Body, func(message string) {
		if post == "" {
			post = message
			return
		}
		if res := u.whole(u.request(http.MethodPost, post, u.key, "", []byte(message))); res.status != http.StatusAccepted {
			u.t.Errorf("%s posts and gets %+v", u.label, res)
		}
	})
	u.complete("SSE", result, seen)
}

// byRetries is a call of the stateless era that is parked twice.
func (u *member) byRetries() (states []string) {
	more, id := "", []byte(`"id":"m1"`)
	for range 10 {
		params := `{"name":"work","arguments":{"for":"` + u.label + `"}` + more + `}`
		req := u.modernRequest(u.key, "tools/call", "work", params, everything)
		body, _ := io.ReadAll(req.Body)
		body = bytes.Replace(body, id, []byte(`"id":"c1"`), 1)
		body = bytes.Replace(body, []byte(`"progressToken"`), []byte(`"io.modelcontextprotocol/logLevel":"info","progressToken"`), 1)
		req.Body, req.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
		res := u.begin(req)
		raw, _ := io.ReadAll(res.Body)
		_ = res.Body.Close()
		text := u.own(string(raw))
		var got struct {
			Result struct {
				ResultType, RequestState string
				InputRequests            map[string]struct{ Method string }
			}
		}
		m := parse(u.t, text[max(strings.LastIndex(text, "data: "), 0):])
		_ = json.Unmarshal(m.Result, &got.Result)
		if got.Result.ResultType != "input_required" {
			u.complete("retries", string(m.Result), map[string]int{"notifications/progress": 1, "notifications/message": 1})
			return states
		}
		given := map[string]json.RawMessage{}
		for key, q := range got.Result.InputRequests {
			given[key] = json.RawMessage(u.answerOf(jsonrpc.Message{Method: q.Method}))
		}
		states = append(states, got.Result.RequestState)
		more = `,"requestState":"` + got.Result.RequestState + `","inputResponses":` + string(jsonrpc.Encode(given))
	}
	u.t.Errorf("%s is asked for ever", u.label)
	return states
}

// spoils are what the crowd has that could be stolen.
type spoils struct {
	mu               sync.Mutex
	sessions, states map[string]string // to whose it is
}

func (s *spoils) add(of, session string, states []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sessions[session] = of
	for _, state := range states {
		s.states[state] = of
	}
}

// steal tries everything of the others; each is refused.
func (u *member) steal(all *spoils) {
	for session, of := range all.sessions {
		if of == u.label || rand.N(10) > 0 { //nolint:gosec // a choice
			continue
		}
		for _, req := range []*http.Request{
			u.request(http.MethodPost, "/mcp", u.key, session, u.work()), u.request(http.MethodGet, "/mcp", u.key, session, nil),
			u.request(http.MethodDelete, "/mcp", u.key, session, nil),
		} {
			if res := u.whole(req); res.status != http.StatusNotFound {
				u.t.Errorf("%s %ss in the session of %s: %+v", u.label, req.Method, of, res)
			}
		}
	}
	for state, of := range all.states {
		if of == u.label || rand.N(20) > 0 { //nolint:gosec // as above
			continue
		}
		params := `{"name":"work","arguments":{"for":"` + of + `"},"requestState":"` + state + `","inputResponses":{}}`
		if res := u.whole(u.modernRequest(u.key, "tools/call", "work", params, everything)); res.status != http.StatusBadRequest {
			u.t.Errorf("%s goes on with the call of %s: %+v", u.label, of, res)
		}
	}
}

// A hundred users talk at once through two gateways in turn, in every way that there
// is; each reads their own label only, and so does the agent in each session.
func TestNobodyReadsWhatIsAnothers(t *testing.T) { //nolint:paralleltest // it takes all there is
	w := newWorld(t)
	newChatty(w)
	one, other, _ := w.twins()
	transport := &http.Transport{MaxIdleConnsPerHost: crowd}
	t.Cleanup(transport.CloseIdleConnections)
	until, cancel := context.WithTimeout(t.Context(), crowdLimit)
	defer cancel()
	all := &spoils{sessions: map[string]string{}, states: map[string]string{}}
	users := make([]*member, crowd)
	for i := range users {
		users[i] = &member{
			world: w, label: label(i), key: fmt.Sprintf("member-%d", i), at: []string{one, other}, turn: i,
			client: &http.Client{Transport: transport}, until: until,
		}
	}
	together := func(do func(u *member)) {
		var everybody sync.WaitGroup
		for _, u := range users {
			everybody.Go(func() { do(u) })
		}
		everybody.Wait()
	}
	together(func(u *member) {
		ways := []func(){
			func() { all.add(u.label, u.byStreamable(), nil) },
			u.bySSE,
			func() { all.add(u.label, "", u.byRetries()) },
		}
		rand.Shuffle(len(ways), func(i, j int) { ways[i], ways[j] = ways[j], ways[i] })
		for _, way := range ways {
			way()
		}
	})
	delete(all.sessions, "")
	if len(all.sessions) != crowd || len(all.states) < 2*crowd {
		t.Errorf("%d sessions and %d states of %d users", len(all.sessions), len(all.states), crowd)
	}
	together(func(u *member) { u.steal(all) })
	if until.Err() != nil {
		t.Errorf("it took longer than %v", crowdLimit)
	}
}

// withCrowd adds the crowd to the users that there are.
func withCrowd(k keys) keys {
	for i := range crowd {
		k[fmt.Sprintf("member-%d", i)] = principal.Principal{Kind: principal.User, UserID: fmt.Sprintf("u_member_%d", i), OrgID: "org_1"}
	}
	return k
}
