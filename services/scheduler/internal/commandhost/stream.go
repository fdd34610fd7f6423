package commandhost

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// keptBytes bounds what is kept of a stream for a reader who is slow or comes back.
	keptBytes = 8 << 20
	// aliveEvery tells a reader that the stream is open still.
	aliveEvery = 15 * time.Second
)

// stream is what is said to one reader, kept so that one whose connection broke can go on
// where it was (MCP, "Transports", resumability).
type stream struct {
	id int

	mu       sync.Mutex
	lines    [][]byte
	first    int // the number of lines[0]
	bytes    int
	finished bool
	changed  chan struct{}
}

// newStream begins with number 1: event 0 is the empty one that names the stream.
func newStream(id int) *stream { return &stream{id: id, first: 1, changed: make(chan struct{})} }

// add says a line; with last nothing comes after it. The oldest go when nobody reads.
func (s *stream) add(line []byte, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.finished {
		return
	}
	if line != nil {
		s.lines, s.bytes = append(s.lines, line), s.bytes+len(line)
	}
	for s.bytes > keptBytes && len(s.lines) > 1 {
		s.bytes -= len(s.lines[0])
		s.lines, s.first = s.lines[1:], s.first+1
	}
	s.finished = s.finished || last
	close(s.changed)
	s.changed = make(chan struct{})
}

// after returns what comes after a number, and a channel that is closed at the next change.
func (s *stream) after(number int) (lines [][]byte, from int, finished bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	from = max(number+1, s.first)
	if skip := from - s.first; skip < len(s.lines) {
		lines = s.lines[skip:]
	}
	return lines, from, s.finished, s.changed
}

func (s *stream) size() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bytes
}

// parseEventID reads "stream-number".
func parseEventID(text string) (id, number int, ok bool) {
	before, after, found := strings.Cut(text, "-")
	id, err := strconv.Atoi(before)
	number, err2 := strconv.Atoi(after)
	return id, number, found && err == nil && err2 == nil && number >= 0
}

// follow writes a stream as events until it is finished or the reader or the host goes.
func (s *stream) follow(ctx context.Context, w http.ResponseWriter, number int, begin bool) {
	control := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-cache")
	w.WriteHeader(http.StatusOK)
	if begin {
		_, _ = fmt.Fprintf(w, "id: %d-0\ndata:\n\n", s.id) //nolint:gosec // a number; events are no page
	}
	alive := time.NewTicker(aliveEvery)
	defer alive.Stop()
	for {
		lines, from, finished, changed := s.after(number)
		for i, line := range lines {
			number = from + i
			if _, err := fmt.Fprintf(w, "id: %d-%d\ndata: %s\n\n", s.id, number, line); err != nil { //nolint:gosec // events are no page
				return
			}
		}
		if control.Flush() != nil || finished {
			return
		}
		select {
		case <-changed:
		case <-alive.C:
			_, _ = fmt.Fprint(w, ": alive\n\n")
		case <-ctx.Done():
			return
		}
	}
}
