package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
)

const (
	relayBatch = 100
	// relayPoll finds what another replica's transactions left, or a lost signal.
	relayPoll = time.Second
	sendLimit = 10 * time.Second
	// relayPause lets events gather that come soon after others: they are deleted together.
	relayPause = 50 * time.Millisecond
)

// Subject is where an event travels, by its message option.
func Subject(event proto.Message) (string, error) {
	options := event.ProtoReflect().Descriptor().Options()
	subject, _ := proto.GetExtension(options, busv1.E_Subject).(string)
	if subject == "" {
		return "", fmt.Errorf("%s has no subject option, so it is no event", event.ProtoReflect().Descriptor().FullName())
	}
	return subject, nil
}

// Put promises event in the caller's transaction: it is sent after the commit, or never.
func Put(ctx context.Context, tx *sqldb.Tx, event proto.Message) error {
	subject, err := Subject(event)
	if err != nil {
		return err
	}
	payload, err := proto.Marshal(event)
	if err != nil {
		return fmt.Errorf("marshal event: %w", err)
	}
	_, err = tx.Exec(ctx, `INSERT INTO outbox (message_id, subject, payload) VALUES (?, ?, ?)`, id.Event.New(), subject, payload)
	if err != nil {
		return fmt.Errorf("write to outbox: %w", err)
	}
	tx.SignalCommit()
	return nil
}

type letter struct {
	seq              int64
	message, subject string
	payload          []byte
}

// Relay sends what the outbox holds, in order, each row until the stream has stored
// it, and removes it then. It returns nil when ctx ends.
func (b *Bus) Relay(ctx context.Context, db *sqldb.DB) error {
	if err := b.EnsureStreams(ctx); err != nil {
		return nil //nolint:nilerr // ctx ended while NATS was away
	}
	ticker := time.NewTicker(relayPoll)
	defer ticker.Stop()
	for {
		sent, err := b.relayBatch(ctx, db)
		if err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "events wait in the outbox", "error", err)
		}
		if sent == relayBatch {
			continue
		}
		if sent > 0 && !wait(ctx, relayPause) {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-db.Commits():
		case <-ticker.C:
		}
	}
}

// relayBatch publishes up to a batch without waiting in between, then waits for all
// acknowledgements. A crash after the publish sends the row again under the same
// message id, which the stream drops.
func (b *Bus) relayBatch(ctx context.Context, db *sqldb.DB) (int, error) {
	letters, err := unsent(ctx, db)
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	sending, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, 0, len(letters))
	for _, l := range letters {
		msg := &nats.Msg{Subject: l.subject, Data: l.payload}
		ack, err := b.stream.PublishMsgAsync(msg, jetstream.WithMsgID(l.message))
		if err != nil {
			return 0, fmt.Errorf("publish: %w", err)
		}
		acks = append(acks, ack)
	}
	sent := 0
	for _, ack := range acks {
		if err = stored(sending, ack); err != nil {
			break
		}
		sent++
	}
	return sent, errors.Join(err, forget(ctx, db, letters[:sent]))
}

// forget deletes what is sent, with one commit for all, which does not wait for the disk:
// others would wait for it. What comes back after a loss of power is sent again, under the
// same message id.
func forget(ctx context.Context, db *sqldb.DB, sent []letter) error {
	if len(sent) == 0 {
		return nil
	}
	err := db.TxAhead(ctx, func(tx *sqldb.Tx) error {
		for _, l := range sent {
			if _, err := tx.Exec(ctx, `DELETE FROM outbox WHERE seq = ?`, l.seq); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("clear outbox: %w", err)
	}
	return nil
}

func stored(ctx context.Context, ack jetstream.PubAckFuture) error {
	select {
	case <-ack.Ok():
		return nil
	case err := <-ack.Err():
		return fmt.Errorf("store event: %w", err)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func unsent(ctx context.Context, db *sqldb.DB) ([]letter, error) {
	rows, err := db.Query(ctx, `SELECT seq, message_id, subject, payload FROM outbox ORDER BY seq LIMIT ?`, relayBatch)
	if err != nil {
		return nil, fmt.Errorf("read outbox: %w", err)
	}
	defer rows.Close() //nolint:errcheck // rows.Err says what went wrong
	var letters []letter
	for rows.Next() {
		var l letter
		if err := rows.Scan(&l.seq, &l.message, &l.subject, &l.payload); err != nil {
			return nil, fmt.Errorf("read outbox: %w", err)
		}
		letters = append(letters, l)
	}
	return letters, rows.Err()
}
