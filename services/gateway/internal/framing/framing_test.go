package framing_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/framing"
)

const patience = 20 * time.Second

// serve is a server that says how much of a body it got, until the test ends.
func serve(t testing.TB, handler http.HandlerFunc) (address string) {
	t.Helper()
	lis, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	ended := make(chan error, 1)
	go func() { ended <- framing.Serve(server, lis) }()
	t.Cleanup(func() {
		_ = server.Close()
		if err := <-ended; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
	return lis.Addr().String()
}

func counting(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	_, _ = fmt.Fprintf(w, "got %d of %s\n", len(body), r.URL.Path)
}

// say sends pieces one by one and returns all that comes back until the end.
func say(t *testing.T, address string, pieces ...string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it is over
	_ = conn.SetDeadline(time.Now().Add(patience))
	for _, piece := range pieces {
		if _, err := io.WriteString(conn, piece); err != nil {
			break
		}
	}
	said, err := io.ReadAll(conn)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection stays open after %q", said)
	}
	return string(said)
}

const (
	get  = "GET /next HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	post = "POST /a HTTP/1.1\r\nHost: a\r\n"
)

func TestRequestsInDoubt(t *testing.T) {
	t.Parallel()
	address := serve(t, counting)
	for name, text := range map[string]string{
		"a feed alone ends the first line":      "POST /a HTTP/1.1\nHost: a\r\n\r\n",
		"a feed alone ends a field":             post + "X: y\n\r\n",
		"a feed alone ends the head":            post + "X: y\r\n\n",
		"feeds alone":                           "GET /a HTTP/1.1\nHost: a\n\n",
		"a return in a field":                   post + "X: y\rContent-Length: 5\r\n\r\n",
		"two returns":                           post + "X: y\r\r\n\r\n",
		"a field over two lines":                post + "X: y\r\n z\r\n\r\n",
		"a field over two lines by tab":         post + "X: y\r\n\tContent-Length: 5\r\n\r\n",
		"a fold after the first line":           "POST /a HTTP/1.1\r\n Host: a\r\n\r\n",
		"a fold of nothing":                     post + "X: y\r\n \r\n\r\n",
		"a length and a coding":                 post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a coding and a length":                 post + "transfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n",
		"two lengths":                           post + "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"one length twice":                      post + "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
		"two lengths in one":                    post + "Content-Length: 5, 5\r\n\r\nhello",
		"a length with a sign":                  post + "Content-Length: +5\r\n\r\nhello",
		"a length in hexadecimal":               post + "Content-Length: 0x5\r\n\r\nhello",
		"no length":                             post + "Content-Length:\r\n\r\nhello",
		"a length without end":                  post + "Content-Length: 99999999999999999999\r\n\r\nhello",
		"a length far behind":                   post + "Content-Length:" + strings.Repeat(" ", 100) + "5\r\nContent-Length: 5\r\n\r\nhello",
		"a name and a space":                    post + "Content-Length : 5\r\n\r\nhello",
		"two codings":                           post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a coding in HTTP/1.0":                  "POST /a HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"a chunk's size with a sign":            post + "Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
		"a chunk's size with a prefix":          post + "Transfer-Encoding: chunked\r\n\r\n0x5\r\nhello\r\n0\r\n\r\n",
		"a chunk's size and a space":            post + "Transfer-Encoding: chunked\r\n\r\n5 \r\nhello\r\n0\r\n\r\n",
		"a chunk without size":                  post + "Transfer-Encoding: chunked\r\n\r\n\r\nhello\r\n0\r\n\r\n",
		"a chunk's size without end":            post + "Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\nhello\r\n0\r\n\r\n",
		"a feed alone in a chunk's extension":   post + "Transfer-Encoding: chunked\r\n\r\n5;a\nb\r\nhello\r\n0\r\n\r\n",
		"a return alone in a chunk's extension": post + "Transfer-Encoding: chunked\r\n\r\n5;a\rb\r\nhello\r\n0\r\n\r\n",
		"a chunk's extension without end":       post + "Transfer-Encoding: chunked\r\n\r\n5;" + strings.Repeat("a", 300) + "\r\nhello\r\n0\r\n\r\n",
		"a chunk that is longer":                post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello!\r\n0\r\n\r\n",
		"a chunk that ends in a feed":           post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\n0\r\n\r\n",
		"a feed alone in a trailer":             post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\n\r\n",
		"a trailer over two lines":              post + "Transfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n z\r\n\r\n",
	} {
		letters := strings.Split(text, "")
		for way, pieces := range map[string][]string{"at once": {text + get}, "byte by byte": append(letters, get), "after another": {post + "Content-Length: 2\r\n\r\nok" + text + get}} {
			said := say(t, address, pieces...)
			first, before := "HTTP/1.1 400", 0
			if way == "after another" {
				first, before = "HTTP/1.1 200", 1
			}
			if !strings.HasPrefix(said, first) || strings.Count(said, "HTTP/1.1 400") != 1 || strings.Count(said, "HTTP/1.1 ") != 1+before || strings.Contains(said, "/next") {
				t.Errorf("%s, %s, is answered with %q", name, way, said)
			}
		}
	}
}

func TestRequestsWithoutDoubt(t *testing.T) {
	t.Parallel()
	address := serve(t, counting)
	long := strings.Repeat("x", 100_000)
	for name, test := range map[string]struct{ text, want string }{
		"no body":               {"GET /a HTTP/1.1\r\nHost: a\r\n\r\n", "got 0 of /a\n"},
		"HTTP/1.0":              {"GET /a HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n", "got 0 of /a\n"},
		"a body":                {post + "Content-Length: 5\r\n\r\nhe\n\r\n", "got 5 of /a\n"},
		"spaces around":         {post + "content-LENGTH: \t 5 \r\n\r\nhello", "got 5 of /a\n"},
		"an empty body":         {post + "Content-Length: 0\r\n\r\n", "got 0 of /a\n"},
		"chunks":                {post + "Transfer-Encoding: Chunked\r\n\r\n5\r\nhe\nlo\r\n00a;x=\"y\"\r\n0123456789\r\n0\r\nX: y\r\n\r\n", "got 15 of /a\n"},
		"a long body":           {fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", post, len(long), long), "got 100000 of /a\n"},
		"a long field":          {post + "Cookie: " + long[:30_000] + "\r\nContent-Length: 5\r\n\r\nhello", "got 5 of /a\n"},
		"a long path":           {"GET /" + long[:3000] + " HTTP/1.1\r\nHost: a\r\n\r\n", "got 0 of /" + long[:3000] + "\n"},
		"names that look alike": {post + "Content-Lengths: 7\r\nContent-Type: a/b\r\nContent-Length: 5\r\nTransfer-Encodings: x\r\nTE: trailers\r\n\r\nhello", "got 5 of /a\n"},
	} {
		letters := strings.Split(test.text, "")
		if len(letters) > 1000 {
			letters = []string{test.text[:70], test.text[70:75], test.text[75:]}
		}
		for way, pieces := range map[string][]string{"at once": {test.text + get}, "in parts": append(letters, get), "thrice": {test.text + test.text + test.text + get}} {
			said := say(t, address, pieces...)
			if n := max(strings.Count(way, "thrice")*3, 1); strings.Count(said, test.want) != n || !strings.Contains(said, "got 0 of /next") {
				t.Errorf("%s, %s, is answered with %.300q", name, way, said)
			}
		}
	}
}

// What a connection is after it is none of HTTP's any more is nobody's business here.
func TestConnectionsThatAreTakenOver(t *testing.T) {
	t.Parallel()
	address := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close() //nolint:errcheck // it is over
		_, _ = conn.Write([]byte("go on\n"))
		line := make([]byte, 8)
		_, _ = io.ReadFull(buffered, line)
		_, _ = fmt.Fprintf(conn, "%q", line)
	})
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // it is over
	_, _ = io.WriteString(conn, "GET /a HTTP/1.1\r\nHost: a\r\nUpgrade: mine\r\nConnection: Upgrade\r\n\r\n")
	in := bufio.NewReader(conn)
	if line, err := in.ReadString('\n'); line != "go on\n" {
		t.Fatalf("%q, %v", line, err)
	}
	_, _ = io.WriteString(conn, "\x81\n \n\r\r\n\x00")
	if said, err := io.ReadAll(in); string(said) != `"\x81\n \n\r\r\n\x00"` {
		t.Errorf("%s, %v", said, err)
	}
}

