package commandhost

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

func TestAServerOnStandardInput(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stdio", nil)
	ready := w.await(t, agentenv.StateReady)
	if ready.AppName != "fake" || ready.Instructions != "be kind" || ready.Kind != agentenv.KindCommand {
		t.Errorf("it says of itself %+v", ready)
	}
	var mu sync.Mutex
	var progress []float64
	s := w.connect(t, &mcp.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *mcp.ProgressNotificationClientRequest) {
			mu.Lock()
			defer mu.Unlock()
			progress = append(progress, r.Params.Progress)
		},
		ElicitationHandler: func(context.Context, *mcp.ElicitRequest) (*mcp.ElicitResult, error) {
			return &mcp.ElicitResult{Action: "accept", Content: map[string]any{"color": "blue"}}, nil
		},
	})
	tools, err := s.ListTools(t.Context(), nil)
	if err != nil || len(tools.Tools) != 1 {
		t.Fatalf("ListTools() = %v, %v", tools, err)
	}
	if got, err := callTool(t, s, "progress", nil, mcp.Meta{"progressToken": "p"}); err != nil || got != "done" {
		t.Errorf("progress = %q, %v", got, err)
	}
	eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(progress) == 2 }, func() string { return fmt.Sprint(progress) })
	if got, err := callTool(t, s, "ask", nil); err != nil || !strings.Contains(got, "blue") {
		t.Errorf("ask = %q, %v", got, err)
	}
	if got, err := callTool(t, s, "env", map[string]any{"name": "TOKEN"}); err != nil || got != "very-secret-value" {
		t.Errorf("the program's TOKEN is %q, %v", got, err)
	}
	if !strings.Contains(w.log.String(), "a banner that is no message") {
		t.Errorf("the banner is not in the log: %s", w.log)
	}
}

func TestEachSessionHasAProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stdio", nil)
	w.await(t, agentenv.StateReady)
	one, two := w.connect(t, nil), w.connect(t, nil)
	first, err := callTool(t, one, "pid", nil)
	if err != nil {
		t.Fatal(err)
	}
	second, err := callTool(t, two, "pid", nil)
	if err != nil || first == second {
		t.Fatalf("pids %s and %s, %v; want two", first, second, err)
	}
	pid, err := strconv.Atoi(first)
	if err != nil {
		t.Fatal(err)
	}
	if err := one.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return syscall.Kill(pid, 0) != nil }, func() string { return "the process of a session that is over runs on" })
	if again, err := callTool(t, two, "pid", nil); err != nil || again != second {
		t.Errorf("the other session's pid = %s, %v; want %s", again, err, second)
	}
}

// post sends one message and returns the status, the session and all events.
func (w *world) post(ctx context.Context, t *testing.T, session, body string) *http.Response {
	t.Helper()
	return w.request(ctx, t, http.MethodPost, session, body, "")
}

func (w *world) request(ctx context.Context, t *testing.T, method, session, body, last string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if session != "" {
		req.Header.Set("Mcp-Session-Id", session)
	}
	if last != "" {
		req.Header.Set("Last-Event-Id", last)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = res.Body.Close() })
	return res
}

const initialize = `{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`

func toolCall(id int, name, arguments string) string {
	return fmt.Sprintf(`{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":%q,"arguments":%s}}`, id, name, arguments)
}

// events reads n events with data, and the id of the last.
func events(t *testing.T, res *http.Response, n int) (data []string, last string) {
	t.Helper()
	lines := bufio.NewScanner(res.Body)
	for len(data) < n && lines.Scan() {
		if id, ok := strings.CutPrefix(lines.Text(), "id: "); ok {
			last = id
		}
		if d, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			data = append(data, d)
		}
	}
	if len(data) < n {
		t.Fatalf("%d events, want %d: %v (%v)", len(data), n, data, lines.Err())
	}
	return data, last
}

func TestACallThatIsReadAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stdio", nil)
	w.await(t, agentenv.StateReady)
	session := w.post(t.Context(), t, "", initialize).Header.Get("Mcp-Session-Id")
	steps := filepath.Join(t.TempDir(), "steps")
	ctx, cancel := context.WithCancel(t.Context())
	_, last := events(t, w.post(ctx, t, session, toolCall(2, "steps", fmt.Sprintf(`{"file":%q}`, steps))), 1)
	cancel() // the connection breaks
	if err := os.WriteFile(steps, []byte("xxx"), 0o600); err != nil {
		t.Fatal(err)
	}
	rest, _ := events(t, w.request(t.Context(), t, http.MethodGet, session, "", last), 3)
	if !strings.Contains(rest[0], "step 1") || !strings.Contains(rest[1], "step 2") || !strings.Contains(rest[2], `"id":2`) {
		t.Errorf("the rest is %v", rest)
	}
}

