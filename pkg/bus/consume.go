package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

// patience is how long a consumer bears a handler that is slow or fails.
type patience struct {
	// tries before a message goes to the dead letters.
	tries uint64
	// handling is how long the server waits for a word about a message. A handler may
	// take longer: the word is sent meanwhile.
	handling time.Duration
	// The wait before the next try doubles from first to last.
	first, last time.Duration
}

var ordinary = patience{tries: 20, handling: time.Minute, first: 250 * time.Millisecond, last: time.Minute}

const (
	// oneAtATime: what is fetched ahead of a slow handler would come a second time.
	oneAtATime = 1
	maxPending = 64
	// inboxAge is longer than a message can come again: the stream's own age.
	inboxAge = eventsAge + 24*time.Hour
)

var errFatal = errors.New("the process ended each time while it handled this")

type messageKey struct{}

// MessageID is the id of the message being handled; it is the same at each delivery.
func MessageID(ctx context.Context) string {
	text, _ := ctx.Value(messageKey{}).(string)
	return text
}

// Once says, in the handler's own transaction, whether this message is new to the
// consumer. A handler that does nothing when it is not has handled it exactly once.
func Once(ctx context.Context, tx *sqldb.Tx, consumer string) (bool, error) {
	now := time.Now()
	res, err := tx.Exec(ctx, `INSERT INTO inbox (consumer, message_id, handled_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING`,
		consumer, MessageID(ctx), now.UnixMilli())
	if err != nil {
		return false, fmt.Errorf("write to inbox: %w", err)
	}
	if _, err := tx.Exec(ctx, `DELETE FROM inbox WHERE handled_at < ?`, now.Add(-inboxAge).UnixMilli()); err != nil {
		return false, fmt.Errorf("prune inbox: %w", err)
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

// Consume gives each message of the listed types to handle, one after another, at
// least once, from where the durable consumer left off. A handler's error brings
// the message back later; after 20 tries it goes to the dead letters. It returns
// nil when ctx ends.
func (b *Bus) Consume(ctx context.Context, durable string, handle func(context.Context, proto.Message) error, events ...proto.Message) error {
	types := map[string]proto.Message{}
	subjects := make([]string, 0, len(events))
	for _, event := range events {
		subject, err := Subject(event)
		if err != nil {
			return err
		}
		types[subject] = event
		subjects = append(subjects, subject)
	}
	c := &consumer{bus: b, name: durable, types: types, handle: handle}
	for ctx.Err() == nil {
		if err := c.run(ctx, subjects); err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "consumer starts again", "consumer", durable, "error", err)
			wait(ctx, time.Second)
		}
	}
	return nil
}

type consumer struct {
	bus    *Bus
	name   string
	types  map[string]proto.Message
	handle func(context.Context, proto.Message) error
}

func (c *consumer) run(ctx context.Context, subjects []string) error {
	if err := c.bus.EnsureStreams(ctx); err != nil {
		return err
	}
	remote, err := c.bus.stream.CreateOrUpdateConsumer(ctx, eventsStream, jetstream.ConsumerConfig{
		Durable: c.name, FilterSubjects: subjects, AckPolicy: jetstream.AckExplicitPolicy,
		AckWait: c.bus.patience.handling, MaxDeliver: -1, MaxAckPending: maxPending,
	})
	if err != nil {
		return fmt.Errorf("make consumer %s: %w", c.name, err)
	}
	messages, err := remote.Messages(jetstream.PullMaxMessages(oneAtATime))
	if err != nil {
		return err
	}
	defer messages.Stop()
	stop := context.AfterFunc(ctx, messages.Stop)
	defer stop()
	for {
		msg, err := messages.Next()
		if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
			return nil
		}
		if err != nil {
			return err
		}
		c.deliver(ctx, msg)
	}
}

func (c *consumer) deliver(ctx context.Context, msg jetstream.Msg) {
	tries := deliveries(msg)
	// More tries than there can be failures: the handler takes its process down.
	err := errFatal
	if tries <= c.bus.patience.tries {
		quiet := c.keep(ctx, msg)
		err = c.try(ctx, msg)
		quiet()
	}
	if err == nil {
		_ = msg.Ack()
		return
	}
	log := c.bus.log.With("consumer", c.name, "subject", msg.Subject(), "tries", tries, "error", err)
	if tries < c.bus.patience.tries || ctx.Err() != nil {
		log.WarnContext(ctx, "event will come again")
		_ = msg.NakWithDelay(c.bus.patience.backoff(tries))
		return
	}
	if err := c.giveUp(ctx, msg); err != nil {
		log.WarnContext(ctx, "event cannot be given up yet", "reason", err)
		_ = msg.NakWithDelay(c.bus.patience.last)
		return
	}
	log.ErrorContext(ctx, "event given up; it is among the dead letters")
}

// giveUp keeps the event as a dead letter; each consumer that does leaves its own.
func (c *consumer) giveUp(ctx context.Context, msg jetstream.Msg) error {
	dead := &nats.Msg{Subject: DeadSubject(c.name, msg.Subject()), Data: msg.Data()}
	if _, err := c.bus.stream.PublishMsg(ctx, dead, jetstream.WithMsgID(c.name+":"+messageID(msg))); err != nil {
		return err
	}
	return msg.Term()
}

func deliveries(msg jetstream.Msg) uint64 {
	meta, err := msg.Metadata()
	if err != nil {
		return 1
	}
	return meta.NumDelivered
}

// DeadSubject is where a consumer's dead letters lie.
func DeadSubject(consumer, subject string) string { return "dead." + consumer + "." + subject }

// keep tells the server that a message is still being handled, until quiet is called.
func (c *consumer) keep(ctx context.Context, msg jetstream.Msg) (quiet func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for wait(ctx, c.bus.patience.handling/3) {
			_ = msg.InProgress()
		}
	}()
	return func() { cancel(); <-done }
}

func (c *consumer) try(ctx context.Context, msg jetstream.Msg) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("handler panicked: %v", p)
		}
	}()
	kind, ok := c.types[msg.Subject()]
	if !ok {
		return nil
	}
	event := kind.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(msg.Data(), event); err != nil {
		return fmt.Errorf("unmarshal event: %w", err)
	}
	return c.handle(context.WithValue(ctx, messageKey{}, messageID(msg)), event)
}

// messageID is what the publisher gave, or the place in the stream.
func messageID(msg jetstream.Msg) string {
	if given := msg.Headers().Get(jetstream.MsgIDHeader); given != "" {
		return given
	}
	meta, err := msg.Metadata()
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%s:%d", meta.Stream, meta.Sequence.Stream)
}

func (p patience) backoff(tries uint64) time.Duration {
	return min(p.last, p.first<<min(max(tries, 1)-1, 10))
}
