package edge_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/edgetest"
)

// raw sends bytes as they are and returns what comes back until the connection's end,
// which is due soon.
func (w *world) raw(text string) string {
	w.t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		w.t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it is over
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := io.WriteString(conn, text); err != nil {
		return ""
	}
	said, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		w.t.Errorf("the connection stays open after %q", said)
	}
	return string(said)
}

// Heads of requests that name a host in odd ways: the app's own alone is served, and what
// proxies add is not looked at.
func TestHostsThatAreSpoofed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	host := strings.TrimPrefix(w.url, "http://")
	_, port, _ := net.SplitHostPort(host)
	for name, test := range map[string]struct{ line, heads, want string }{
		"as it should be":           {"GET / HTTP/1.1", "Host: " + host, "200"},
		"another name":              {"GET / HTTP/1.1", "Host: evil.example", "421"},
		"two hosts":                 {"GET / HTTP/1.1", "Host: " + host + "\r\nHost: evil.example", "400"},
		"no host":                   {"GET / HTTP/1.1", "X-A: b", "400"},
		"a proxy's word for it":     {"GET / HTTP/1.1", "Host: evil.example\r\nX-Forwarded-Host: " + host, "421"},
		"a proxy's other word":      {"GET / HTTP/1.1", "Host: evil.example\r\nForwarded: host=" + host, "421"},
		"an absolute address":       {"GET http://evil.example/ HTTP/1.1", "Host: " + host, "421"},
		"an absolute address of it": {"GET http://" + host + "/ HTTP/1.1", "Host: evil.example", "200"},
		"upper case":                {"GET / HTTP/1.1", "Host: LOCALHOST:" + port, "200"},
		"a dot at its end":          {"GET / HTTP/1.1", "Host: localhost.:" + port, "200"},
		"an address in a name":      {"GET / HTTP/1.1", "Host: 127.0.0.1.evil.example", "421"},
	} {
		said := w.raw(test.line + "\r\n" + test.heads + "\r\nAuthorization: Bearer alice\r\nConnection: close\r\n\r\n")
		if !strings.HasPrefix(said, "HTTP/1.1 "+test.want) {
			t.Errorf("%s is answered with %.100q, want %s", name, said, test.want)
		}
	}
}

