package sessions

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

// A server may end the stream of an answer before the answer, when it has given ids to
// events: it wants to be asked for the rest (MCP 2025-11-25, "Transports", SEP-1699).

const (
	// resumeTries is how often a stream is asked for in vain, one after another.
	resumeTries = 5
	// usualRetry is when a stream is asked for whose server has not said when; retryFrom and
	// retryTo bound what it says.
	usualRetry = time.Second
	retryFrom  = 50 * time.Millisecond
	retryTo    = 30 * time.Second
	// maxAgentID bounds an id that an agent gives.
	maxAgentID = 1 << 10
)

// ReadAnswer reads the answer to a call as ReadLong does, and asks for the rest of it as
// long as the response has not come: the server may have ended the stream, or the
// connection may have broken. Streams without ids end where they end, and so do those that
// end within an event of which partly has told. Answered says whether the response came.
func (u *Upstream) ReadAnswer(ctx context.Context, res *http.Response, partly func(raw []byte), handle func(e Event, response bool) error) (answered bool, err error) {
	p, half := &position{retry: usualRetry}, false
	one := func(e Event) error {
		response := len(e.Data) > 0 && jsonrpc.IsResponse(e.Data)
		answered = answered || response
		half = false
		p.note(e)
		return handle(e, response)
	}
	if told := partly; told != nil {
		partly = func(raw []byte) {
			half = true
			told(raw)
		}
	}
	err = ReadLong(res.Body, partly, one)
	for tries := 0; !answered && !half && p.last != "" && tries < resumeTries && ctx.Err() == nil; tries++ {
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(p.retry):
		}
		before := p.events
		var again bool
		if again, err = u.resume(ctx, res.Request, p.last, func(body io.Reader) error { return ReadLong(body, nil, one) }); !again {
			break
		}
		if p.events > before {
			tries = -1
		}
	}
	return answered, err
}

// position is how far an answer has been read.
type position struct {
	last   string // id
	retry  time.Duration
	events int
}

// note reads the fields of an event beside its data (HTML Living Standard, "Server-sent
// events").
func (p *position) note(e Event) {
	for rest := e.Raw; len(rest) > 0; {
		line, after, _ := bytes.Cut(rest, []byte("\n"))
		rest = after
		if len(line) == 0 || line[0] != 'i' && line[0] != 'r' {
			continue
		}
		name, value, _ := bytes.Cut(bytes.TrimRight(line, "\r"), []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			if len(value) <= maxAgentID && bytes.IndexByte(value, 0) < 0 {
				p.events++
				p.last = string(value)
			}
		case "retry":
			if ms, err := strconv.ParseUint(string(value), 10, 31); err == nil {
				p.retry = min(max(time.Duration(ms)*time.Millisecond, retryFrom), retryTo)
			}
		}
	}
}

// resume asks for the events after one, in the session of a request; again is false when
// they are not to be had.
func (u *Upstream) resume(ctx context.Context, of *http.Request, last string, read func(io.Reader) error) (again bool, err error) {
	c := call{url: of.URL.String(), session: of.Header.Get(HeaderSession), protocol: of.Header.Get(HeaderProtocol)}
	req, err := u.request(ctx, http.MethodGet, c, nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set("Last-Event-Id", last)
	res, err := u.client.Do(req)
	if err != nil {
		return true, err // it may be back soon
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	switch {
	case res.StatusCode == http.StatusOK && IsEventStream(res):
		return true, read(res.Body)
	case res.StatusCode >= http.StatusInternalServerError:
		return true, errNoRest
	}
	return false, errNoRest
}

var errNoRest = errors.New("the agent does not give the rest of its answer")

// ReadReply reads a whole answer, as the function of that name does, and asks for the rest
// of a stream that ended early.
func (u *Upstream) ReadReply(ctx context.Context, res *http.Response) (reply []byte, err error) {
	if res.StatusCode != http.StatusOK || !IsEventStream(res) {
		return ReadReply(res)
	}
	_, err = u.ReadAnswer(ctx, res, nil, func(e Event, response bool) error {
		if response {
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
