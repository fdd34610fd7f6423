package allinone

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress tells people how far the start is and where the time goes.
type progress struct {
	mu    sync.Mutex
	out   io.Writer
	start time.Time
}

func newProgress(out io.Writer) *progress {
	if out == nil {
		out = io.Discard
	}
	return &progress{out: out, start: time.Now()}
}

func (p *progress) step(name string, do func() error) error {
	start := time.Now()
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	p.done(name, time.Since(start))
	return nil
}

func (p *progress) done(name string, took time.Duration) {
	p.line(fmt.Sprintf("  %-14s ready after %6d ms", name, took.Milliseconds()))
}

func (p *progress) line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, _ = fmt.Fprintln(p.out, text)
}

func (p *progress) sinceStart() time.Duration { return time.Since(p.start) }
