package logs

import (
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
)

// Bounds of what waits for one reader.
const (
	readerLines = 5000
	readerBytes = 4 << 20
	// Bounds of what waits for one target, before it is read at all.
	feedMessages = 10_000
	feedBytes    = 32 << 20
)

// Live gives lines to readers as they pass on the bus: one subscription for each
// target that has readers, however many they are. It never waits for a reader.
type Live struct {
	conn       *nats.Conn
	maxReaders int

	mu      sync.Mutex
	closed  bool
	readers int
	feeds   map[string]*feed
}

// NewLive returns a Live on conn for at most so many readers.
func NewLive(conn *nats.Conn, maxReaders int) *Live {
	return &Live{conn: conn, maxReaders: maxReaders, feeds: map[string]*feed{}}
}

// feed is the lines of one target.
type feed struct {
	sub *nats.Subscription

	mu      sync.Mutex
	readers map[*reader]bool
	lost    int // messages that the subscription had to drop
}

// open starts a reader of a target's lines.
func (l *Live) open(target, org string) (*reader, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil, errStopping
	}
	if l.readers >= l.maxReaders {
		return nil, fault.Exhausted.Errorf("too many readers follow logs at the moment; try again later")
	}
	f := l.feeds[target]
	if f == nil {
		f = &feed{readers: map[*reader]bool{}}
		if err := f.subscribe(l.conn, target); err != nil {
			return nil, err
		}
		l.feeds[target] = f
	}
	r := &reader{org: org, wake: make(chan struct{}, 1), over: make(chan struct{})}
	f.mu.Lock()
	f.readers[r] = true
	f.mu.Unlock()
	l.readers++
	return r, nil
}

func (f *feed) subscribe(conn *nats.Conn, target string) error {
	sub, err := conn.Subscribe(bus.LogSubject(target), func(msg *nats.Msg) { f.pass(target, msg) })
	if err != nil {
		return fault.Unavailable.Wrap(err, "logs cannot be followed at the moment; try again")
	}
	if err := sub.SetPendingLimits(feedMessages, feedBytes); err != nil {
		return fmt.Errorf("bound log subscription: %w", err)
	}
	f.sub = sub
	// What is published after the reader was told that it follows must reach it.
	if err := conn.FlushTimeout(flushLimit); err != nil {
		_ = sub.Unsubscribe() // the connection is away anyway
		return fault.Unavailable.Wrap(err, "logs cannot be followed at the moment; try again")
	}
	return nil
}

const flushLimit = 5 * time.Second

// pass gives a batch to each reader of its organisation.
func (f *feed) pass(target string, msg *nats.Msg) {
	var b busv1.LogBatch
	if proto.Unmarshal(msg.Data, &b) != nil || b.GetTargetId() != target {
		return // the ingest says so in the log
	}
	entries := make([]*telemetryv1.LogEntry, 0, len(b.GetLines()))
	for _, line := range b.GetLines() {
		entries = append(entries, liveEntry(line))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	lost, _ := f.sub.Dropped() //nolint:errcheck // none are known of then
	missed := int64(max(0, lost-f.lost))
	f.lost = max(f.lost, lost)
	for r := range f.readers {
		if r.org == b.GetOrgId() {
			r.take(entries, missed)
		}
	}
}

func liveEntry(l *busv1.LogLine) *telemetryv1.LogEntry {
	at := l.GetTime()
	if at == nil {
		at = timestamppb.Now()
	}
	return &telemetryv1.LogEntry{
		Timestamp: at, Level: level(l.GetLevel()), Message: withDropped(l.GetMessage(), l.GetDroppedBefore()),
		Logger: l.GetLogger(), Source: l.GetSource().String(), RunId: l.GetRunId(), VersionId: l.GetVersionId(),
	}
}

// leave ends a reader; the last one takes the subscription with it.
func (l *Live) leave(target string, r *reader) {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := l.feeds[target]
	if f == nil {
		return
	}
	f.mu.Lock()
	delete(f.readers, r)
	empty := len(f.readers) == 0
	f.mu.Unlock()
	l.readers--
	if empty {
		_ = f.sub.Unsubscribe() // a connection that is gone has none
		delete(l.feeds, target)
	}
}

// Close ends all readers.
func (l *Live) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	for _, f := range l.feeds {
		f.mu.Lock()
		for r := range f.readers {
			close(r.over)
		}
		f.mu.Unlock()
	}
}
