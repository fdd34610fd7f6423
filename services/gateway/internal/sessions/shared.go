package sessions

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
)

// agreeTries bounds how often replicas try to agree which of their conversations with
// an agent is the session's.
const agreeTries = 3

// agreed is the one conversation with the agent that all replicas use: what an agent
// asks in it is answered in it, whichever replica the answer comes to.
type agreed struct {
	URL     string `json:"url,omitempty"`
	Session string `json:"session,omitempty"`
}

// version says which state of a record was seen, and when that was written.
type version struct {
	revision uint64
	at       time.Time
}

// shared is a session's record as its Upstream sees it.
type shared struct {
	records *Records
	id      string
	// seen is the newest revision that this process has read or written.
	seen atomic.Uint64
}

// shares notes that a session has a record, and in which state.
func (st *Store) shares(s *Session, v version) {
	s.Upstream.mu.Lock()
	if s.Upstream.shared == nil {
		s.Upstream.shared = &shared{records: st.Records, id: s.ID}
	}
	s.Upstream.shared.seen.Store(v.revision)
	s.Upstream.mu.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept = v.at
}

// touchRecord writes a record down again as it is, so that it does not expire.
func (st *Store) touchRecord(ctx context.Context, s *Session) {
	limited, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	rec, v, err := st.Records.get(limited, s.ID)
	if err == nil {
		v, err = st.Records.update(limited, s.ID, rec, v)
	}
	if err != nil {
		return // the next look is soon
	}
	st.shares(s, v)
}

// update writes a record unless another replica has done so meanwhile.
func (r *Records) update(ctx context.Context, id string, rec record, before version) (version, error) {
	kv, err := r.open(ctx)
	if err != nil {
		return version{}, err
	}
	revision, err := kv.Update(ctx, keyOf(id), jsonrpc.Encode(rec), before.revision)
	return version{revision, time.Now()}, err
}

// goesOn says whether a session that ends here is not over: another replica has used it
// since, or this one ends and its record stays.
func (st *Store) goesOn(ctx context.Context, s *Session) bool {
	s.Upstream.mu.Lock()
	sh := s.Upstream.shared
	s.Upstream.mu.Unlock()
	s.mu.Lock()
	kept := !s.kept.IsZero()
	s.mu.Unlock()
	if sh == nil || !kept {
		return false
	}
	if st.closing.Load() {
		return true
	}
	if !s.quiet.Load() {
		return false
	}
	_, v, err := st.Records.get(ctx, s.ID)
	return err == nil && v.revision != sh.seen.Load()
}

// join takes part in a conversation that another process has begun.
func (u *Upstream) join(a agreed) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.url, u.session = a.URL, a.Session
}

// catchUp joins the conversation with a server that another replica has begun since;
// false when there is none.
func (u *Upstream) catchUp(ctx context.Context, url string) bool {
	u.mu.Lock()
	sh, known := u.shared, u.session
	u.mu.Unlock()
	if sh == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	rec, v, err := sh.records.get(ctx, sh.id)
	if err != nil || rec.URL != url || rec.Session == known {
		return false
	}
	sh.seen.Store(v.revision)
	u.join(rec.agreed)
	return true
}

// agree makes a conversation the session's, unless another replica was faster: then
// that one is, and this ends.
func (u *Upstream) agree(ctx context.Context, mine agreed) {
	u.mu.Lock()
	sh, old := u.shared, u.session
	u.url, u.session = mine.URL, mine.Session
	u.mu.Unlock()
	if sh == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	for range agreeTries {
		rec, v, err := sh.records.get(ctx, sh.id)
		if err != nil {
			return // it is of use without
		}
		if rec.URL == mine.URL && rec.Session != old && rec.Session != mine.Session {
			u.End(ctx)
			u.join(rec.agreed)
			return
		}
		rec.agreed = mine
		v, err = sh.records.update(ctx, sh.id, rec, v)
		if err == nil {
			sh.seen.Store(v.revision)
			return
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return
		}
	}
}
