package sessions

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// Headers of the streamable HTTP transport (MCP 2025-11-25, "Transports").
const (
	HeaderSession  = "Mcp-Session-Id"
	HeaderProtocol = "Mcp-Protocol-Version"
	acceptBoth     = "application/json, text/event-stream"
)

const (
	// replyBytes bounds an answer that is read whole; passed-through answers are not.
	replyBytes     = 8 << 20
	handshakeLimit = 20 * time.Second
)

// NewClient returns the HTTP client for calls to agents: many kept connections, no
// decompression, no redirects, no proxy of the machine's.
func NewClient() *http.Client {
	return &http.Client{
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second}).DialContext,
			MaxIdleConnsPerHost: 256, MaxIdleConns: 4096, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// Upstream is a session's other half: the conversation with the agent's server, which
// is begun again, with the client's own words, when the server has forgotten it.
type Upstream struct {
	client *http.Client
	table  *routes.Table
	target string

	mu         sync.Mutex
	initialize []byte // the client's request
	url        string // of the server that knows us
	session    string
	protocol   string
}

// call is what one request needs to know.
type call struct{ url, session, protocol string }

// Begin passes the client's initialize on and returns the server's answer as it came.
func (u *Upstream) Begin(ctx context.Context, body []byte) (*http.Response, error) {
	route, err := u.table.Await(ctx, u.target)
	if err != nil {
		return nil, err
	}
	res, err := u.post(ctx, call{url: route.Endpoint.GetServerUrl()}, body)
	if err != nil {
		return nil, notStarted(err)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.initialize, u.url, u.session = body, route.Endpoint.GetServerUrl(), res.Header.Get(HeaderSession)
	return res, nil
}

// Agreed notes the protocol version that the server has chosen.
func (u *Upstream) Agreed(version string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.protocol = version
}

// Send passes a message on. When the server does not know the session any more (it
// was restarted or replaced), the conversation is begun again and the message sent
// once more: a server that says 404 has not begun it.
func (u *Upstream) Send(ctx context.Context, body []byte) (*http.Response, error) {
	for attempt := 0; ; attempt++ {
		c, err := u.current(ctx)
		if err != nil {
			return nil, err
		}
		res, err := u.post(ctx, c, body)
		switch {
		case err == nil && res.StatusCode != http.StatusNotFound:
			return res, nil
		case err == nil:
			_ = res.Body.Close()
		case !refused(err):
			return nil, maybeStarted(err)
		}
		if attempt == 1 {
			return nil, notStarted(fmt.Errorf("the agent does not take the session: %w", errors.Join(err, errUnknownSession)))
		}
		u.forget(c.session)
	}
}

var errUnknownSession = errors.New("unknown session")

// Listen opens the server's own stream of notifications and requests.
func (u *Upstream) Listen(ctx context.Context) (*http.Response, error) {
	c, err := u.current(ctx)
	if err != nil {
		return nil, err
	}
	req, err := u.request(ctx, http.MethodGet, c, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	res, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close()
		if res.StatusCode == http.StatusNotFound {
			u.forget(c.session)
		}
		return nil, fmt.Errorf("the agent answered the stream with %s", res.Status)
	}
	return res, nil
}

// End tells the server that the session is over.
func (u *Upstream) End(ctx context.Context) {
	u.mu.Lock()
	c := call{url: u.url, session: u.session, protocol: u.protocol}
	u.mu.Unlock()
	if c.session == "" {
		return
	}
	req, err := u.request(ctx, http.MethodDelete, c, nil)
	if err != nil {
		return
	}
	if res, err := u.client.Do(req); err == nil {
		_ = res.Body.Close()
	}
}

// current is the conversation with the server of the live version, begun anew when
// there is none yet. One caller begins it; the others wait.
func (u *Upstream) current(ctx context.Context) (call, error) {
	route, err := u.table.Await(ctx, u.target)
	if err != nil {
		return call{}, err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if live := route.Endpoint.GetServerUrl(); u.url != live {
		if err := u.handshake(ctx, live); err != nil {
			return call{}, notStarted(err)
		}
	}
	return call{url: u.url, session: u.session, protocol: u.protocol}, nil
}

// forget makes the next call begin the conversation anew, unless one has already.
func (u *Upstream) forget(session string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.session == session {
		u.url = ""
	}
}

// handshake replays the client's initialize and says that it is done.
func (u *Upstream) handshake(ctx context.Context, url string) error {
	if u.initialize == nil {
		return fault.Invalid.Errorf("send initialize first")
	}
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	res, err := u.post(ctx, call{url: url}, u.initialize)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	if _, err := ReadReply(res); err != nil {
		return err
	}
	session := res.Header.Get(HeaderSession)
	done, err := u.post(ctx, call{url: url, session: session, protocol: u.protocol}, jsonrpc.NewRequest(nil, "notifications/initialized", nil))
	if err != nil {
		return err
	}
	_ = done.Body.Close()
	u.url, u.session = url, session
	return nil
}

func (u *Upstream) post(ctx context.Context, c call, body []byte) (*http.Response, error) {
	req, err := u.request(ctx, http.MethodPost, c, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", acceptBoth)
	return u.client.Do(req)
}

// request carries nothing of the caller's request: no key, no cookie, no forwarded
// address. An agent's SDK would copy some of these into workflow memos.
func (u *Upstream) request(ctx context.Context, method string, c call, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url+"/mcp", body)
	if err != nil {
		return nil, err
	}
	if c.session != "" {
		req.Header.Set(HeaderSession, c.session)
	}
	if c.protocol != "" {
		req.Header.Set(HeaderProtocol, c.protocol)
	}
	return req, nil
}

// ReadReply reads a whole answer, JSON or an event stream, and returns its response
// message.
func ReadReply(res *http.Response) (json.RawMessage, error) {
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("the agent answered with %s", res.Status)
	}
	if IsEventStream(res) {
		return readEvents(res.Body)
	}
	return io.ReadAll(io.LimitReader(res.Body, replyBytes))
}

func readEvents(body io.Reader) (json.RawMessage, error) {
	var last json.RawMessage
	err := ReadEvents(body, func(data []byte) error {
		if m, err := jsonrpc.Parse(data); err == nil && m.IsResponse() {
			last = bytes.Clone(data)
		}
		return nil
	})
	if last != nil {
		return last, nil
	}
	return nil, errors.Join(errors.New("the agent's stream had no response"), err)
}

func refused(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

func notStarted(err error) error {
	if fault.KindOf(err) != fault.Internal {
		return err
	}
	return fault.Unavailable.Wrap(err, "the agent cannot be reached at the moment; the call was not started, so it is safe to repeat")
}

func maybeStarted(err error) error {
	if kind := fault.KindOf(err); kind == fault.Canceled || kind == fault.Deadline {
		return err
	}
	return fault.Unavailable.Wrap(err, "the agent went away during the call; it may have been started")
}