func TestAProgramThatEndsDuringACall(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stdio", nil)
	w.await(t, agentenv.StateReady)
	session := w.post(t.Context(), t, "", initialize).Header.Get("Mcp-Session-Id")
	said, _ := events(t, w.post(t.Context(), t, session, toolCall(2, "exit", `{}`)), 1)
	if !strings.Contains(said[0], "exit code 3 during the call") || !strings.Contains(said[0], `"id":2`) {
		t.Errorf("the caller hears %s", said[0])
	}
	eventually(t, func() bool {
		return w.post(t.Context(), t, session, toolCall(3, "pid", `{}`)).StatusCode == http.StatusNotFound
	}, func() string { return "the session is known still" })
	if res := w.post(t.Context(), t, "", initialize); res.StatusCode != http.StatusOK {
		t.Errorf("a new session: %s", res.Status)
	}
	eventually(t, func() bool { return strings.Contains(w.log.String(), "the last words") }, w.log.String)
}

func TestAMessageWithoutAnEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stdio", nil)
	w.await(t, agentenv.StateReady)
	session := w.post(t.Context(), t, "", initialize).Header.Get("Mcp-Session-Id")
	said, _ := events(t, w.post(t.Context(), t, session, toolCall(2, "large", `{}`)), 1)
	if !strings.Contains(said[0], `"error"`) {
		t.Errorf("the caller hears %.300s", said[0])
	}
	eventually(t, func() bool { return strings.Contains(w.log.String(), "more than 16 MiB") }, w.log.String)
}

func TestNoMoreSessionsThanAllowed(t *testing.T) {
	t.Parallel()
	w := newTable(t, 2)
	begin := func() *http.Response {
		res := w.post(t.Context(), t, "", initialize)
		if res.StatusCode == http.StatusOK {
			events(t, res, 1)
			_ = res.Body.Close()
		}
		return res
	}
	ask := func(session string) { events(t, w.post(t.Context(), t, session, toolCall(2, "ask", `{}`)), 1) }
	one, busy := begin().Header.Get("Mcp-Session-Id"), begin().Header.Get("Mcp-Session-Id")
	// The first only listens, the second waits for an answer.
	w.request(t.Context(), t, http.MethodGet, one, "", "")
	ask(busy)
	w.settled(t, one)
	first := w.table.find(one)
	three := begin()
	if three.StatusCode != http.StatusOK {
		t.Fatalf("the third session: %s", three.Status)
	}
	if res := w.post(t.Context(), t, one, toolCall(3, "pid", `{}`)); res.StatusCode != http.StatusNotFound {
		t.Errorf("the idle session: %s, want 404", res.Status)
	}
	ask(three.Header.Get("Mcp-Session-Id"))
	if res := begin(); res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
		t.Errorf("a session too many: %s, want 503 with Retry-After", res.Status)
	}
	if !strings.Contains(w.log.String(), "all 2 sessions") {
		t.Errorf("the log does not say so: %s", w.log)
	}
	// Who listened to the idle one hears nothing, rather than an end after which it would
	// begin anew and take the place of the next.
	over := func() bool {
		first.mu.Lock()
		defer first.mu.Unlock()
		return first.over
	}
	eventually(t, over, func() string { return "the session that makes room goes on" })
	if _, _, finished, _ := first.stream(0).after(0); finished {
		t.Error("the stream of the session that makes room ends")
	}
}

func TestASessionThatWasJustUsedMakesNoRoom(t *testing.T) {
	t.Parallel()
	w := newTable(t, 1)
	w.table.rest = time.Hour
	events(t, w.post(t.Context(), t, "", initialize), 1)
	if res := w.post(t.Context(), t, "", initialize); res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("a second session: %s, want 503", res.Status)
	}
}

func TestWhoIsHeardMakesRoomLast(t *testing.T) {
	t.Parallel()
	w := newTable(t, 3)
	var ids []string
	for range 3 {
		s, err := w.table.begin()
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.id)
	}
	defer w.table.find(ids[0]).listen()()
	defer w.table.find(ids[1]).enter()()
	for _, want := range []string{ids[2], ids[0]} {
		if _, err := w.table.begin(); err != nil || w.table.find(want) != nil {
			t.Fatalf("begin() = %v; the session that should make room is there: %v", err, w.table.find(want) != nil)
		}
		w.table.mu.Lock()
		for id, s := range w.table.all {
			if id != ids[0] && id != ids[1] {
				s.busy++ // the new one is used
			}
		}
		w.table.mu.Unlock()
	}
	if w.table.find(ids[1]) == nil {
		t.Error("a session in use made room")
	}
}