// Requests whose length two readers could see in two ways end their connection, and none
// that hides in another is served (package framing has the whole table).
func TestRequestsInRequests(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	head := "POST /call_tool HTTP/1.1\r\nHost: " + strings.TrimPrefix(w.url, "http://") + "\r\nAuthorization: Bearer alice\r\nContent-Type: application/json\r\n"
	body := `{"name":"workflows-list"}`
	hidden := head + "Content-Length: 14\r\n\r\n" + `{"name":"add"}`
	for name, test := range map[string]struct{ text, want string }{
		"two lengths":        {head + "Content-Length: 5\r\nContent-Length: 25\r\n\r\n" + body, "400"},
		"no number":          {head + "Content-Length: +25\r\n\r\n" + body, "400"},
		"an unknown coding":  {head + "Transfer-Encoding: chunked, identity\r\n\r\n" + body, "501"},
		"a coding in spaces": {head + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n", "400"},
		"a chunk that lies":  {head + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n" + body + "\r\n0\r\n\r\n", "400"},
		"length and coding":  {head + "Content-Length: 100\r\nTransfer-Encoding: chunked\r\n\r\n19\r\n" + body + "\r\n0\r\n\r\n" + hidden, "400"},
		"a feed alone":       {strings.Replace(head, "\r\nHost", "\nHost", 1) + "Content-Length: 25\r\n\r\n" + body, "400"},
		"a field in two":     {head + "X: y\r\n z\r\nContent-Length: 25\r\n\r\n" + body, "400"},
	} {
		said := w.raw(test.text)
		if !strings.HasPrefix(said, "HTTP/1.1 "+test.want) || strings.Count(said, "HTTP/1.1") != 1 {
			t.Errorf("%s is answered with %q, want %s and no more", name, said, test.want)
		}
	}
	if open, ever := w.agent.Sessions(); ever != 0 {
		t.Errorf("a hidden request has reached the agent: %d sessions, %d open", ever, open)
	}
}

func TestSlowClientsAreCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.HeaderWait, c.BodyWait = 200*time.Millisecond, 200*time.Millisecond })
	id := w.open("alice")
	host := strings.TrimPrefix(w.url, "http://")
	head := "POST /mcp HTTP/1.1\r\nHost: " + host + "\r\nAuthorization: Bearer alice\r\nMcp-Session-Id: " + id + "\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"
	var group errgroup.Group
	for i := range 100 {
		text, want := head[:40], "" // half a head: the connection ends
		if i%2 == 0 {
			text, want = head+`{"jsonrpc":`, "HTTP/1.1 408"
		}
		group.Go(func() error {
			conn, err := net.Dial("tcp", host)
			if err != nil {
				return err
			}
			defer conn.Close() //nolint:errcheck // it is over
			_ = conn.SetDeadline(time.Now().Add(patience))
			began := time.Now()
			if _, err := io.WriteString(conn, text); err != nil {
				return err
			}
			go trickle(conn)
			said, err := io.ReadAll(conn)
			if took := time.Since(began); !strings.HasPrefix(string(said), want) || took > patience/4 {
				return fmt.Errorf("a slow client got %.100q, %w, after %s", said, err, took)
			}
			return nil
		})
	}
	if res := w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{"a":1}`)); res.status != http.StatusOK {
		t.Errorf("meanwhile others get %+v", res)
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
	stream := w.listen(w.request(http.MethodGet, "/mcp", "alice", id, nil))
	w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{}`))
	began := time.Now()
	edgetest.Until(t, "a request would have been cut", func() bool { return time.Since(began) > 300*time.Millisecond })
	edgetest.Until(t, "the agent is heard", func() bool { return w.agent.Listeners() > 0 })
	w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/message","params":{}}`)
	if got := stream.next(); !strings.Contains(got, "notifications/message") {
		t.Errorf("a stream has the limits of a request: %s", got)
	}
}

// trickle sends a byte now and then until the connection ends.
func trickle(conn net.Conn) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		if _, err := conn.Write([]byte("x")); err != nil {
			return
		}
	}
}

func TestCompressedMessagesAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	req := w.request(http.MethodPost, "/mcp", "alice", w.open("alice"), call("add", `{}`))
	req.Header.Set("Content-Encoding", "gzip")
	if res := w.send(req); res.status != http.StatusUnsupportedMediaType || !strings.Contains(res.body, "Content-Encoding") {
		t.Errorf("gzip = %+v", res)
	}
}