// pipe is a connection that says what it has, in pieces.
type pipe struct {
	net.Conn
	io.Reader
}

// Read reads what it has.
func (p pipe) Read(b []byte) (int, error) { return p.Reader.Read(b) }

// FuzzFraming holds what passes against what Go's own parser reads of it: requests end at
// the same bytes.
func FuzzFraming(f *testing.F) {
	for _, seed := range []string{
		get + get, post + "Content-Length: 5\r\n\r\nhello" + get, post + "Transfer-Encoding: chunked\r\n\r\n5;a\r\nhello\r\n0\r\nX: y\r\n\r\n" + get,
		post + "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", post + "X: y\r\n z\r\n\r\n", "\r\n\r\n" + get, "POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		for _, pieces := range []byte{0, 1, 2} {
			f.Add([]byte(seed), pieces)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, pieces byte) {
		var in io.Reader = bytes.NewReader(text)
		switch pieces % 3 {
		case 1:
			in = iotest.OneByteReader(in)
		case 2:
			in = iotest.HalfReader(in)
		}
		ends := framing.Ends(pipe{Reader: in})
		passed := append(text[:min(len(text), ends.Passed):min(len(text), ends.Passed)], ends.Rest...)
		counted := &counter{Reader: bytes.NewReader(passed)}
		lines := bufio.NewReader(counted)
		for i := 0; ; i++ {
			req, err := http.ReadRequest(lines)
			if err != nil || req.ProtoMajor != 1 { // the server refuses others
				return
			}
			if len(req.Header["Transfer-Encoding"]) > 0 || len(req.TransferEncoding) > 0 && req.ContentLength >= 0 {
				t.Fatalf("a length and a coding: %q", passed)
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if at := counted.read - lines.Buffered(); i >= len(ends.At) || ends.At[i] != at {
				t.Fatalf("request %d of %q ends at %d, and was seen to end at %v", i, passed, at, ends.At)
			}
		}
	})
}

// counter counts what is read.
type counter struct {
	io.Reader
	read int
}

// Read reads and counts.
func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read += n
	return n, err
}

func BenchmarkScan(b *testing.B) {
	request := []byte("POST /mcp HTTP/1.1\r\nHost: 127.0.0.1:8100\r\nUser-Agent: python-httpx/0.28\r\nContent-Length: 120\r\nAccept: application/json, text/event-stream\r\nAuthorization: Bearer lm_mcp_api_0123456789abcdef\r\nContent-Type: application/json\r\nMcp-Session-Id: 0123456789abcdef0123456789abcdef\r\nMcp-Protocol-Version: 2025-11-25\r\nAccept-Encoding: gzip\r\n\r\n" + strings.Repeat("x", 120))
	b.ReportAllocs()
	scan := framing.NewScan()
	for b.Loop() {
		if n := scan(request); n != len(request) {
			b.Fatal(n)
		}
	}
}
