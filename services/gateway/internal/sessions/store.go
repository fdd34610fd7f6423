package sessions

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const (
	// idBytes make an id of 128 random bits, as the framework's own servers do.
	idBytes   = 16
	reapEvery = 30 * time.Second
	// farewell bounds telling an agent that a session is over, and farewells how many
	// are told at once.
	farewell  = 5 * time.Second
	farewells = 64
	// openShare is the part of all sessions that the nameless callers of one app may have.
	openShare = 2
)

// Limits bound sessions.
type Limits struct {
	// Total in this process.
	Total int
	// PerCaller of one principal on one app.
	PerCaller int
	// Idle is how long a session without an open stream is kept.
	Idle time.Duration
	// Wait is how long a call waits for an agent that is starting.
	Wait time.Duration
}

// Store holds the sessions of this process.
type Store struct {
	client *http.Client
	table  *routes.Table
	limits Limits
	// OnEnd is called after a session has ended, when it is set before the first one.
	OnEnd func(*Session)
	// Records keep sessions beyond this process, when they are set before the first one.
	Records *Records
	// recovering lets one request bring a session back for all who ask for it.
	recovering singleflight.Group
	heard      *heard
	// epoch is in the ids of this process's events, and kept is how many bytes of answers
	// it keeps.
	epoch int64
	kept  atomic.Int64
	// leaving holds a place for each agent that is being told goodbye.
	leaving chan struct{}
	closing atomic.Bool
	closed  chan struct{}

	mu       sync.Mutex
	byID     map[string]*Session
	byCaller map[callerKey][]*Session // oldest first
}

type callerKey struct{ target, user string }

// NewStore returns an empty store.
func NewStore(table *routes.Table, client *http.Client, limits Limits) *Store {
	return &Store{
		client: client, heard: newHeard(), table: table, limits: limits, epoch: newEpoch(time.Now()),
		leaving: make(chan struct{}, farewells), closed: make(chan struct{}), byID: map[string]*Session{}, byCaller: map[callerKey][]*Session{},
	}
}

// Open begins a session. Rollout is one whose canary it gets for what its first request
// says; empty: its place in a rollout decides.
func (st *Store) Open(target string, caller principal.Principal, rollout string) (*Session, error) {
	id := newID()
	return st.open(id, target, caller, routes.Pick{Key: keyOf(id), Caller: caller, Rollout: rollout})
}

// OpenAt begins a session for one call, at the version that its route leads to.
func (st *Store) OpenAt(route *routes.Route, caller principal.Principal) (*Session, error) {
	return st.open(newID(), route.Address.GetTargetId(), caller, route.Pick())
}

func (st *Store) open(id, target string, caller principal.Principal, pick routes.Pick) (*Session, error) {
	st.mu.Lock()
	defer st.mu.Unlock()
	key := callerKey{target, caller.UserID}
	if len(st.byID) >= st.limits.Total || len(st.byCaller[key]) >= st.share(caller) {
		return nil, fault.Exhausted.Errorf("too many open sessions: close some, or wait until idle ones expire")
	}
	ctx, end := context.WithCancel(context.Background())
	s := &Session{
		ID: id, TargetID: target, Caller: caller, ctx: ctx, end: end, gone: make(chan struct{}), store: st, key: keyOf(id),
		feed: newFeed(), Upstream: st.Upstream(target, pick), seen: time.Now(),
	}
	s.Upstream.Remind(s.repeat)
	if route := s.Upstream.Route(); route != nil && route.Endpoint != nil {
		s.told = listsOf(route.Endpoint)
	}
	st.byID[s.ID] = s
	st.byCaller[key] = append(st.byCaller[key], s)
	context.AfterFunc(ctx, func() { st.ended(s) })
	return s, nil
}

// Upstream is a conversation with a target's agent, of the version that is for pick, that
// has not begun.
func (st *Store) Upstream(target string, pick routes.Pick) *Upstream {
	return &Upstream{client: st.client, table: st.table, target: target, pick: pick, wait: st.limits.Wait}
}

// share is how many sessions on one app a caller may have. Those without a name share.
func (st *Store) share(caller principal.Principal) int {
	if caller.UserID == "" {
		return max(st.limits.Total/openShare, 1)
	}
	return st.limits.PerCaller
}

