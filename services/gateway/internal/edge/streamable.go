package edge

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// streamablePost takes a message by streamable HTTP (MCP 2025-11-25, "Transports").
func (v visit) streamablePost(w http.ResponseWriter, r *http.Request) {
	body, m, err := v.readMessage(w, r)
	if err != nil {
		refuse(w, m, err)
		return
	}
	if m.Method == "initialize" && m.IsRequest() {
		v.begin(w, r, body, m)
		return
	}
	s, ok := v.session(w, r)
	if !ok {
		return
	}
	if m.IsRequest() {
		v.answer(w, r, s, body, m)
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
	s, err := v.sessions.Open(v.route.Address.GetTargetId(), v.caller)
	if err != nil {
		refuse(w, m, err)
		return
	}
	reply, err := v.initialize(r.Context(), s, body, m)
	if err != nil {
		v.sessions.End(s)
		refuse(w, m, err)
		return
	}
	w.Header().Set(sessions.HeaderSession, s.ID)
	writeJSON(w, reply)
}

// initialize gives the agent's own answer: what it is and can do is its to say.
func (v visit) initialize(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) (json.RawMessage, error) {
	if _, err := v.await(ctx); err != nil {
		return nil, err
	}
	res, err := s.Upstream.Begin(ctx, body)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close() //nolint:errcheck // read to its end
	reply, err := sessions.ReadReply(res)
	if err != nil {
		return nil, fault.Unavailable.Wrap(err, "the agent did not answer initialize; see its log")
	}
	var chosen struct {
		Result struct {
			ProtocolVersion string `json:"protocolVersion"`
		} `json:"result"`
	}
	_ = json.Unmarshal(reply, &chosen) // an error reply has no version
	s.Upstream.Agreed(chosen.Result.ProtocolVersion)
	s.Introduce(m.Params)
	return reply, nil
}

// session finds the caller's session, or answers that there is none: 404 makes a
// client begin a new one.
func (v visit) session(w http.ResponseWriter, r *http.Request) (*sessions.Session, bool) {
	id := r.Header.Get(sessions.HeaderSession)
	if id == "" {
		refuse(w, jsonrpc.Message{}, fault.Invalid.Errorf("send initialize first, then its Mcp-Session-Id with every message"))
		return nil, false
	}
	s, ok := v.sessions.Find(id, v.route.Address.GetTargetId(), v.caller)
	if !ok {
		refuse(w, jsonrpc.Message{}, fault.NotFound.Errorf("there is no such session; send initialize to begin one"))
	}
	return s, ok
}

// answer answers a request: natively, or with what the agent says.
func (v visit) answer(w http.ResponseWriter, r *http.Request, s *sessions.Session, body []byte, m jsonrpc.Message) {
	if reply, native := v.native(r.Context(), s, m); native {
		writeJSON(w, reply)
		return
	}
	res, err := v.send(r.Context(), s, body)
	if err != nil {
		refuse(w, m, err)
		return
	}
	passOn(w, res)
}

func (v visit) send(ctx context.Context, s *sessions.Session, body []byte) (*http.Response, error) {
	if _, err := v.await(ctx); err != nil {
		return nil, err
	}
	return s.Upstream.Send(ctx, body)
}

// accept takes a notification or a response.
func (v visit) accept(ctx context.Context, s *sessions.Session, body []byte, m jsonrpc.Message) error {
	if m.IsResponse() {
		if question, ours := s.TakeAnswer(m.ID); ours {
			return v.questions.Answer(ctx, question, m)
		}
	}
	res, err := v.send(ctx, s, body)
	if err != nil {
		return err
	}
	_ = res.Body.Close()
	if m.Method == "notifications/initialized" {
		s.MarkReady()
		v.questions.OfferOpen(ctx, s)
	}
	return nil
}

// streamableGet opens the stream of what the server says unasked.
func (v visit) streamableGet(w http.ResponseWriter, r *http.Request) {
	s, ok := v.session(w, r)
	if !ok {
		return
	}
	stream, ok := openStream(w, v.deps.Config.KeepAlive)
	if !ok {
		return
	}
	defer s.Attach()()
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	go v.listenUpstream(ctx, s)
	stream.run(ctx, s)
}

// streamableDelete ends a session.
func (v visit) streamableDelete(w http.ResponseWriter, r *http.Request) {
	if s, ok := v.session(w, r); ok {
		v.sessions.End(s)
		w.WriteHeader(http.StatusOK)
	}
}
