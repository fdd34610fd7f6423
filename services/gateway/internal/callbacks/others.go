package callbacks

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// saidSubject tells all replicas what a run says to a client that listens to none of
// the sessions of the replica that its agent called.
const saidSubject = "gateway.runs.said"

// said is one message of a run's.
type said struct {
	From    string          `json:"from"`
	Target  string          `json:"target"`
	Session string          `json:"session,omitempty"`
	User    string          `json:"user,omitempty"`
	Message json.RawMessage `json:"message"`
}

// spread tells the other replicas; what is lost is lost.
func (q *Questions) spread(target string, o owner, message []byte) {
	if o.session == "" && o.user == "" {
		return
	}
	_ = q.deps.Conn.Publish(saidSubject, jsonrpc.Encode(said{q.name, target, o.session, o.user, message}))
}

// Listen gives clients here what runs say whose agents call other replicas, until ctx
// ends.
func (q *Questions) Listen(ctx context.Context) error {
	sub, err := q.deps.Conn.Subscribe(saidSubject, func(m *nats.Msg) {
		var s said
		if json.Unmarshal(m.Data, &s) == nil && s.From != q.name {
			q.heard(s)
		}
	})
	if err != nil {
		return fmt.Errorf("listen to what runs say: %w", err)
	}
	seekers, err := q.answerSeekers()
	if err != nil {
		return err
	}
	<-ctx.Done()
	return errors.Join(sub.Unsubscribe(), seekers.Unsubscribe())
}

// heard gives a message to the session that started the run if its client listens here.
// A run without a session is its user's, wherever they listen.
func (q *Questions) heard(s said) {
	o := owner{session: s.Session, user: s.User}
	if own, ok := q.starter(s.Target, o); ok && own.Streaming() {
		own.Tell(s.Message)
		return
	}
	if s.Session != "" {
		return
	}
	for _, other := range q.recipients(s.Target, o) {
		if other.Streaming() && other.Tell(s.Message) {
			return
		}
	}
}

// wait leaves a message with a client that listens to nothing now, unless it may listen
// to another replica, which has the message, too.
func wait(s *sessions.Session, message []byte) {
	if !s.Elsewhere() {
		s.Tell(message)
	}
}
