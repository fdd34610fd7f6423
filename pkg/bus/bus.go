// Package bus is how facts travel between rooms: events from an outbox through
// NATS JetStream to durable consumers, and log lines.
//
// SQL is the truth, JetStream is news: an event is written in the transaction that
// makes it true, and sent until it is stored. It carries no requests.
package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const (
	eventsStream = "EVENTS"
	logsStream   = "LOGS"
	deadStream   = "DEAD"

	eventsAge   = 7 * 24 * time.Hour
	logsAge     = 24 * time.Hour
	deadAge     = 30 * 24 * time.Hour
	streamBytes = 1 << 30
	// dedupWindow is how long the server remembers message ids. A relay that was down
	// for longer sends twice, which consumers bear.
	dedupWindow = 10 * time.Minute
)

// Options say how to reach NATS.
type Options struct {
	// URL of the server; ignored by an in-process connection given in NATS.
	URL string
	// Name of this client, for the server's monitoring.
	Name string
	// Log gets what happens to the connection.
	Log *slog.Logger
	// NATS adds options, for example nats.InProcessServer or credentials.
	NATS []nats.Option
	// Replicas of each stream: 1, or 3 in a cluster. Zero means 1.
	Replicas int
	// Settle is how long the server may have what it has acknowledged in memory only. An
	// event stays in its outbox for so long, and is sent again when everything ends before.
	// It is for one process on one file of SQLite. Zero: what is acknowledged is on disk.
	Settle time.Duration
}

// Bus is a connection. It is usable while NATS is away: calls wait for their context.
type Bus struct {
	conn     *nats.Conn
	stream   jetstream.JetStream
	log      *slog.Logger
	replicas int
	settle   time.Duration
	patience patience

	mu    sync.Mutex
	ready bool // the streams exist
}

// Connect returns a Bus that connects in the background and reconnects for ever.
func Connect(opts Options) (*Bus, error) {
	log := opts.Log
	all := append([]nats.Option{
		nats.Name(opts.Name), nats.RetryOnFailedConnect(true), nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil { // nil: we closed it
				log.Warn("NATS is away", "error", err)
			}
		}),
		nats.ReconnectHandler(func(*nats.Conn) { log.Info("NATS is back") }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { log.Warn("NATS", "error", err) }),
	}, opts.NATS...)
	conn, err := nats.Connect(opts.URL, all...)
	if err != nil {
		return nil, fmt.Errorf("connect to NATS at %s: %w", opts.URL, err)
	}
	stream, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("use JetStream: %w", err)
	}
	return &Bus{conn: conn, stream: stream, log: log, replicas: max(1, opts.Replicas), settle: opts.Settle, patience: ordinary}, nil
}

// Conn is the plain connection.
func (b *Bus) Conn() *nats.Conn { return b.conn }

// JetStream is the stream interface; EnsureStreams makes the streams.
func (b *Bus) JetStream() jetstream.JetStream { return b.stream }

// Close sends what is buffered and ends the connection.
func (b *Bus) Close() { _ = b.conn.Drain() }

// Ready fails while the server is not connected.
func (b *Bus) Ready() error {
	if b.conn.IsConnected() {
		return nil
	}
	return fmt.Errorf("NATS is not connected")
}

// EnsureStreams makes the streams of events, logs and dead letters, waiting for the
// server as long as ctx allows.
func (b *Bus) EnsureStreams(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ready {
		return nil
	}
	for _, config := range b.streams() {
		if err := b.ensure(ctx, config); err != nil {
			return err
		}
	}
	b.ready = true
	return nil
}

func (b *Bus) ensure(ctx context.Context, config jetstream.StreamConfig) error {
	for {
		_, err := b.stream.CreateOrUpdateStream(ctx, config)
		if err == nil {
			return nil
		}
		if !wait(ctx, 250*time.Millisecond) {
			return fmt.Errorf("make stream %s: %w", config.Name, err)
		}
	}
}

func (b *Bus) streams() []jetstream.StreamConfig {
	stream := func(name string, age time.Duration, subjects ...string) jetstream.StreamConfig {
		return jetstream.StreamConfig{
			Name: name, Subjects: subjects, MaxAge: age, MaxBytes: streamBytes, Replicas: b.replicas,
			Storage: jetstream.FileStorage, Discard: jetstream.DiscardOld, Duplicates: min(dedupWindow, age),
		}
	}
	return []jetstream.StreamConfig{
		// Not "gateway.>": under it the gateway's replicas talk to each other, of which nothing
		// is to be kept, and the gateway publishes no events.
		stream(eventsStream, eventsAge, "registry.>", "scheduler.>", "builder.>", "secrets.>", "telemetry.>"),
		stream(logsStream, logsAge, LogSubject(">")),
		stream(deadStream, deadAge, "dead.>"),
	}
}

// wait sleeps, and says whether ctx is still alive.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
