package edge

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// writeLimit is how long a client may take to take an event; then it is cut.
const writeLimit = 20 * time.Second

// relisten is how long to wait before a broken stream to the agent is opened again: it
// doubles with each failure, and an agent without such a stream is asked seldom.
const (
	relisten    = time.Second
	relistenMax = 30 * time.Second
)

// stream writes server-sent events to a client.
type stream struct {
	out       output
	keepAlive time.Duration
}

// output is where a stream goes.
type output interface {
	io.Writer
	SetWriteDeadline(at time.Time) error
	Flush() error
}

// response is an HTTP response as an output.
type response struct {
	http.ResponseWriter
	*http.ResponseController
}

func newStream(w http.ResponseWriter, keepAlive time.Duration) *stream {
	return &stream{response{w, http.NewResponseController(w)}, keepAlive}
}

func openStream(w http.ResponseWriter, keepAlive time.Duration) (*stream, bool) {
	streamHeaders(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.WriteHeader(http.StatusOK)
	st := newStream(w, keepAlive)
	return st, st.out.Flush() == nil
}

// event writes one event; ok is false when the client is gone.
func (st *stream) event(name string, data []byte) (ok bool) {
	return st.write(sessions.AppendEvent(make([]byte, 0, len(name)+len(data)+20), name, data))
}

// message writes a message with its id, by which the client can ask for the next.
func (st *stream) message(id sessions.EventID, data []byte) (ok bool) {
	return st.writeMessage(make([]byte, 0, headRoom+min(len(data), smallMessage)), id, data)
}

const (
	// smallMessage is up to which size a message is written at once, and not piece by
	// piece as it is.
	smallMessage = 4 << 10
	// headRoom is for what an event has before its data.
	headRoom = 128
)

// writeMessage writes a message after what b has.
func (st *stream) writeMessage(b []byte, id sessions.EventID, data []byte) (ok bool) {
	b = appendID(b, id)
	if len(data) < smallMessage || !sessions.OneLine(data) {
		return st.write(sessions.AppendEvent(b, "message", data))
	}
	return st.write(sessions.AppendHead(b, "message"), data, []byte("\n\n"))
}

func appendID(b []byte, id sessions.EventID) []byte {
	return append(append(append(b, "id: "...), id.String()...), '\n')
}

// primed is the version of the protocol from which on a stream begins with an id
// without a message (MCP 2025-11-25, SEP-1699); older clients do not take it.
const primed = "2025-11-25"

// prime gives the client an id before there is a message, and says how soon to come
// again after a break.
func (st *stream) prime(id sessions.EventID) (ok bool) { return st.write(primer(id)) }

func primer(id sessions.EventID) []byte {
	return []byte("id: " + id.String() + "\nretry: 1000\ndata: \n\n")
}

func (st *stream) comment() bool { return st.write([]byte(": keep-alive\n\n")) }

func (st *stream) write(parts ...[]byte) bool {
	_ = st.out.SetWriteDeadline(time.Now().Add(writeLimit)) // not every writer has one
	for _, b := range parts {
		if _, err := st.out.Write(b); err != nil { //nolint:gosec // server-sent events, and said to be so
			return false
		}
	}
	return st.out.Flush() == nil
}

// run writes what waits for the session's client until either ends. Put writes one
// message.
func (st *stream) run(ctx context.Context, s *sessions.Session, put func(sessions.EventID, []byte) bool) {
	follow(ctx, s, st.keepAlive, put, st.comment)
}

// follow gives what waits for the session's client to put until either ends, and now and
// then calls live, to show a sign of life. Both are false when the client is gone.
func follow(ctx context.Context, s *sessions.Session, every time.Duration, put func(sessions.EventID, []byte) bool, live func() bool) {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for alive := true; alive; {
		select {
		case <-ctx.Done():
			return
		case <-s.Done():
			return
		case <-s.Waiting():
			if id, message, ok := s.Next(); ok {
				alive = put(id, message)
			}
		case <-ticker.C:
			alive = live()
		}
	}
}

// listenUpstream gives the client what its agent says unasked, across the agent's
// restarts. When the app is gone, so is the session. An agent that sleeps says nothing:
// only who has subscribed to something has it woken.
func (v visit) listenUpstream(ctx context.Context, s *sessions.Session) {
	if v.of(s).stateless() {
		v.listenAcrossEras(ctx, s)
		return
	}
	for pause := relisten; ctx.Err() == nil && s.Context().Err() == nil; {
		hear := ctx
		if !s.Hearkens() {
			hear = routes.LetSleep(ctx)
		}
		res, err := s.Upstream.Listen(hear)
		switch {
		case err == nil:
			pause = relisten
			if s.Heard() {
				retell(ctx, s)
			}
			at := sessions.PlaceOf(res)
			_ = sessions.ReadQuiet(res.Body, func(e sessions.Event) error { // it will be opened again
				if len(e.Data) > 0 {
					s.Push(s.Overheard(e.Data, at))
				}
				return nil
			})
			_ = res.Body.Close()
			if s.Upstream.Left(at) {
				continue // another version is to be heard, and waits for nothing
			}
		case fault.NotFound.Is(err):
			v.sessions.End(s)
			return
		case errors.Is(err, sessions.ErrSilent):
			pause = relistenMax
		default:
			pause = min(2*pause, relistenMax)
		}
		select {
		case <-ctx.Done():
		case <-s.Done():
		case <-time.After(pause):
		}
	}
}
