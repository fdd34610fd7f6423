package sessions

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	journalName    = "SESSION_EVENTS"
	journalSubject = "gateway.session.events."
	// journalAge is how long events are kept for a client that comes back, and
	// journalBytes how much of all sessions together.
	journalAge   = 10 * time.Minute
	journalBytes = 256 << 20
	// journalQueue is how many events wait to be written down; then some are not.
	journalQueue = 4096
	// journalRead bounds what is read for one client at once.
	journalRead = 2 * outbox
	eventHeader = "Mcp-Event-Id"
	// whole is the stream of a session's feed.
	whole = "feed"
)

// journal keeps events where every replica finds them, also after a restart: what
// sessions are told unasked, and answers whose client's connection broke.
type journal struct {
	js    jetstream.JetStream
	queue chan *nats.Msg

	mu     sync.Mutex
	stream jetstream.Stream
}

func newJournal(js jetstream.JetStream) *journal {
	return &journal{js: js, queue: make(chan *nats.Msg, journalQueue)}
}

// open finds the stream, or makes it.
func (j *journal) open(ctx context.Context) (jetstream.Stream, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.stream != nil {
		return j.stream, nil
	}
	stream, err := j.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: journalName, Description: "events of MCP sessions", Subjects: []string{journalSubject + ">"},
		MaxAge: journalAge, MaxBytes: journalBytes, MaxMsgsPerSubject: journalRead, AllowDirect: true,
	})
	if err == nil {
		j.stream = stream
	}
	return stream, err
}

func journalOf(key string, id EventID) string {
	if id.Stream == 0 {
		return journalSubject + key + "." + whole
	}
	return journalSubject + key + "." + EventID{id.Epoch, id.Stream, 0}.path()
}

// path is an event's stream as a token of a subject.
func (id EventID) path() string {
	text := []byte(id.String())
	for i, c := range text {
		if c == '.' {
			text[i] = '-'
		}
	}
	return string(text)
}

// note has an event written down soon. A message of nil says that the stream is at its
// end.
func (j *journal) note(key string, id EventID, message []byte) {
	m := &nats.Msg{Subject: journalOf(key, id), Header: nats.Header{eventHeader: {id.String()}}, Data: message}
	select {
	case j.queue <- m:
	default: // the client has it, or will get it from memory
	}
}

// run writes events down until over closes, and then those that wait.
func (j *journal) run(over <-chan struct{}) {
	for {
		select {
		case m := <-j.queue:
			j.write(m)
		case <-over:
			j.flush()
			return
		}
	}
}

func (j *journal) write(m *nats.Msg) {
	ctx, cancel := context.WithTimeout(context.Background(), keepLimit)
	defer cancel()
	if _, err := j.open(ctx); err != nil {
		return
	}
	_, _ = j.js.PublishMsgAsync(m) // what fails is in memory alone
}

func (j *journal) flush() {
	for len(j.queue) > 0 {
		j.write(<-j.queue)
	}
	select {
	case <-j.js.PublishAsyncComplete():
	case <-time.After(keepLimit):
	}
}

// Noted is an event as it was written down. No message says that the stream is at its
// end.
type Noted struct {
	ID      EventID
	Message []byte
}

// read gives the events of a stream in the order in which they were written down, and
// the sequence to go on from.
func (j *journal) read(ctx context.Context, key string, of EventID, from uint64) (items []Noted, next uint64, err error) {
	stream, err := j.open(ctx)
	if err != nil {
		return nil, from, err
	}
	for next = max(from, 1); len(items) < journalRead; {
		m, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(journalOf(key, of)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			break
		}
		if err != nil {
			return nil, next, err
		}
		next = m.Sequence + 1
		if id, err := ParseEventID(m.Header.Get(eventHeader)); err == nil {
			items = append(items, Noted{id, m.Data})
		}
	}
	return items, next, nil
}