// A client that reads next to nothing loses its session; the others notice nothing.
func TestAReaderThatIsTooSlowIsCut(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	slow, fast := w.open("alice"), w.open("bob")
	w.do(http.MethodPost, "/mcp", "alice", slow, call("add", `{}`))
	conn, err := net.Dial("tcp", strings.TrimPrefix(w.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it is over
	_, _ = fmt.Fprintf(conn, "GET /mcp HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer alice\r\nMcp-Session-Id: %s\r\n\r\n", strings.TrimPrefix(w.url, "http://"), slow)
	if _, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	edgetest.Until(t, "the agent is heard", func() bool { return w.agent.Listeners() > 0 })
	large := `{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"` + strings.Repeat("x", 100_000) + `"}}`
	edgetest.Until(t, "the slow one is cut", func() bool {
		w.agent.Say(large)
		return w.do(http.MethodPost, "/mcp", "alice", slow, call("add", `{}`)).status == http.StatusNotFound
	})
	if res := w.do(http.MethodPost, "/mcp", "bob", fast, call("add", `{"a":1}`)); res.status != http.StatusOK {
		t.Errorf("the other gets %+v", res)
	}
}

// A replica ends while 200 clients listen: each comes again to another with the id of its
// last event, and has all that its agent says, once.
func TestAReplicaEndsUnderOpenStreams(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	one, other, stop := w.twins()
	type client struct {
		session string
		stream  *events
	}
	clients := make([]client, 200)
	for i := range clients {
		id := w.openAt(one, "alice")
		w.askAt(one, http.MethodPost, "alice", id, string(call("add", `{}`)))
		clients[i] = client{id, w.listen(w.at(one, http.MethodGet, "alice", id, ""))}
	}
	edgetest.Until(t, "all agents are heard", func() bool { return w.agent.Listeners() == len(clients) })
	w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"one"}}`)
	for _, c := range clients {
		if got := c.stream.next(); !strings.Contains(got, "one") {
			t.Fatalf("first comes %s", got)
		}
	}
	stop()
	edgetest.Until(t, "nobody is heard any more", func() bool { return w.agent.Listeners() == 0 })
	w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"two"}}`)
	for i, c := range clients {
		clients[i].stream = w.listen(again(w.at(other, http.MethodGet, "alice", c.session, ""), c.stream.last))
	}
	edgetest.Until(t, "all agents are heard again", func() bool { return w.agent.Listeners() == len(clients) })
	w.agent.Say(`{"jsonrpc":"2.0","method":"notifications/message","params":{"data":"three"}}`)
	for _, c := range clients {
		two, id := c.stream.next(), c.stream.last
		three := c.stream.next()
		if !strings.Contains(two, "two") || !strings.Contains(three, "three") || id == c.stream.last {
			t.Errorf("after the restart come %s as %s, %s as %s", two, id, three, c.stream.last)
		}
	}
}

// An agent that takes connections and says nothing holds nobody up for longer than a
// handshake may take, and is used again when it is back.
func TestAnAgentThatIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(c *edge.Config) { c.ReadyWait = 300 * time.Millisecond })
	id := w.open("alice")
	w.agent.Forget()
	over, healed := make(chan struct{}), atomic.Bool{}
	w.agent.Hello = func(rw http.ResponseWriter, _ *http.Request, m jsonrpc.Message) {
		if !healed.Load() {
			<-over
		}
		w.agent.Greet(rw, m)
	}
	began := time.Now()
	res := w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{}`))
	if res.status != http.StatusServiceUnavailable || res.header.Get("Retry-After") == "" || !strings.Contains(res.body, "not started") {
		t.Errorf("a call while the agent is cut off = %+v", res)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("the caller waited for %s", took)
	}
	healed.Store(true)
	close(over)
	began = time.Now()
	edgetest.Until(t, "the agent is used again", func() bool {
		return w.do(http.MethodPost, "/mcp", "alice", id, call("add", `{"a":1}`)).status == http.StatusOK
	})
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("the agent is used again after %s", took)
	}
}

// Whose session an id names is what counts, not who knows it: in every way to use one.
func TestSessionsThatAreStolen(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	alices, ended := w.open("alice"), w.open("alice")
	w.do(http.MethodDelete, "/mcp", "alice", ended, nil)
	sse := w.listen(w.request(http.MethodGet, "/sse", "alice", "", nil)).next()
	for name, try := range map[string]struct{ key, session string }{
		"another user's": {"bob", alices}, "one that has ended": {"alice", ended}, "guessed": {"alice", strings.Repeat("0", 32)},
	} {
		for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodDelete} {
			if res := w.do(method, "/mcp", try.key, try.session, call("add", `{}`)); res.status != http.StatusNotFound {
				t.Errorf("%s session by %s = %+v", name, method, res)
			}
		}
	}
	if res := w.do(http.MethodPost, sse, "bob", "", call("add", `{}`)); res.status != http.StatusNotFound {
		t.Errorf("another user's session by SSE = %+v", res)
	}
	if res := w.do(http.MethodPost, "/mcp", "alice", alices, call("add", `{"a":1}`)); res.status != http.StatusOK {
		t.Errorf("after all that its own user gets %+v", res)
	}
}
