package engine

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

// Bounds of a build's output. What is beyond them is counted and dropped.
const (
	maxLine  = 4 << 10
	maxLines = 20_000
	tailSize = 30
	maxAll   = 256 << 10
)

// tail parts output into lines, gives them on and keeps the last ones.
type tail struct {
	sink Sink

	mu    sync.Mutex
	part  []byte
	cut   bool
	count int
	last  []string
	all   int
	text  []string // the beginning, for programs whose output is an answer
}

// Write takes output; it never fails and never blocks a program for good.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for rest := p; len(rest) > 0; {
		line, after, whole := bytes.Cut(rest, []byte{'\n'})
		t.add(line)
		if whole {
			t.end()
		}
		rest = after
	}
	return len(p), nil
}

func (t *tail) add(piece []byte) {
	if room := maxLine - len(t.part); len(piece) > room {
		piece, t.cut = piece[:room], true
	}
	t.part = append(t.part, piece...)
}

func (t *tail) end() {
	line := clean(string(t.part))
	if t.cut {
		line += " …"
	}
	t.part, t.cut = t.part[:0], false
	if strings.TrimSpace(line) == "" {
		return
	}
	if t.all += len(line); t.all <= maxAll {
		t.text = append(t.text, line)
	}
	if t.last = append(t.last, line); len(t.last) > tailSize {
		t.last = t.last[1:]
	}
	switch t.count++; {
	case t.sink == nil:
	case t.count < maxLines:
		t.sink(line)
	case t.count == maxLines:
		t.sink("… more lines follow, which are not kept")
	}
}

func (t *tail) flush() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.part) > 0 {
		t.end()
	}
}

// detail is the last lines.
func (t *tail) detail() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.last, "\n")
}

// whole is all of the output, up to its bound.
func (t *tail) whole() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.text, "\n")
}

var (
	escapes     = regexp.MustCompile(`\x1b(?:\[[0-9;?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-_])`)
	credentials = regexp.MustCompile(`(://)[^/\s@"']+@`)
)

// clean makes a line fit to be shown: no terminal commands, no passwords of an index.
func clean(line string) string {
	if at := strings.LastIndexByte(strings.TrimRight(line, "\r"), '\r'); at >= 0 {
		line = line[at+1:] // a progress bar drew over itself
	}
	line = credentials.ReplaceAllString(escapes.ReplaceAllString(line, ""), "$1…@")
	return strings.Map(func(r rune) rune {
		if r != '\t' && unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(line, "\ufffd"))
}
