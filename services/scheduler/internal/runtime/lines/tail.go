package lines

import (
	"strings"
	"sync"
)

const (
	tailLines = 40
	tailLine  = 1000
)

// Tail keeps the last lines of a process, for whoever asks why it ended. Its zero value is
// ready, also for several goroutines.
type Tail struct {
	mu    sync.Mutex
	lines []string
}

// Add takes a line; a long one is cut.
func (t *Tail) Add(line string) {
	if len(line) > tailLine {
		line = strings.ToValidUTF8(line[:tailLine], "") + "…"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.lines = append(t.lines, line); len(t.lines) > tailLines {
		t.lines = t.lines[1:]
	}
}

// Text is what was kept.
func (t *Tail) Text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines, "\n")
}
