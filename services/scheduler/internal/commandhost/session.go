package commandhost

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

const (
	// writeLimit is how long a program may not read what it is told.
	writeLimit = 30 * time.Second
	// maxCalls bounds the open calls of a session.
	maxCalls = 256
	// maxFinished and finishedBytes bound what is kept of answers that were given.
	maxFinished   = 32
	finishedBytes = 4 << 20
)

// session is one client and the process that it has for itself. What the program asks its
// client can so go to nobody else.
type session struct {
	id    string
	child *child
	out   *output

	writing sync.Mutex

	mu       sync.Mutex
	over     bool
	streams  map[int]*stream // the common one is 0
	next     int
	calls    []call // that are open, the newest last
	asked    map[string]*stream
	finished []*stream
	busy     int // exchanges that are open
	// listening are readers of the common stream, who may wait for ever.
	listening int
	// resting says that the process was ended to make room for another session.
	resting bool
	used    time.Time
}

// call is a request of the client's that is open.
type call struct {
	id, token string
	stream    *stream
}

func newSession(id string, c *child, out *output) *session {
	s := &session{id: id, child: c, out: out, streams: map[int]*stream{0: newStream(0)}, asked: map[string]*stream{}, used: time.Now()}
	go s.read()
	return s
}

var (
	errOver    = errors.New("the session is over")
	errTwice   = errors.New("a call with this id is open")
	errTooMany = fmt.Errorf("the session has %d open calls; wait for one to end", maxCalls)
)

// ask opens a call and passes it on.
func (s *session) ask(m message) (*stream, error) {
	st, err := s.open(m)
	if err != nil {
		return nil, err
	}
	if err := s.write(m.line); err != nil {
		s.answer(message{id: m.id, line: refusal(m.id, codeEnded, "the program does not take the message: "+err.Error())})
	}
	return st, nil
}

func (s *session) open(m message) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
		return nil, errOver
	case len(s.calls) >= maxCalls:
		return nil, errTooMany
	case s.find(func(c call) bool { return c.id == m.id }) != nil:
		return nil, errTwice
	}
	s.next++
	st := newStream(s.next)
	s.streams[st.id] = st
	s.calls = append(s.calls, call{id: m.id, token: m.token, stream: st})
	return st, nil
}

// find returns the stream of the newest open call that fits; s.mu is held.
func (s *session) find(fits func(call) bool) *stream {
	for i := len(s.calls) - 1; i >= 0; i-- {
		if fits(s.calls[i]) {
			return s.calls[i].stream
		}
	}
	return nil
}

// write passes a message on to the program.
func (s *session) write(line []byte) error {
	s.writing.Lock()
	defer s.writing.Unlock()
	_ = s.child.stdin.SetWriteDeadline(time.Now().Add(writeLimit))
	if _, err := s.child.stdin.Write(append(bytes.Clone(line), '\n')); err != nil {
		go s.child.end() // half a message may be written, after which no other is understood
		return err
	}
	return nil
}

// read takes what the program says until its end.
func (s *session) read() {
	reader := bufio.NewReaderSize(s.child.stdout, 64<<10)
	for {
		line, err := readLine(reader)
		if len(bytes.TrimSpace(line)) > 0 {
			s.take(line)
		}
		if errors.Is(err, errLong) {
			s.out.say(agentenv.LevelError, "agentcloud", err.Error())
		}
		if err != nil {
			break
		}
	}
	s.child.end()
	_ = s.child.stdout.Close()
	s.close()
}

var errLong = fmt.Errorf("the program wrote a message of more than %d MiB; its session is ended", maxMessageBytes>>20)

func readLine(reader *bufio.Reader) ([]byte, error) {
	var line []byte
	for {
		part, err := reader.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(line) > maxMessageBytes:
			return nil, errLong
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF) || err == nil:
			return line, err
		default:
			return nil, err
		}
	}
}

// take brings a message of the program's where it belongs.
func (s *session) take(line []byte) {
	m, err := parse(line)
	if err != nil {
		s.child.last.Add(s.out.words("stdout", bytes.TrimSpace(line))) // a print, or a banner
		return
	}
	if m.isResponse() {
		s.answer(m)
		return
	}
	s.mu.Lock()
	to := s.place(m)
	if m.isRequest() {
		s.asked[m.id] = to
	}
	s.mu.Unlock()
	to.add(m.line, false)
}

// place is where a message belongs that is no answer: its call's stream where it says
// which, else that of the newest open call, since nothing tells more; s.mu is held.
func (s *session) place(m message) *stream {
	to := s.find(func(c call) bool { return m.token != "" && c.token == m.token })
	if to == nil && m.regards != "" {
		to = s.asked[m.regards]
	}
	if to == nil && !m.common() {
		to = s.find(func(call) bool { return true })
	}
	if to == nil {
		return s.streams[0]
	}
	return to
}

// answer ends a call.
func (s *session) answer(m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.calls {
		if c.id == m.id {
			s.calls = append(s.calls[:i:i], s.calls[i+1:]...)
			c.stream.add(m.line, true)
			s.keep(c.stream)
			return
		}
	}
}

// keep holds an answer for a client that lost it on the way; s.mu is held.
func (s *session) keep(st *stream) {
	s.finished = append(s.finished, st)
	size := 0
	for i := len(s.finished) - 1; i >= 0; i-- {
		size += s.finished[i].size()
		if len(s.finished)-i <= maxFinished && (size <= finishedBytes || i == len(s.finished)-1) {
			continue
		}
		for _, old := range s.finished[:i+1] {
			delete(s.streams, old.id)
		}
		s.finished = s.finished[i+1:]
		return
	}
}

// tell passes on what needs no answer.
func (s *session) tell(m message) error {
	if m.isResponse() {
		s.mu.Lock()
		delete(s.asked, m.id)
		s.mu.Unlock()
	}
	return s.write(m.line)
}

// close answers what is open, once the program has ended.
func (s *session) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	for _, c := range s.calls {
		c.stream.add(refusal(c.id, codeEnded, s.child.how()+" during the call; its last lines are in the app's log"), true)
	}
	s.calls = nil
	if !s.resting {
		s.streams[0].add(nil, true)
	}
}

// rest says that the process is ended for want of room. Who listens may go on: there is
// nothing to be said until the client calls again, and so begins another session.
func (s *session) rest() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resting = true
}

// stream finds one by its number.
func (s *session) stream(id int) *stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[id]
}

// enter marks an exchange as open until leave is called.
func (s *session) enter() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.busy++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy--
		s.used = time.Now()
	}
}

// listen marks a reader of the common stream until leave is called.
func (s *session) listen() (leave func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listening++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.listening--
	}
}

// idle tells since when nothing was asked; ok is false while something is. Heard says
// that somebody listens.
func (s *session) idle() (since time.Time, heard, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.used, s.listening > 0, s.busy == 0 && len(s.calls) == 0
}
