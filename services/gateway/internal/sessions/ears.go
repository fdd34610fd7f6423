package sessions

import (
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A client may listen to one replica and call at others. The one that it listens to
// hears its agent for it, and so has to know of the calls.

const (
	// presentSubject tells all replicas the id of a session that has come to one of them,
	// or listens there, and calledSubject of one whose client calls at one that it does
	// not listen to.
	presentSubject = "gateway.sessions.present"
	calledSubject  = "gateway.sessions.called"
	// sayCalled is how often a client's calls are told.
	sayCalled = earIdle / 4
	// forGood marks a call that subscribes to something.
	forGood = "+"
)

// listenEars acts on what other replicas tell of a session's client.
func (st *Store) listenEars() (stop func(), err error) {
	heard := map[string]func(s *Session, subscribes bool){
		presentSubject: func(s *Session, _ bool) { s.presentElsewhere() }, calledSubject: (*Session).calledElsewhere,
	}
	var subs []*nats.Subscription
	stop = func() {
		for _, sub := range subs {
			_ = sub.Unsubscribe() // the connection may be gone first
		}
	}
	for subject, tell := range heard {
		sub, err := st.Records.js.Conn().Subscribe(subject, func(m *nats.Msg) {
			from, id, _ := strings.Cut(string(m.Data), " ")
			id, subscribes := strings.CutSuffix(id, forGood)
			if s, ok := st.ByID(id); ok && from != st.name() {
				tell(s, subscribes)
			}
		})
		if err != nil {
			stop()
			return nil, err
		}
		subs = append(subs, sub)
	}
	return stop, nil
}

// presentElsewhere has calls here told from now on, and that there were some: the client
// may listen there.
func (s *Session) presentElsewhere() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ear.elsewhere, s.ear.told = true, time.Time{}
	for _, c := range s.calls {
		if !c.told {
			c.tell() // it may be repeated there
		}
	}
	if s.ear.subscribed || time.Since(s.ear.called) < earIdle {
		s.sayCalled()
	}
}

func (s *Session) calledElsewhere(subscribes bool) {
	if subscribes {
		s.wishesChanged()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ear.called = time.Now()
	s.ear.subscribed = s.ear.subscribed || subscribes
	s.hearken()
}

// sayCalled tells the others of a call, seldom, when the client may listen to one of
// them; s.mu is held.
func (s *Session) sayCalled() {
	if !s.ear.elsewhere || s.streams > 0 || time.Since(s.ear.told) < sayCalled {
		return
	}
	s.ear.told = time.Now()
	text := s.ID
	if s.ear.subscribed {
		text += forGood
	}
	s.tellOthers(calledSubject, text)
}

// tellOthers says something of this session to all replicas; s.mu is held. What is lost
// is said again.
func (s *Session) tellOthers(subject, text string) {
	if s.store.Records != nil && !s.kept.IsZero() {
		_ = s.store.Records.js.Conn().Publish(subject, []byte(s.store.name()+" "+text))
	}
}

// name is this process among the replicas.
func (st *Store) name() string { return strconv.FormatInt(st.epoch, 36) } //nolint:mnd // as short as it gets

// Elsewhere says whether the client may listen to another replica.
func (s *Session) Elsewhere() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ear.elsewhere && s.streams == 0
}