// ended does what is due after a session's end, however it came.
func (st *Store) ended(s *Session) {
	defer close(s.gone)
	st.remove(s)
	s.forgetAll()
	if s.hasLeft() {
		return
	}
	if st.OnEnd != nil && !st.closing.Load() {
		st.OnEnd(s)
	}
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	st.forgetRecord(ctx, s)
	select {
	case st.leaving <- struct{}{}:
		s.Upstream.End(ctx)
		<-st.leaving
	case <-ctx.Done():
	}
}

// Find returns the session with that id, if it is of this target and caller.
func (st *Store) Find(id, target string, caller principal.Principal) (*Session, bool) {
	st.mu.Lock()
	s, ok := st.byID[id]
	st.mu.Unlock()
	if !ok || s.TargetID != target || s.Caller.UserID != caller.UserID || s.ctx.Err() != nil {
		return nil, false
	}
	s.touch(time.Now())
	return s, true
}

// ByID returns the session with that id, if this process has it.
func (st *Store) ByID(id string) (*Session, bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	s, ok := st.byID[id]
	return s, ok
}

// Of lists a user's sessions on a target, newest first. An anonymous caller has no
// others: who calls without a key is nobody in particular.
func (st *Store) Of(target, user string) []*Session {
	if user == "" {
		return nil
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	all := st.byCaller[callerKey{target, user}]
	newest := make([]*Session, len(all))
	for i, s := range all {
		newest[len(all)-1-i] = s
	}
	return newest
}

// End ends a session; its agent is told.
func (st *Store) End(s *Session) { s.end() }

// Withdraw takes a question back from every session here that was asked it.
func (st *Store) Withdraw(target, questionID string) {
	for _, s := range st.all() {
		if s.TargetID == target {
			s.Withdraw(questionID)
		}
	}
}

// Run ends idle sessions, those that all replicas have left, too, and tells all of new versions of their apps, until ctx ends;
// then it leaves those that go on elsewhere and ends the others.
func (st *Store) Run(ctx context.Context) error {
	go st.follow(ctx)
	if st.Records != nil {
		var sweeping sync.WaitGroup
		defer sweeping.Wait()
		sweeping.Go(func() { st.sweeps(ctx) })
	}
	ticker := time.NewTicker(tick(st.limits.Idle))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			st.close()
			return nil
		case now := <-ticker.C:
			st.reap(ctx, now)
			st.renew(ctx, now)
		}
	}
}

func (st *Store) reap(ctx context.Context, now time.Time) {
	for _, s := range st.all() {
		s.rest(now)
		s.prune(now)
		switch {
		case !s.idle(now.Add(-st.limits.Idle)):
		case st.usedElsewhere(ctx, s):
			s.leave()
		default:
			st.End(s)
		}
	}
}

// close ends all sessions and gives their agents, which live on, time to know. Those
// with a record go on elsewhere, or here after a restart.
func (st *Store) close() {
	defer close(st.closed)
	st.closing.Store(true)
	all := st.all()
	for _, s := range all {
		if s.recorded() {
			s.leave()
			continue
		}
		s.end()
	}
	limit := time.After(farewell)
	for _, s := range all {
		select {
		case <-s.gone:
		case <-limit:
			return
		}
	}
}

func (st *Store) all() []*Session {
	st.mu.Lock()
	defer st.mu.Unlock()
	all := make([]*Session, 0, len(st.byID))
	for _, s := range st.byID {
		all = append(all, s)
	}
	return all
}

func (st *Store) remove(gone *Session) {
	st.mu.Lock()
	defer st.mu.Unlock()
	delete(st.byID, gone.ID)
	key := callerKey{gone.TargetID, gone.Caller.UserID}
	kept := st.byCaller[key][:0]
	for _, s := range st.byCaller[key] {
		if s != gone {
			kept = append(kept, s)
		}
	}
	if len(kept) == 0 {
		delete(st.byCaller, key)
		return
	}
	st.byCaller[key] = kept
}

func newID() string {
	b := make([]byte, idBytes)
	_, _ = rand.Read(b) // never fails (crypto/rand)
	return hex.EncodeToString(b)
}
