package sessions

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
)

// HeaderLastEvent asks for what a stream said after an event (MCP 2025-11-25, "Resumability").
const HeaderLastEvent = "Last-Event-Id"

// Place is one session at one server, as it was when something was said in it. What
// belongs to that is said there, and nowhere else, also by another process.
type Place struct {
	URL     string `json:"url"`
	Session string `json:"session,omitempty"`
}

// PlaceOf is where an answer came from.
func PlaceOf(res *http.Response) Place {
	return Place{URL: res.Request.URL.String(), Session: res.Request.Header.Get(HeaderSession)}
}

// ErrGone says that the server does not know a session, or does not give the rest of a stream.
var ErrGone = errors.New("the agent has forgotten the session, or does not give what was missed")

// Follow goes on with a stream of a session after an event. It fails with ErrGone when
// the server cannot.
func (u *Upstream) Follow(ctx context.Context, at Place, lastEvent string) (*http.Response, error) {
	req, err := u.request(ctx, http.MethodGet, call{at.URL, at.Session, u.Protocol()}, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "text/event-stream")
	req.Header.Set(HeaderLastEvent, lastEvent)
	res, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode == http.StatusOK && IsEventStream(res) {
		return res, nil
	}
	_ = res.Body.Close()
	return nil, fmt.Errorf("%w: %s", ErrGone, res.Status)
}

// NotifyAt says what needs no answer in one session. That which has gone is not told.
func (u *Upstream) NotifyAt(ctx context.Context, at Place, body []byte) {
	ctx, cancel := context.WithTimeout(ctx, handshakeLimit)
	defer cancel()
	u.notify(ctx, call{at.URL, at.Session, u.Protocol()}, body)
}

// ID is the event's id; empty when it has none.
func (e Event) ID() string {
	for raw := e.Raw; len(raw) > 0; {
		line, rest, _ := bytes.Cut(raw, []byte("\n"))
		if value, ok := bytes.CutPrefix(line, []byte("id:")); ok {
			return string(bytes.TrimPrefix(bytes.TrimRight(value, "\r"), []byte(" ")))
		}
		raw = rest
	}
	return ""
}
