package ingest

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
)

// place is how far the stream has been stored.
type place struct {
	mu      *sync.Mutex
	stream  string
	seq     uint64
	changed chan struct{} // closed at the next step
}

func newPlace() place { return place{mu: &sync.Mutex{}, changed: make(chan struct{})} }

// begin sets the place in a stream.
func (p *place) begin(stream string, seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.stream, p.seq = stream, seq
	p.step()
}

// reach moves the place forward.
func (p *place) reach(seq uint64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if seq > p.seq {
		p.seq = seq
		p.step()
	}
}

func (p *place) step() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// covers says whether everything up to seq of the stream is stored; if not, the
// channel says when to ask again.
func (p *place) covers(stream string, seq uint64) (bool, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stream == stream && p.seq >= seq, p.changed
}

// CatchUp waits until every line of a target that was on the stream when it was
// called is in the store.
func (i *Ingest) CatchUp(ctx context.Context, target string) error {
	stream, err := i.stream(ctx)
	if err != nil {
		return err
	}
	last, err := stream.GetLastMsgForSubject(ctx, bus.LogSubject(target))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("find last log line: %w", err)
	}
	for {
		done, changed := i.place.covers(nameOf(stream), last.Sequence)
		if done {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
