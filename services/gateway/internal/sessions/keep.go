package sessions

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const (
	// maxHello bounds the client's initialize as far as it is kept.
	maxHello = 16 << 10
	// keepShare is the part of a session's idle time after which its record is renewed.
	keepShare = 3
)

// Listen ends here what another replica has ended, and writes events down, until Run is
// over.
func (st *Store) Listen(ctx context.Context) error {
	if st.Records == nil {
		<-ctx.Done()
		return nil
	}
	sub, err := st.Records.js.Conn().Subscribe(endedSubject, st.leaveEnded)
	if err != nil {
		return fmt.Errorf("listen to ends of sessions: %w", err)
	}
	deaf, err := st.listenEars()
	if err != nil {
		return fmt.Errorf("listen to calls elsewhere: %w", err)
	}
	defer deaf()
	cancels, err := st.listenCancels()
	if err != nil {
		return fmt.Errorf("listen to what clients cancel: %w", err)
	}
	defer cancels.Unsubscribe() //nolint:errcheck // the connection may be gone first
	calls, err := st.listenCalls()
	if err != nil {
		return fmt.Errorf("listen to calls of others: %w", err)
	}
	defer calls.Unsubscribe() //nolint:errcheck // as above
	st.Records.journal.run(st.closed)
	return sub.Unsubscribe()
}

// Keep writes a session down, so that it survives this process. It is of use without,
// too: what fails is left.
func (st *Store) Keep(ctx context.Context, s *Session) {
	rec := s.record()
	if st.Records == nil || len(rec.Initialize) > maxHello {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepLimit)
	defer cancel()
	if revision, err := st.Records.put(ctx, s.key, rec); err == nil {
		s.markKept(revision)
		s.Upstream.Share(peers{s})
	}
}

// markKept notes that the record is as this process wrote or read it.
func (s *Session) markKept(revision uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept, s.revision = time.Now(), revision
	s.written.Store(true)
}

func (s *Session) record() record {
	s.mu.Lock()
	rec := record{Target: s.TargetID, Caller: s.Caller, Lists: s.told, Subscribed: s.ear.subscribed, Wishes: s.wishes}
	s.mu.Unlock()
	s.Upstream.mu.Lock()
	defer s.Upstream.mu.Unlock()
	rec.Initialize, rec.Protocol, rec.URL, rec.Agent = s.Upstream.initialize, s.Upstream.protocol, s.Upstream.url, s.Upstream.session
	rec.Rollout, rec.Former = s.Upstream.pick.Rollout, s.Upstream.former
	return rec
}

// renew writes those sessions down again that are in use here and whose record would
// expire before them.
func (st *Store) renew(ctx context.Context, now time.Time) {
	for _, s := range st.all() {
		if ctx.Err() != nil || !s.due(now, st.limits.Idle/keepShare) {
			continue
		}
		limited, cancel := context.WithTimeout(ctx, keepLimit)
		told, subscribed := s.toldOf()
		_, revision, err := st.Records.change(limited, s.key, func(rec *record) { rec.Lists, rec.Subscribed = told, subscribed })
		cancel()
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			st.Keep(ctx, s)
		case err != nil:
			return // the next round will do
		default:
			s.markKept(revision)
		}
	}
}

func (s *Session) toldOf() (lists, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.told, s.ear.subscribed
}

// due says whether the record of a session that is in use has to be renewed.
func (s *Session) due(now time.Time, after time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	used := s.streams > 0 || s.work > 0 || s.seen.After(s.kept)
	return used && !s.kept.IsZero() && now.Sub(s.kept) > after
}

// recorded says whether the session can go on elsewhere.
func (s *Session) recorded() bool { return s.written.Load() }

// leave ends this copy of a session, which goes on elsewhere or has been ended there.
func (s *Session) leave() {
	s.mu.Lock()
	s.left = true
	s.mu.Unlock()
	s.end()
}

func (s *Session) hasLeft() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

// usedElsewhere says whether another replica has used a session that is idle here; when
// that cannot be told, it may have.
func (st *Store) usedElsewhere(ctx context.Context, s *Session) bool {
	s.mu.Lock()
	known, recorded := s.revision, !s.kept.IsZero()
	s.mu.Unlock()
	if !recorded {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	_, revision, err := st.Records.get(ctx, s.key)
	return err == nil && revision != known || fault.Unavailable.Is(err)
}

// forgetRecord deletes a session's record: its id is worth nothing from then on.
func (st *Store) forgetRecord(ctx context.Context, s *Session) {
	if s.recorded() {
		_ = st.Records.delete(ctx, s.key, "") // it expires by itself
	}
}

// journal writes an event down, soon.
func (s *Session) journal(id EventID, message []byte) {
	if s.recorded() {
		s.store.Records.journal.note(s.key, id, message)
	}
}

// Recover brings a session back that another process began, or this one before its
// restart. It fails with fault.NotFound when there is none of that target and caller.
func (st *Store) Recover(ctx context.Context, id, target string, caller principal.Principal) (*Session, error) {
	if st.Records == nil || len(id) != 2*idBytes {
		return nil, errNoSession
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	found, err, _ := st.recovering.Do(id, func() (any, error) {
		if s, ok := st.ByID(id); ok {
			return s, nil
		}
		rec, revision, err := st.Records.get(context.WithoutCancel(ctx), keyOf(id))
		if err != nil {
			return nil, err
		}
		return st.revive(id, rec, revision)
	})
	if err != nil {
		return nil, err
	}
	s := found.(*Session)
	if _, _, err := st.Records.get(ctx, s.key); fault.NotFound.Is(err) {
		s.leave() // it was ended while it was brought back
		return nil, err
	}
	if s.TargetID != target || s.Caller.UserID != caller.UserID || s.ctx.Err() != nil {
		return nil, errNoSession
	}
	s.touch(time.Now())
	return s, nil
}

// revive makes a session of its record.
func (st *Store) revive(id string, rec record, revision uint64) (*Session, error) {
	m, err := jsonrpc.Parse(rec.Initialize)
	if err != nil {
		return nil, err
	}
	s, err := st.open(id, rec.Target, rec.Caller, routes.Pick{Key: keyOf(id), Caller: rec.Caller, Rollout: rec.Rollout})
	if err != nil {
		return nil, err
	}
	s.Upstream.Adopt(rec.Initialize)
	s.Upstream.Agreed(rec.Protocol)
	s.Upstream.settle(rec.URL, rec.Agent)
	s.Upstream.remember(rec.Former)
	s.Upstream.Share(peers{s})
	s.Introduce(m.Params)
	s.markKept(revision)
	s.MarkReady() // it was, or will say so again
	s.revived(rec)
	return s, nil
}

// revived compares what the client knows with what is.
func (s *Session) revived(rec record) {
	s.mu.Lock()
	now := s.told
	s.told, s.ear.subscribed, s.ear.elsewhere = rec.Lists, rec.Subscribed, true
	s.wishes, s.ear.heard = rec.Wishes, true
	s.ear.called = time.Now() // or not long ago: nobody here knows
	s.tellOthers(presentSubject, s.ID)
	s.mu.Unlock()
	if now != (lists{}) {
		s.compare(now)
	}
}