func TestStartsThatFail(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		fake           string
		change         func(*agentenv.Launch)
		reason, detail string
	}{
		"it ends at once": {fake: "dies", reason: "exit code 4 before it answered initialize", detail: "cannot reach the data base with mcpac_sc_1"},
		"it ends at once, for HTTP": {
			fake: "dies", change: func(l *agentenv.Launch) { l.Program.Transport = agentenv.TransportHTTP },
			reason: "exit code 4 before it answered at its port", detail: "cannot reach the data base with mcpac_sc_1",
		},
		"it says nothing": {fake: "mute", change: func(l *agentenv.Launch) { l.ImportTimeoutSeconds = 1 }, reason: "transport: http"},
		"it does not listen": {
			fake: "mute", change: func(l *agentenv.Launch) { l.ImportTimeoutSeconds, l.Program.Transport = 1, agentenv.TransportHTTP },
			reason: "did not listen in time",
		},
		"it speaks elsewhere": {
			fake: "http", change: func(l *agentenv.Launch) { l.ImportTimeoutSeconds, l.Program.Transport = 2, agentenv.TransportHTTP },
			reason: "404 Not Found to initialize at /mcp",
		},
		"there is none":    {change: func(l *agentenv.Launch) { l.Program.Args = []string{"/no/such/program"} }, reason: "/no/such/program is not there"},
		"it is no program": {change: func(l *agentenv.Launch) { l.Program.Args = []string{"/etc/passwd"} }, reason: "is no program that can be run"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, tt.fake, tt.change)
			if code := w.end(t); code != agentenv.ExitFailed {
				t.Errorf("exit code %d, want %d", code, agentenv.ExitFailed)
			}
			s := w.await(t, agentenv.StateFailed)
			if !strings.Contains(s.Reason, tt.reason) || !strings.Contains(s.Detail, tt.detail) {
				t.Errorf("it says %q and %q; want %q and %q", s.Reason, s.Detail, tt.reason, tt.detail)
			}
			if said := w.log.String() + w.status.String(); strings.Contains(said, "very-secret-value") {
				t.Errorf("a secret is told: %s", said)
			}
		})
	}
}

func TestADrainLetsCallsEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stdio", nil)
	w.await(t, agentenv.StateReady)
	session := w.post(t.Context(), t, "", initialize).Header.Get("Mcp-Session-Id")
	listening := w.request(t.Context(), t, http.MethodGet, session, "", "")
	steps := filepath.Join(t.TempDir(), "steps")
	res := w.post(t.Context(), t, session, toolCall(2, "steps", fmt.Sprintf(`{"file":%q}`, steps)))
	events(t, res, 1)
	w.stop()
	w.await(t, agentenv.StateDraining)
	if err := os.WriteFile(steps, []byte("xxx"), 0o600); err != nil {
		t.Fatal(err)
	}
	rest, _ := events(t, res, 3)
	if !strings.Contains(rest[2], `"id":2`) {
		t.Errorf("the call ends with %v", rest)
	}
	if code := w.end(t); code != agentenv.ExitDone {
		t.Errorf("exit code %d", code)
	}
	if lines := bufio.NewScanner(listening.Body); lines.Err() != nil {
		t.Error(lines.Err())
	}
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "stdio", nil)
	w.await(t, agentenv.StateReady)
	session := w.post(t.Context(), t, "", initialize).Header.Get("Mcp-Session-Id")
	tests := map[string]struct {
		method, session, body, last string
		want                        int
	}{
		"no JSON":               {body: "{", want: 400},
		"a batch":               {body: "[" + initialize + "]", want: 400},
		"another JSON":          {body: `{"jsonrpc":"2.0","id":1}`, want: 400},
		"no session":            {body: toolCall(1, "pid", `{}`), want: 400},
		"an unknown session":    {body: toolCall(1, "pid", `{}`), session: "x", want: 404},
		"a notification":        {body: `{"jsonrpc":"2.0","method":"notifications/initialized"}`, session: session, want: 202},
		"too large":             {body: strings.Repeat(" ", 17<<20), session: session, want: 413},
		"another method":        {method: http.MethodPut, session: session, want: 405},
		"the end of none":       {method: http.MethodDelete, session: "x", want: 404},
		"an event that is none": {method: http.MethodGet, session: session, last: "x", want: 400},
		"a stream that is none": {method: http.MethodGet, session: session, last: "77-1", want: 404},
		"a stream of nobody":    {method: http.MethodGet, session: "x", want: 404},
	}
	for name, tt := range tests {
		if tt.method == "" {
			tt.method = http.MethodPost
		}
		if res := w.request(t.Context(), t, tt.method, tt.session, tt.body, tt.last); res.StatusCode != tt.want {
			t.Errorf("%s: %s, want %d", name, res.Status, tt.want)
		}
	}
}

