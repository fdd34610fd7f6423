package edge

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// againTopic is what repeated calls are called among replicas: the call is made at one.
const againTopic = "again"

// repeated is a call that its client repeats at another replica than the one that makes
// it; its message follows in a line of its own.
type repeated struct {
	Session string              `json:"session"`
	Target  string              `json:"target"`
	Caller  principal.Principal `json:"caller"`
	ID      string              `json:"id"`
}

// ended is how a repeated call ended.
type ended struct {
	Reply   json.RawMessage `json:"reply,omitempty"`
	Kind    fault.Kind      `json:"kind,omitempty"`
	Message string          `json:"message,omitempty"`
	// Unknown says that there is no such call any more.
	Unknown bool `json:"unknown,omitempty"`
}

var (
	errBrokeOff = fault.Unavailable.Errorf("the connection broke during the call; it may have been started")
	errMadeGone = fault.Unavailable.Errorf("the same call had been started at another replica, which has gone; what became of it is not known")
)

// answerOnce answers a request; a call that repeats one whose connection broke gets that
// one's answer.
func (v visit) answerOnce(w http.ResponseWriter, r *http.Request, s *sessions.Session, body []byte, m jsonrpc.Message) {
	call, again := s.Begin(m, body)
	if again {
		v.join(w, r, s, call, m)
		return
	}
	if call != nil {
		v.call = call
		defer context.AfterFunc(r.Context(), call.Broke)()
	}
	var reply []byte
	err := errBrokeOff // if what follows panics
	defer func() {
		arrived := r.Context().Err() == nil && !errors.Is(err, errBrokeOff)
		call.Over(reply, err, arrived || errors.Is(err, sessions.ErrNotStarted))
	}()
	if at, elsewhere := call.Elsewhere(r.Context()); elsewhere {
		var known bool
		if reply, known, err = v.joinElsewhere(w, r, s, at, body, m); known {
			return
		}
	}
	if reply, err = v.make(w, r, s, body, m); err != nil {
		refuse(w, m, err)
	}
}

// join waits for the answer of a call that is made here.
func (v visit) join(w http.ResponseWriter, r *http.Request, s *sessions.Session, call *sessions.Call, m jsonrpc.Message) {
	stream, reply, err := call.Wait(r.Context())
	switch {
	case err != nil:
		refuse(w, m, err)
	case stream != nil:
		v.resumeHere(w, r, s, stream, stream.ID(0))
	default:
		writeJSON(w, reply)
	}
	if err == nil && r.Context().Err() == nil {
		call.Forget()
	}
}

// joinElsewhere waits for the answer of a call that another replica makes; known is false
// when it does not any more.
func (v visit) joinElsewhere(w http.ResponseWriter, r *http.Request, s *sessions.Session, at string, body []byte, m jsonrpc.Message) (reply []byte, known bool, err error) {
	about := jsonrpc.Encode(repeated{s.ID, s.TargetID, v.caller, string(m.ID)})
	var to *stream
	var answer *sessions.Stream
	say := func(message []byte) {
		if to == nil {
			to, _ = openStream(w, v.deps.Config.KeepAlive)
			answer = s.NewStream()
			v.call.In(answer)
		}
		if jsonrpc.IsResponse(message) {
			reply = message
			v.call.Leaves()
		}
		to.message(answer.Put(message), message)
	}
	raw, err := v.peers.Ask(r.Context(), at, againTopic, append(append(about, '\n'), body...), say)
	var end ended
	switch {
	case errors.Is(err, peers.ErrAway):
		err = errMadeGone
	case err == nil && json.Unmarshal(raw, &end) != nil:
		err = errBrokeOff
	case err == nil && end.Unknown:
		return nil, false, nil
	case err == nil && end.Kind != 0:
		err = end.Kind.Errorf("%s", end.Message)
	}
	if to != nil {
		defer answer.Finish()
	}
	switch {
	case to != nil && err != nil:
		say(failure(m.ID, err))
	case to != nil:
	case err != nil:
		refuse(w, m, err)
	default:
		reply = end.Reply
		writeJSON(w, reply)
	}
	return reply, true, err
}

// madeAgain answers another replica's client, whose call is made here.
func (e *Edge) madeAgain(ctx context.Context, raw []byte, say func([]byte)) []byte {
	about, body, _ := bytes.Cut(raw, []byte("\n"))
	var asked repeated
	_ = json.Unmarshal(about, &asked) // another replica's own
	s, ok := e.sessions.Find(asked.Session, asked.Target, asked.Caller)
	if !ok {
		return jsonrpc.Encode(ended{Unknown: true})
	}
	call, ok := s.Known(asked.ID, body)
	if !ok {
		return jsonrpc.Encode(ended{Unknown: true})
	}
	stream, reply, err := call.Wait(ctx)
	if stream != nil {
		err = sayAll(ctx, stream, say)
	}
	if err != nil {
		return jsonrpc.Encode(ended{Kind: fault.KindOf(err), Message: fault.Message(err)})
	}
	return jsonrpc.Encode(ended{Reply: reply})
}

// sayAll gives an answer from its beginning to its end.
func sayAll(ctx context.Context, stream *sessions.Stream, say func([]byte)) error {
	for place := int64(0); ; {
		items, changed, whole := stream.Since(place)
		for _, item := range items {
			place = item.Place
			say(item.Message)
		}
		if !whole {
			return errBrokeOff
		}
		if changed == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-changed:
		}
	}
}
