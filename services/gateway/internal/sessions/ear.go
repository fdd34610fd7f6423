package sessions

import (
	"context"
	"time"
)

// earIdle is how long after its last call a client still hears what its agent says
// unasked, unless it has subscribed to something.
const earIdle = 2 * time.Minute

// ear listens to the agent's own stream for a client that listens to ours. An idle
// client has none: the gateway has what it is told then.
type ear struct {
	listen     func(context.Context)
	stop       context.CancelFunc // nil: not listening
	subscribed bool
	called     time.Time // when the client called last
	elsewhere  bool      // the client may listen to another replica
	told       time.Time // when the others were told of its calls
	heard      bool      // the agent has been listened to before
}

// Listening says how to hear the agent's own stream while this client listens to ours.
func (s *Session) Listening(listen func(context.Context)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ear.listen = listen
	s.tellOthers(presentSubject, s.ID)
	if s.ear.subscribed || time.Since(s.ear.called) < earIdle {
		s.hearken()
	}
}

// Subscribe keeps the agent's stream open for as long as the client listens.
func (s *Session) Subscribe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ear.subscribed, s.ear.told = true, time.Time{}
	s.sayCalled()
	s.hearken()
}

// Hearkens says whether the client wants to hear what its agent says unasked.
func (s *Session) Hearkens() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ear.subscribed
}

// Heard notes that the agent is listened to; again says that it was before, so that what
// it said meanwhile may be lost.
func (s *Session) Heard() (again bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	again = s.ear.heard
	s.ear.heard = true
	return again
}

// hearken opens the agent's stream; s.mu is held.
func (s *Session) hearken() {
	if s.ear.listen == nil || s.ear.stop != nil || s.streams == 0 {
		return
	}
	ctx, cancel := context.WithCancel(s.ctx)
	s.ear.stop = cancel
	go s.ear.listen(ctx)
}

// deafen closes it; s.mu is held.
func (s *Session) deafen() {
	if s.ear.stop != nil {
		s.ear.stop()
		s.ear.stop = nil
	}
}

// rest closes the agent's stream of a client that has not called for a while.
func (s *Session) rest(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.work == 0 && !s.ear.subscribed && now.Sub(s.ear.called) > earIdle {
		s.deafen()
	}
}