func TestAServerThatSpeaksHTTP(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "http", func(l *agentenv.Launch) {
		l.Program.Transport, l.Program.HTTPPath = agentenv.TransportHTTP, "/agent/mcp"
	})
	if ready := w.await(t, agentenv.StateReady); ready.AppName != "fake-http" {
		t.Errorf("it says of itself %+v", ready)
	}
	s := w.connect(t, nil)
	got, err := callTool(t, s, "port", nil)
	if _, bad := strconv.Atoi(got); err != nil || bad != nil {
		t.Errorf("its argument is %q, %v; want the port", got, err)
	}
	if _, err := callTool(t, s, "exit", nil); err == nil {
		t.Error("a call of a program that ends has a result")
	}
	if code := w.end(t); code != 5 {
		t.Errorf("the host ends with %d, want the program's 5", code)
	}
	if !strings.Contains(w.log.String(), "listening") {
		t.Errorf("what it said is not in the log: %s", w.log)
	}
}

func TestWhereMessagesGo(t *testing.T) {
	t.Parallel()
	s := &session{streams: map[int]*stream{0: newStream(0)}, asked: map[string]*stream{}, out: &output{log: &written{}}}
	open := func(body string) *stream {
		m, err := parse([]byte(body))
		if err != nil {
			t.Fatal(err)
		}
		st, err := s.open(m)
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	first := open(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"_meta":{"progressToken":"a"}}}`)
	second := open(`{"jsonrpc":"2.0","id":"1","method":"tools/call","params":{"_meta":{"progressToken":7}}}`)
	if _, err := s.open(message{id: "1"}); err == nil {
		t.Error("a second call with the same id is taken")
	}
	for _, line := range []string{
		`{"jsonrpc":"2.0","method":"notifications/progress","params":{"progressToken":"a","progress":1}}`,
		`{"jsonrpc":"2.0","id":5,"method":"elicitation/create","params":{}}`,
		`{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":5}}`,
		`{"jsonrpc":"2.0","method":"notifications/tools/list_changed"}`,
		`{"jsonrpc":"2.0","id":"1","result":{}}`,
		`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"x"}}`,
		`{"jsonrpc":"2.0","id":99,"result":{}}`,
		`{"jsonrpc":"2.0","id":1,"result":{}}`,
	} {
		s.take([]byte(line))
	}
	count := func(st *stream) int {
		lines, _, _, _ := st.after(0)
		return len(lines)
	}
	got := map[string]int{"common": count(s.streams[0]), "first": count(first), "second": count(second)}
	if diff := cmp.Diff(map[string]int{"common": 1, "first": 3, "second": 3}, got); diff != "" {
		t.Errorf("messages per stream (-want +got):\n%s", diff)
	}
}

func TestAStreamIsBounded(t *testing.T) {
	t.Parallel()
	st := newStream(1)
	for range 20 {
		st.add(make([]byte, 1<<20), false)
	}
	lines, from, finished, _ := st.after(0)
	if len(lines) != 8 || from != 13 || finished {
		t.Errorf("%d lines from %d on, finished %v; want 8 from 13 on", len(lines), from, finished)
	}
}

func TestSessionsThatNobodyUsesEnd(t *testing.T) {
	t.Parallel()
	out := &output{log: &written{}, status: &written{}}
	all := newSessions(starter{args: []string{os.Args[0]}, env: append(os.Environ(), fakeVariable+"=stdio"), dir: t.TempDir(), out: out}, 4)
	defer all.close()
	s, err := all.begin()
	if err != nil {
		t.Fatal(err)
	}
	leave := s.enter()
	all.expire(time.Now().Add(time.Hour))
	if all.find(s.id) == nil {
		t.Fatal("a session in use was ended")
	}
	leave()
	all.expire(time.Now().Add(-time.Hour))
	if all.find(s.id) == nil {
		t.Fatal("a session that was just used was ended")
	}
	all.expire(time.Now().Add(time.Hour))
	if all.find(s.id) != nil {
		t.Fatal("a session that nobody uses is there still")
	}
	<-s.child.done
}
