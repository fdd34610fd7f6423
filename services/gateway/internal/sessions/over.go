package sessions

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
)

const (
	// firstWord is how long to wait until another replica says that its copy of a session
	// has ended, and nextWord for one more to say so.
	firstWord = 250 * time.Millisecond
	nextWord  = 25 * time.Millisecond
)

// EndEverywhere ends a session as its client wants: when it returns, the id is worth
// nothing at the other replicas either, as far as they can be heard.
func (st *Store) EndEverywhere(ctx context.Context, s *Session) {
	s.mu.Lock()
	kept, elsewhere := !s.kept.IsZero(), s.ear.elsewhere
	s.kept = time.Time{} // the record is deleted here
	s.written.Store(false)
	s.mu.Unlock()
	st.End(s)
	if !kept {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepLimit)
	defer cancel()
	if !elsewhere {
		_ = st.Records.delete(ctx, s.key, "") // it expires by itself
		return
	}
	conn := st.Records.js.Conn()
	sub, err := conn.SubscribeSync(nats.NewInbox())
	if err != nil {
		return
	}
	defer sub.Unsubscribe() //nolint:errcheck // the connection may be gone first
	if st.Records.delete(ctx, s.key, sub.Subject) != nil {
		return
	}
	for wait := firstWord; ; wait = nextWord {
		if _, err := sub.NextMsg(wait); err != nil {
			return
		}
	}
}

// leaveEnded ends the copy here of a session that another replica has ended, and says so.
func (st *Store) leaveEnded(m *nats.Msg) {
	for _, s := range st.all() {
		if s.key != string(m.Data) || s.ctx.Err() != nil {
			continue
		}
		s.leave()
		if m.Reply != "" {
			_ = m.Respond(nil) // who waits does not wait long
		}
	}
}
