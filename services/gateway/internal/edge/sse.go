package edge

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// sseOpen begins a session of the HTTP+SSE transport (MCP 2024-11-05, "Transports"):
// the stream is the session, and its first event says where to post.
func (v visit) sseOpen(w http.ResponseWriter, r *http.Request) {
	s, err := v.open(r)
	if err != nil {
		rest.WriteFault(w, err)
		return
	}
	v.hold(w, r, func(ctx context.Context, to *stream) {
		defer v.sessions.End(s)
		if !to.event("endpoint", []byte("/messages/?session_id="+s.ID+"&at="+v.peers.Name())) {
			return
		}
		defer s.Attach()()
		s.Listening(func(ctx context.Context) { v.listenUpstream(ctx, s) })
		to.run(ctx, s, func(_ sessions.EventID, message []byte) bool { return to.event("message", message) })
	})
}

// ssePost takes a message of such a session; the answer comes on its stream.
func (v visit) ssePost(w http.ResponseWriter, r *http.Request) {
	id := r.URL.Query().Get("session_id")
	if id == "" {
		rest.WriteError(w, http.StatusBadRequest, "session_id is required")
		return
	}
	s, here := v.sessions.Find(id, v.route.Address.GetTargetId(), v.caller)
	at := r.URL.Query().Get("at")
	if !here && (at == "" || at == v.peers.Name()) {
		rest.WriteFault(w, errNoStream)
		return
	}
	body, m, ok := v.readMessage(w, r)
	if !ok {
		return
	}
	var err error
	if here {
		err = v.sseTake(r.Context(), s, body, m)
	} else {
		err = v.ssePass(r.Context(), at, id, body)
	}
	if err != nil {
		refuse(w, m, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = w.Write([]byte("Accepted"))
}

// sseTake works on a message, which lives as long as the session: its request is over
// at once.
func (v visit) sseTake(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) error {
	done, ok := s.Work()
	if !ok {
		return errTooMany
	}
	go func() {
		defer done()
		v.of(s).sseHandle(context.WithoutCancel(ctx), s, body, m)
	}()
	return nil
}

var errTooMany = fault.Exhausted.Errorf("this session has too many calls open; wait for some to end")

// sseHandle works a message off and puts what is to be said on the session's stream.
func (v visit) sseHandle(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(s.Context(), cancel)
	defer stop()
	if err := v.sseWork(ctx, cancel, s, body, m); err != nil && m.IsRequest() {
		s.Push(failure(m.ID, err))
	}
}

// sseWork works a message off; stop ends that.
func (v visit) sseWork(ctx context.Context, stop context.CancelFunc, s *sessions.Session, body []byte, m jsonrpc.Message) error {
	switch {
	case m.Method == "initialize" && m.IsRequest():
		reply, err := v.initialize(ctx, s, body, m)
		if err != nil {
			return err
		}
		s.Push(reply)
		return nil
	case !m.IsRequest():
		return v.accept(ctx, s, body, m)
	}
	subscribes(s, m)
	over, err := v.count(ctx, m)
	if err != nil {
		return err
	}
	defer over()
	key := keyOf(nil, m.Params)
	if reply, native := v.native(ctx, s, m, key); native {
		s.Push(reply)
		return nil
	}
	v.request = s.UnderWay(m.ID, stop)
	defer v.request.Over()
	key, call := keyed(key, m)
	return v.once(ctx, key, call, func() ([]byte, error) {
		return v.counted(ctx, m.Method, func(v visit) ([]byte, error) { return v.sseAsk(ctx, s, body, m) })
	}, func(reply json.RawMessage) { s.Push(readdressed(reply, m.ID)) })
}

// sseAsk puts what the agent answers on the stream, whatever its era is.
func (v visit) sseAsk(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) ([]byte, error) {
	if v.stateless() {
		reply := v.ascend(ctx, s, m, onStream{s})
		s.Push(reply)
		return reply, nil
	}
	return v.wishing(ctx, s, m, func() ([]byte, error) { return v.askAndRelay(ctx, s, body, m) })
}

// askAndRelay puts what the agent answers on the stream.
func (v visit) askAndRelay(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) ([]byte, error) {
	res, reply, err := v.ask(ctx, s, body, m)
	if err != nil {
		return nil, err
	}
	if res == nil {
		s.Push(reply)
		return reply, nil
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	return relay(ctx, s, res)
}

// relay puts an agent's answer on the stream, message by message. A stream that ends
// without the response would leave the client waiting for ever.
func relay(ctx context.Context, s *sessions.Session, res *http.Response) (reply []byte, err error) {
	if !sessions.IsEventStream(res) {
		reply, err := sessions.ReadReply(res)
		if err != nil {
			return nil, fault.Unavailable.Wrap(err, "the agent did not answer; see its log")
		}
		s.Push(reply)
		return reply, nil
	}
	dialogue, at := s.Dialogue(), sessions.PlaceOf(res)
	defer dialogue.Over()
	_, err = s.Upstream.ReadAnswer(ctx, res, nil, func(e sessions.Event, response bool) error {
		switch {
		case response:
			reply = e.Data
			s.Push(reply)
		case len(e.Data) > 0:
			s.Push(dialogue.Heard(e.Data, at))
		}
		return nil
	})
	if reply == nil {
		return nil, fault.Unavailable.Wrap(err, brokenOff)
	}
	return reply, nil
}
