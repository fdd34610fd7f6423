// Package ingest brings log lines from the bus into the store: every line that a
// publisher was told is stored comes through here once, in batches.
//
// It answers no questions; it only says how far it has come.
package ingest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/services/telemetry/internal/store"
)

const (
	// Bounds of what is fetched ahead and of what is stored at a time.
	aheadMessages = 1000
	aheadBytes    = 16 << 20
	batchLines    = 4000
	batchBytes    = 8 << 20
	retryWait     = 500 * time.Millisecond
)

// A Store keeps lines. *store.Store is one.
type Store interface {
	// Insert stores lines and the place behind them, all or nothing, and each line id
	// of a target once.
	Insert(ctx context.Context, lines []store.Line, behind store.Place) error
	// FindPlace returns how far a stream has been stored; zero for a new one.
	FindPlace(ctx context.Context, stream string) (uint64, error)
}

// Deps is everything an Ingest needs from outside.
type Deps struct {
	Bus   *bus.Bus
	Store Store
	Log   *slog.Logger
	// Age is how old a line's own time may be to be believed.
	Age time.Duration
}

// Ingest is the consumer. Its place in the stream is in the store, in the same
// transactions as the lines: nothing is acknowledged to the stream, so nothing can
// be acknowledged and lost, or wait for a second delivery after a crash.
type Ingest struct {
	deps  Deps
	place place
}

// New returns an Ingest on deps, which must be complete.
func New(deps Deps) *Ingest { return &Ingest{deps: deps, place: newPlace()} }

// Run stores lines until ctx ends. The bus or the store being away only delays them.
func (i *Ingest) Run(ctx context.Context) error {
	for ctx.Err() == nil {
		if err := i.consume(ctx); err != nil && ctx.Err() == nil {
			i.deps.Log.WarnContext(ctx, "log ingest starts again", "error", err)
			pause(ctx, retryWait)
		}
	}
	return nil
}

func (i *Ingest) consume(ctx context.Context) error {
	if err := i.deps.Bus.EnsureStreams(ctx); err != nil {
		return err
	}
	stream, err := i.stream(ctx)
	if err != nil {
		return err
	}
	name := nameOf(stream)
	stored, err := i.deps.Store.FindPlace(ctx, name)
	if err != nil {
		return err
	}
	i.place.begin(name, stored)
	consumer, err := stream.OrderedConsumer(ctx, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: stored + 1,
	})
	if err != nil {
		return fmt.Errorf("make log consumer: %w", err)
	}
	messages, err := consumer.Messages(jetstream.PullMaxMessagesWithBytesLimit(aheadMessages, aheadBytes))
	if err != nil {
		return fmt.Errorf("read log stream: %w", err)
	}
	return i.follow(ctx, name, messages)
}

func (i *Ingest) stream(ctx context.Context) (jetstream.Stream, error) {
	stream, err := i.deps.Bus.JetStream().Stream(ctx, bus.LogsStream)
	if err != nil {
		return nil, fmt.Errorf("find log stream: %w", err)
	}
	return stream, nil
}

// nameOf tells a stream from one that was made anew and counts from one again.
func nameOf(stream jetstream.Stream) string {
	info := stream.CachedInfo()
	return fmt.Sprintf("%s@%d", info.Config.Name, info.Created.UnixNano())
}

// follow stores messages until they end or ctx does.
func (i *Ingest) follow(ctx context.Context, stream string, messages jetstream.MessagesContext) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(inner, messages.Stop)
	defer stop()
	arrived := make(chan jetstream.Msg)
	ended := make(chan error, 1)
	go func() { ended <- receive(inner, messages, arrived) }()
	err := i.loop(inner, stream, arrived)
	cancel()
	for range arrived { //nolint:revive // what was under way is read again
	}
	return errors.Join(err, <-ended)
}

// receive hands messages over until there are no more.
func receive(ctx context.Context, messages jetstream.MessagesContext, arrived chan<- jetstream.Msg) error {
	defer close(arrived)
	for {
		msg, err := messages.Next()
		if err != nil {
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return nil
			}
			return err
		}
		select {
		case arrived <- msg:
		case <-ctx.Done():
			return nil
		}
	}
}

// loop stores what has arrived, as much as there is at a time: one transaction for a
// lone line, one for thousands in a flood.
func (i *Ingest) loop(ctx context.Context, stream string, arrived <-chan jetstream.Msg) error {
	for {
		first, ok := <-arrived
		if !ok {
			return nil
		}
		b := &batch{age: i.deps.Age}
		b.add(first)
		open := true
		for open && !b.full() {
			select {
			case msg, more := <-arrived:
				if open = more; more {
					b.add(msg)
				}
				continue
			case <-time.After(gather):
			}
			break
		}
		if err := i.keep(ctx, stream, b); err != nil {
			return err
		}
	}
}

// gather is how long a batch waits for the next message: far below what a reader
// notices, long enough for the messages of a flood to meet.
const gather = time.Millisecond

// keep stores a batch, however long the store is away.
func (i *Ingest) keep(ctx context.Context, stream string, b *batch) error {
	for _, err := range b.refused {
		i.deps.Log.WarnContext(ctx, "log batch refused", "error", err)
	}
	for {
		err := i.deps.Store.Insert(ctx, b.lines, store.Place{Stream: stream, Seq: b.last})
		if err == nil {
			i.place.reach(b.last)
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		i.deps.Log.WarnContext(ctx, "log lines wait for the store", "lines", len(b.lines), "error", err)
		if !pause(ctx, retryWait) {
			return ctx.Err()
		}
	}
}

// pause sleeps, and says whether ctx is still alive.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
