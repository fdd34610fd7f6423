package edge

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// noMessage is what a request without a body says.
var noMessage = jsonrpc.Message{}

// streamablePost takes a message by streamable HTTP (MCP 2025-11-25, "Transports").
func (v visit) streamablePost(w http.ResponseWriter, r *http.Request) {
	body, m, ok := v.readMessage(w, r)
	if !ok {
		return
	}
	if modern.Is(r.Header, m) {
		v.alone(r).modernPost(w, r, m)
		return
	}
	if m.Method == "initialize" && m.IsRequest() {
		v.begin(w, r, body, m)
		return
	}
	s, ok := v.session(w, r, m)
	if !ok {
		return
	}
	v = v.of(s)
	if m.IsRequest() {
		v.limited(w, r, m, func() { v.answer(w, r, s, body, m) })
		return
	}
	if err := v.accept(r.Context(), s, body, m); err != nil {
		refuse(w, m, err)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}

// begin opens a session and passes the client's initialize on.
func (v visit) begin(w http.ResponseWriter, r *http.Request, body []byte, m jsonrpc.Message) {
	s, err := v.open(r)
	if err != nil {
		refuse(w, m, err)
		return
	}
	reply, err := v.of(s).initialize(r.Context(), s, body, m)
	if err != nil {
		v.sessions.End(s)
		refuse(w, m, err)
		return
	}
	v.sessions.Keep(r.Context(), s)
	w.Header().Set(sessions.HeaderSession, s.ID)
	writeJSON(w, reply)
}

// session finds the caller's session, or answers that there is none: 404 makes a
// client begin a new one.
func (v visit) session(w http.ResponseWriter, r *http.Request, m jsonrpc.Message) (*sessions.Session, bool) {
	if version := r.Header.Get(sessions.HeaderProtocol); version != "" && !sessions.Speaks(version) {
		respond(w, http.StatusBadRequest, unsupported(m.ID, version))
		return nil, false
	}
	id := r.Header.Get(sessions.HeaderSession)
	if id == "" {
		refuse(w, m, fault.Invalid.Errorf("send initialize first, then its Mcp-Session-Id with every message"))
		return nil, false
	}
	target := v.route.Address.GetTargetId()
	if s, ok := v.sessions.Find(id, target, v.caller); ok {
		return s, true
	}
	s, err := v.sessions.Recover(r.Context(), id, target, v.caller)
	if err != nil {
		refuse(w, m, err)
	}
	return s, err == nil
}

// unsupported refuses a version of the protocol and names those that are spoken (MCP
// 2026-07-28, UnsupportedProtocolVersion).
func unsupported(id json.RawMessage, version string) []byte {
	return jsonrpc.NewErrorData(id, jsonrpc.CodeUnsupportedVersion, "this version of the protocol is not spoken here", map[string]any{
		"supported": sessions.Versions(), "requested": version,
	})
}

// answer answers a request: natively, or with what the agent says.
func (v visit) answer(w http.ResponseWriter, r *http.Request, s *sessions.Session, body []byte, m jsonrpc.Message) {
	done, ok := s.Work()
	if !ok {
		refuse(w, m, errTooMany)
		return
	}
	defer done()
	subscribes(s, m)
	v.answerOnce(w, r, s, body, m)
}

// make makes a request's answer; after an error nothing was given.
func (v visit) make(w http.ResponseWriter, r *http.Request, s *sessions.Session, body []byte, m jsonrpc.Message) (reply []byte, err error) {
	key := keyOf(r.Header, m.Params)
	ctx, cancel := s.Outlive(r.Context())
	defer cancel()
	if reply, native := v.native(ctx, s, m, key); native {
		writeJSON(w, reply)
		return reply, nil
	}
	v.request = s.UnderWay(m.ID, cancel)
	defer v.request.Over()
	key, call := keyed(key, m)
	err = v.once(ctx, key, call, func() ([]byte, error) {
		reply, err = v.counted(ctx, m.Method, func(v visit) ([]byte, error) { return v.pass(ctx, w, r, s, body, m) })
		return reply, err
	}, func(given json.RawMessage) {
		reply = readdressed(given, m.ID)
		writeJSON(w, reply)
	})
	return reply, err
}

// pass gives the client what the agent says, and tells what it answered in the end.
// After an error nothing was given.
func (v visit) pass(ctx context.Context, w http.ResponseWriter, r *http.Request, s *sessions.Session, body []byte, m jsonrpc.Message) ([]byte, error) {
	if v.stateless() {
		return v.ascendHTTP(ctx, w, s, m), nil
	}
	return v.wishing(ctx, s, m, func() ([]byte, error) {
		res, reply, err := v.ask(ctx, s, body, m)
		if err != nil {
			return nil, err
		}
		if res == nil {
			writeJSON(w, reply)
			return reply, nil
		}
		return v.passOn(ctx, w, r, s, res, m)
	})
}

// subscribes notes that a client wants to hear what its agent says unasked.
func subscribes(s *sessions.Session, m jsonrpc.Message) {
	if m.Method == subscribe || m.Method == setLevels {
		s.Subscribe()
	}
}

// streamableGet opens the stream of what the server says unasked, or goes on with one
// that broke.
func (v visit) streamableGet(w http.ResponseWriter, r *http.Request) {
	if stateless(w, r) {
		return
	}
	s, ok := v.session(w, r, noMessage)
	if !ok {
		return
	}
	v = v.of(s)
	text := r.Header.Get("Last-Event-Id")
	last, err := sessions.ParseEventID(text)
	switch {
	case text == "":
		v.feed(w, r, s, nil)
	case err != nil:
		refuse(w, noMessage, fault.Invalid.Wrap(err, "Last-Event-ID names no event of this session"))
	case last.Stream != 0:
		v.resume(w, r, s, last)
	default:
		v.feed(w, r, s, &last)
	}
}

// feed is the stream of what the server says unasked; last is what the client has of it.
func (v visit) feed(w http.ResponseWriter, r *http.Request, s *sessions.Session, last *sessions.EventID) {
	v.hold(w, r, func(ctx context.Context, to *stream) {
		if last == nil && !s.Streaming() {
			s.Remind()
		}
		defer s.Attach()()
		s.MarkReady() // it may have said so to another replica; it listens after that only
		if v.catchUp(ctx, to, s, last) {
			s.Listening(func(ctx context.Context) { v.listenUpstream(ctx, s) })
			go v.questions.OfferOpen(ctx, s) // its stack goes with it
			to.run(ctx, s, to.message)
		}
	})
}

// catchUp writes what a client missed, or the id of a place to come again to.
func (v visit) catchUp(ctx context.Context, to *stream, s *sessions.Session, last *sessions.EventID) bool {
	if last == nil {
		return s.Upstream.Protocol() < primed || to.prime(s.Newest())
	}
	for _, missed := range s.Missed(ctx, *last) {
		if !to.message(missed.ID, missed.Message) {
			return false
		}
	}
	return true
}

// streamableDelete ends a session.
func (v visit) streamableDelete(w http.ResponseWriter, r *http.Request) {
	if stateless(w, r) {
		return
	}
	if s, ok := v.session(w, r, noMessage); ok {
		v.sessions.EndEverywhere(r.Context(), s)
		w.WriteHeader(http.StatusOK)
	}
}
