package commandhost

import (
	"context"
	"errors"
	"io"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const headerSession = "Mcp-Session-Id"

// bridge serves streamable HTTP for a program that speaks by standard input and output.
type bridge struct {
	sessions *sessions
	out      *output
	// going ends when streams without an end of their own must.
	going context.Context //nolint:containedctx // the host's life, not a call's
}

// ServeHTTP answers the three methods of the transport.
func (b *bridge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch r.Method {
	case http.MethodPost:
		b.post(w, r)
	case http.MethodGet:
		b.get(w, r)
	case http.MethodDelete:
		if !b.sessions.end(r.Header.Get(headerSession)) {
			refuse(w, http.StatusNotFound, "", jsonrpc.CodeInvalidRequest, "there is no such session")
		}
	default:
		w.Header().Set("Allow", "GET, POST, DELETE")
		w.WriteHeader(http.StatusMethodNotAllowed)
	}
}

func refuse(w http.ResponseWriter, status int, id string, code int, text string) {
	w.Header().Set("Content-Type", "application/json")
	if status == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "1")
	}
	w.WriteHeader(status)
	_, _ = w.Write(refusal(id, code, text)) //nolint:gosec // JSON, which its header says
}

func (b *bridge) post(w http.ResponseWriter, r *http.Request) {
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxMessageBytes))
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		refuse(w, http.StatusRequestEntityTooLarge, "", jsonrpc.CodeInvalidRequest, "a message may have at most 16 MiB")
		return
	}
	m, wrong := parse(raw)
	if err != nil || wrong != nil {
		refuse(w, http.StatusBadRequest, "", jsonrpc.CodeParse, errors.Join(err, wrong).Error())
		return
	}
	s := b.session(w, r, m)
	if s == nil {
		return
	}
	defer s.enter()()
	w.Header().Set(headerSession, s.id)
	if !m.isRequest() {
		if s.tell(m) != nil {
			refuse(w, http.StatusNotFound, "", jsonrpc.CodeInvalidRequest, "the session is over")
			return
		}
		w.WriteHeader(http.StatusAccepted)
		return
	}
	st, err := s.ask(m)
	switch {
	case errors.Is(err, errOver):
		refuse(w, http.StatusNotFound, m.id, jsonrpc.CodeInvalidRequest, err.Error())
	case err != nil:
		refuse(w, http.StatusBadRequest, m.id, jsonrpc.CodeInvalidRequest, err.Error())
	default:
		// The call goes on when its reader goes: that is no cancellation.
		st.follow(r.Context(), w, 0, true)
	}
}

// session finds the session of a message, or begins one; it returns nil when it has answered.
func (b *bridge) session(w http.ResponseWriter, r *http.Request, m message) *session {
	id := r.Header.Get(headerSession)
	if id == "" && m.method != "initialize" {
		refuse(w, http.StatusBadRequest, m.id, jsonrpc.CodeInvalidRequest, "begin with initialize, and send its Mcp-Session-Id along")
		return nil
	}
	if id != "" {
		s := b.sessions.find(id)
		if s == nil {
			refuse(w, http.StatusNotFound, m.id, jsonrpc.CodeInvalidRequest, "there is no such session")
		}
		return s
	}
	s, err := b.sessions.begin()
	if err != nil {
		b.out.say(agentenv.LevelWarning, "agentcloud", "a session was refused: "+err.Error())
		refuse(w, http.StatusServiceUnavailable, m.id, codeEnded, err.Error())
		return nil
	}
	return s
}

// get follows the common stream, or the rest of one that broke.
func (b *bridge) get(w http.ResponseWriter, r *http.Request) {
	s := b.sessions.find(r.Header.Get(headerSession))
	if s == nil {
		refuse(w, http.StatusNotFound, "", jsonrpc.CodeInvalidRequest, "there is no such session")
		return
	}
	id, number, begin := 0, 0, true
	if last := r.Header.Get("Last-Event-Id"); last != "" {
		var ok bool
		if id, number, ok = parseEventID(last); !ok {
			refuse(w, http.StatusBadRequest, "", jsonrpc.CodeInvalidRequest, "Last-Event-ID is none of ours")
			return
		}
		begin = false
	}
	st := s.stream(id)
	if st == nil {
		refuse(w, http.StatusNotFound, "", jsonrpc.CodeInvalidRequest, "this stream is over and not kept any more")
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	defer context.AfterFunc(b.going, cancel)()
	if id == 0 {
		defer s.listen()()
	} else {
		defer s.enter()()
	}
	st.follow(ctx, w, number, begin)
}
