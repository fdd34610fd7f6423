package sessions

import (
	"sync"
	"time"
)

const (
	// streamBytes bounds what is kept of an answer that is not at its end.
	streamBytes = 1 << 20
	// keptBytes and keptStreams bound what one session keeps of answers at their end,
	// keptFor for how long, and allBytes what all sessions of a process keep.
	keptBytes   = 256 << 10
	keptStreams = 32
	keptFor     = time.Minute
	allBytes    = 64 << 20
)

// Stream is the answer to one call: what the agent says, up to its response. It is kept
// for a while, so that a client whose connection broke gets the rest.
type Stream struct {
	session       *Session
	epoch, number int64

	mu       sync.Mutex
	items    []Item
	last     int64 // place of the newest
	bytes    int
	over     time.Time // when the response was there; zero: not yet
	orphaned bool
	changed  chan struct{} // closed at the next change; nil while nobody waits
}

// NewStream begins the answer to a call.
func (s *Session) NewStream() *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastStream++
	st := &Stream{session: s, epoch: s.store.epoch, number: s.lastStream}
	s.answers = append(s.answers, st)
	s.forgetAnswers(time.Now())
	return st
}

// forgetAnswers drops the oldest answers that are at their end: too old or too many.
// s.mu is held.
func (s *Session) forgetAnswers(now time.Time) {
	ended, bytes, kept := 0, 0, s.answers[:0]
	for i := len(s.answers) - 1; i >= 0; i-- {
		over, size := s.answers[i].end()
		if !over.IsZero() {
			ended++
			bytes += size
			if ended > keptStreams || bytes > keptBytes || now.Sub(over) > keptFor || s.store.kept.Load() > allBytes {
				s.answers[i].drop()
				s.answers[i] = nil
			}
		}
	}
	for _, st := range s.answers {
		if st != nil {
			kept = append(kept, st)
		}
	}
	clear(s.answers[len(kept):])
	s.answers = kept
}

// prune drops answers that are too old.
func (s *Session) prune(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.forgetAnswers(now)
	s.forgetBroken(now)
}

// forgetAll drops all answers.
func (s *Session) forgetAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.answers {
		st.drop()
	}
	s.answers = nil
}

// Answer finds the stream that an event belongs to, if this process has it.
func (s *Session) Answer(id EventID) (*Stream, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.answers {
		if st.epoch == id.Epoch && st.number == id.Stream {
			return st, true
		}
	}
	return nil, false
}

// ID is the id of the event at a place of the stream.
func (st *Stream) ID(place int64) EventID { return EventID{st.epoch, st.number, place} }

// Next is the id that the next message will have.
func (st *Stream) Next() EventID {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.ID(st.last + 1)
}

// Put appends a message.
func (st *Stream) Put(message []byte) EventID {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.last++
	item := Item{st.last, message}
	st.items = append(st.items, item)
	st.grow(len(message))
	for st.bytes > streamBytes && len(st.items) > 1 {
		st.grow(-len(st.items[0].Message))
		st.items = st.items[1:]
	}
	if st.orphaned {
		st.session.journal(st.ID(item.Place), message)
	}
	st.tell()
	return st.ID(item.Place)
}

func (st *Stream) grow(by int) {
	st.bytes += by
	st.session.store.kept.Add(int64(by))
}

// Finish says that the response was the last message.
func (st *Stream) Finish() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.over = time.Now()
	if st.orphaned {
		st.session.journal(st.ID(st.last+1), nil)
	}
	st.tell()
}

// Orphan says that the client's connection broke: the other replicas must be able to go
// on with the answer, should the client come to one of them.
func (st *Stream) Orphan() {
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.orphaned {
		return
	}
	st.orphaned = true
	for _, item := range st.items {
		st.session.journal(st.ID(item.Place), item.Message)
	}
	if !st.over.IsZero() {
		st.session.journal(st.ID(st.last+1), nil)
	}
}

// Since are the messages after a place. Changed closes when there are more; it is nil
// after the response. Ok is false when some are not kept any more.
func (st *Stream) Since(place int64) (items []Item, changed <-chan struct{}, ok bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, item := range st.items {
		if item.Place > place {
			items = append(items, item)
		}
	}
	if ok = int64(len(items)) == st.last-min(place, st.last); ok && st.over.IsZero() {
		if st.changed == nil {
			st.changed = make(chan struct{})
		}
		changed = st.changed
	}
	return items, changed, ok
}

func (st *Stream) tell() {
	if st.changed != nil {
		close(st.changed)
		st.changed = nil
	}
}

func (st *Stream) end() (over time.Time, size int) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.over, st.bytes
}

// drop forgets what the stream said.
func (st *Stream) drop() {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.grow(-st.bytes)
	st.items = nil
}
