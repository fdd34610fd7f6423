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

const (
	maxDeliver = 20
	maxPending = 64
	ackWait    = 60 * time.Second
	firstNak   = 250 * time.Millisecond
	lastNak    = time.Minute
	// inboxAge is longer than a message can come again: the stream's own age.
	inboxAge = eventsAge + 24*time.Hour
)

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
		AckWait: ackWait, MaxDeliver: maxDeliver + 1, MaxAckPending: maxPending,
	})
	if err != nil {
		return fmt.Errorf("make consumer %s: %w", c.name, err)
	}
	messages, err := remote.Messages(jetstream.PullMaxMessages(maxPending))
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
	err := c.try(ctx, msg)
	if err == nil {
		_ = msg.Ack()
		return
	}
	tries := uint64(1)
	if meta, metaErr := msg.Metadata(); metaErr == nil {
		tries = meta.NumDelivered
	}
	log := c.bus.log.With("consumer", c.name, "subject", msg.Subject(), "tries", tries, "error", err)
	if tries < maxDeliver || ctx.Err() != nil {
		log.WarnContext(ctx, "event will come again")
		_ = msg.NakWithDelay(backoff(tries))
		return
	}
	log.ErrorContext(ctx, "event given up; it is among the dead letters")
	dead := &nats.Msg{Subject: "dead." + c.name + "." + msg.Subject(), Data: msg.Data(), Header: msg.Headers()}
	if _, err := c.bus.stream.PublishMsg(ctx, dead); err != nil {
		_ = msg.NakWithDelay(lastNak)
		return
	}
	_ = msg.Term()
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

func backoff(tries uint64) time.Duration {
	return min(lastNak, firstNak<<min(tries-1, 10))
}
