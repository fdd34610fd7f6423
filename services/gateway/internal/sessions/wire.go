package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"syscall"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/propagation"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/awake"
)

// Headers of the streamable HTTP transport (MCP 2025-11-25, "Transports").
const (
	HeaderSession  = "Mcp-Session-Id"
	HeaderProtocol = "Mcp-Protocol-Version"
	acceptBoth     = "application/json, text/event-stream"
)

// versions of the protocol that have sessions, oldest first.
var versions = []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"}

// Versions lists the versions of the protocol that are spoken here.
func Versions() []string { return slices.Clone(versions) }

// Speaks says whether a version of the protocol is spoken here.
func Speaks(version string) bool { return slices.Contains(versions, version) }

// replyBytes bounds an answer that is read whole; passed-through answers are not.
const replyBytes = 8 << 20

// NewClient returns the HTTP client for calls to agents: many kept connections, no
// decompression, no redirects, no proxy of the machine's. Each request passes what around
// puts before the wire.
func NewClient(around func(http.RoundTripper) http.RoundTripper) *http.Client {
	return &http.Client{
		Transport: around(&http.Transport{
			DialContext:         (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 30 * time.Second, Control: notTheMachine}).DialContext,
			MaxIdleConnsPerHost: 256, MaxIdleConns: 4096, IdleConnTimeout: 90 * time.Second, DisableCompression: true,
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// notTheMachine refuses link-local addresses, which tell programs of a machine about it
// and its keys: the name of a connected server may come to mean one.
func notTheMachine(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err == nil && (at.Addr().Unmap().IsLinkLocalUnicast() || at.Addr().IsMulticast()) {
		return fault.Denied.Errorf("the server's address is not allowed")
	}
	return err
}

// request carries nothing of the caller's request but its trace: no key, no cookie, no
// forwarded address. An agent's SDK would copy some of these into workflow memos.
func (u *Upstream) request(ctx context.Context, method string, c call, body io.Reader) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, method, c.url, body)
	if err != nil {
		return nil, err
	}
	if c.session != "" {
		req.Header.Set(HeaderSession, c.session)
	}
	if c.protocol != "" {
		req.Header.Set(HeaderProtocol, c.protocol)
	}
	otel.GetTextMapPropagator().Inject(ctx, propagation.HeaderCarrier(req.Header))
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
	reply, err := io.ReadAll(io.LimitReader(res.Body, replyBytes))
	if err != nil {
		return nil, err
	}
	if m, err := jsonrpc.Parse(reply); err != nil || !m.IsResponse() {
		return nil, errors.Join(errors.New("the agent's answer is no response"), err)
	}
	return reply, nil
}

var errFound = errors.New("found")

// readEvents reads as far as the response; a server may keep its stream open after it.
func readEvents(body io.Reader) (json.RawMessage, error) {
	var reply json.RawMessage
	err := ReadEvents(body, func(e Event) error {
		if m, err := jsonrpc.Parse(e.Data); err == nil && m.IsResponse() {
			reply = e.Data
			return errFound
		}
		return nil
	})
	if reply != nil {
		return reply, nil
	}
	return nil, errors.Join(errors.New("the agent's stream had no response"), err)
}

// refused says whether the agent took no connection, or sleeps, and so cannot have begun
// anything.
func refused(err error) bool {
	var op *net.OpError
	return errors.Is(err, awake.ErrResting) || errors.As(err, &op) && op.Op == "dial"
}

// ErrNotStarted is in the errors of calls that the agent cannot have begun.
var ErrNotStarted = errors.New("the call was not started")

// notStarted is for calls that the agent cannot have begun.
func notStarted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	switch fault.KindOf(err) {
	case fault.Internal, fault.Deadline, fault.Canceled:
		return fault.Unavailable.Wrap(errors.Join(ErrNotStarted, err), "the agent cannot be reached at the moment; the call was not started, so it is safe to repeat")
	}
	return err
}

// maybeStarted is for calls whose connection broke.
func maybeStarted(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fault.Unavailable.Wrap(err, "the agent went away during the call; it may have been started")
}
