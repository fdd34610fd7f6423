package edge

import (
	"context"
	"io"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// wholeBytes is how much of an answer that is no stream is read before the client
// gets any of it.
const wholeBytes = 64 << 10

// passOn gives the client an agent's answer as it comes. A client whose answer breaks
// off is told so: it would wait for ever otherwise. The reply is the response, as far as
// it is not too long to be kept.
func (v visit) passOn(ctx context.Context, w http.ResponseWriter, r *http.Request, s *sessions.Session, res *http.Response, m jsonrpc.Message) (reply []byte, err error) {
	defer res.Body.Close() //nolint:errcheck // the client's copy is what counts
	if sessions.IsEventStream(res) {
		return v.passEvents(ctx, w, r, s, res, m), nil
	}
	v.outcome.Answers(res.StatusCode)
	begin, err := io.ReadAll(io.LimitReader(res.Body, wholeBytes))
	if err != nil {
		return nil, fault.Unavailable.Wrap(err, brokenOff)
	}
	v.call.Leaves()
	w.Header().Set("Content-Type", res.Header.Get("Content-Type"))
	w.WriteHeader(res.StatusCode)
	if _, err := w.Write(begin); err != nil || len(begin) < wholeBytes {
		return begin, nil //nolint:nilerr // the client has gone; the agent has answered
	}
	if _, err := io.Copy(w, v.outcome.Watch(begin, res.Body)); err != nil {
		panic(http.ErrAbortHandler) // half an answer must not look like a whole one
	}
	return jsonrpc.NewError(nil, jsonrpc.CodeInternal, "the call has been made; its answer is too large to be kept"), nil
}

const brokenOff = "the agent went away during the call; it may have been started"

// passEvents passes messages on, each at once, with ids of ours. When the client's
// connection breaks, the answer is kept for it (Last-Event-ID). A client that has half
// an event at the end is cut off: it can ask for what came instead.
func (v visit) passEvents(ctx context.Context, w http.ResponseWriter, r *http.Request, s *sessions.Session, res *http.Response, m jsonrpc.Message) (reply []byte) {
	answer := s.NewStream()
	if v.call != nil {
		v.call.In(answer)
	} else {
		defer context.AfterFunc(r.Context(), answer.Orphan)()
	}
	to := beginAnswer(w, res, v.deps.Config.KeepAlive)
	if s.Upstream.Protocol() >= primed {
		to.first = answer.ID(0)
	}
	dialogue, at := s.Dialogue(), sessions.PlaceOf(res)
	defer dialogue.Over()
	answered, _ := s.Upstream.ReadAnswer(ctx, res, func(raw []byte) { to.part(answer.Next(), raw) }, func(e sessions.Event, response bool) error { // how it ended does not matter
		if len(e.Data) > 0 {
			if response {
				reply = e.Data
				v.call.Leaves()
			} else {
				e.Data = dialogue.Heard(e.Data, at)
			}
			to.put(answer.Put(e.Data), e)
		}
		return nil
	})
	half := to.half()
	if !answered {
		lost := jsonrpc.NewError(m.ID, jsonrpc.CodeUnavailable, brokenOff)
		reply = lost
		if id := answer.Put(lost); !half {
			to.put(id, sessions.Event{Data: lost})
		}
	}
	answer.Finish()
	to.close()
	if half {
		panic(http.ErrAbortHandler)
	}
	return reply
}
