package commandhost

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"time"
)

const (
	knockEvery = 100 * time.Millisecond
	// wrongFor is how long a program may give wrong answers while it starts.
	wrongFor = 10 * time.Second
	// oneAnswer bounds one try of the greeting.
	oneAnswer = 30 * time.Second
	// maxGreeting bounds what is read of its answer.
	maxGreeting = 1 << 20
)

// proxy is a program that speaks streamable HTTP itself, at a port that it is told.
type proxy struct {
	*httputil.ReverseProxy
	child *child
	url   string
}

func beginHTTP(s starter, path string) (*proxy, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	number := strconv.Itoa(port)
	for i, arg := range s.args {
		s.args[i] = strings.ReplaceAll(arg, "{port}", number)
	}
	s.env = append(s.env, "PORT="+number, "HOST=127.0.0.1")
	c, err := s.start(false)
	if err != nil {
		return nil, err
	}
	to := &url.URL{Scheme: "http", Host: net.JoinHostPort("127.0.0.1", number), Path: path}
	return &proxy{child: c, url: to.String(), ReverseProxy: passOn(to)}, nil
}

// passOn hands requests to a program as they are.
func passOn(to *url.URL) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		FlushInterval: -1, // events are not held back
		Rewrite: func(r *httputil.ProxyRequest) {
			// Servers that look at Host take no foreign one.
			r.Out.URL, r.Out.Host = to, to.Host
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 64, IdleConnTimeout: time.Minute, DisableCompression: true},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) {
			refuse(w, http.StatusBadGateway, "", codeEnded, "the program does not answer at its port")
		},
	}
}

// ServeHTTP passes a request on. Its body stays open while the answer is written: else it
// is closed when the answer begins, and whoever looks there for its end a moment later
// takes the connection down, in the middle of the answer.
func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_ = http.NewResponseController(w).EnableFullDuplex()
	p.ReverseProxy.ServeHTTP(w, r)
}

// freePort finds a port that nobody has at the moment. Who loses a race for it ends, and
// is started again with another.
func freePort() (int, error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := lis.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // a TCP listener
	return port, lis.Close()
}

// introduce greets until the program answers as it should.
func (p *proxy) introduce(ctx context.Context) (hello, error) {
	var wrong time.Time
	for {
		about, err := p.greet(ctx)
		if err == nil {
			return about, nil
		}
		var refused *net.OpError
		if errors.As(err, &refused) && refused.Op == "dial" {
			wrong = time.Time{} // it does not listen yet
		} else if wrong.IsZero() {
			wrong = time.Now()
		}
		select {
		case <-p.child.done:
			time.Sleep(lastLinesWait)
			return hello{}, errors.New(p.child.how() + " before it answered at its port")
		case <-ctx.Done():
			return hello{}, fmt.Errorf("the program did not listen in time at the port that PORT and {port} name; its last try: %w", err)
		case <-time.After(knockEvery):
		}
		if !wrong.IsZero() && time.Since(wrong) > wrongFor {
			return hello{}, fmt.Errorf("%w; `path` in agentcloud.yaml says where it speaks MCP", err)
		}
	}
}

// lastLinesWait lets the readers of a program's output come to its end.
const lastLinesWait = 50 * time.Millisecond

func (p *proxy) greet(ctx context.Context) (hello, error) {
	ctx, cancel := context.WithTimeout(ctx, oneAnswer)
	defer cancel()
	res, err := p.send(ctx, http.MethodPost, greeting, "")
	if err != nil {
		return hello{}, err
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if res.StatusCode != http.StatusOK {
		return hello{}, fmt.Errorf("the program answers %s to initialize at %s", res.Status, res.Request.URL.Path)
	}
	raw, err := greetingAnswer(res)
	if err != nil {
		return hello{}, err
	}
	if session := res.Header.Get(headerSession); session != "" {
		if bye, err := p.send(ctx, http.MethodDelete, "", session); err == nil {
			_ = bye.Body.Close()
		}
	}
	return readHello(raw)
}

func (p *proxy) send(ctx context.Context, method, body, session string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, p.url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json, text/event-stream")
	if session != "" {
		req.Header.Set(headerSession, session)
	}
	return p.Transport.RoundTrip(req)
}

// greetingAnswer finds the response in a body of JSON or of events.
func greetingAnswer(res *http.Response) ([]byte, error) {
	body := io.LimitReader(res.Body, maxGreeting)
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/event-stream") {
		return io.ReadAll(body)
	}
	var seen []byte
	for part := make([]byte, 4<<10); ; { //nolint:mnd // some bytes at a time
		n, err := body.Read(part)
		seen = append(seen, part[:n]...)
		for _, line := range bytes.Split(seen, []byte("\n")) {
			data, ok := bytes.CutPrefix(bytes.TrimSpace(line), []byte("data:"))
			if m, odd := parse(data); ok && odd == nil && m.isResponse() {
				return data, nil
			}
		}
		if err != nil {
			return nil, errors.New("the program's answer to initialize has no response")
		}
	}
}

func (p *proxy) ended() <-chan struct{} { return p.child.done }

func (p *proxy) close() int {
	p.child.end()
	return p.child.code()
}

func (p *proxy) words() string { return p.child.last.Text() }
