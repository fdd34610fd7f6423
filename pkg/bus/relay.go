package bus

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
)

const (
	relayBatch = 100
	// relayPoll finds what another replica's transactions left, or a lost signal.
	relayPoll = time.Second
	sendLimit = 10 * time.Second
	// relayPause lets events gather that come soon after others.
	relayPause = 50 * time.Millisecond
	// forgetEvery has events deleted together.
	forgetEvery = time.Second
	// mostKept bounds the events that are sent and not deleted yet.
	mostKept = 50_000
)

type letter struct {
	seq              int64
	message, subject string
	payload          []byte
}

// relay sends one outbox.
type relay struct {
	bus *Bus
	db  *sqldb.DB
	// last is the row that was sent last, of those that are kept.
	last int64
	// kept are the rows that are sent, in order, and when.
	kept      []receipt
	forgotten time.Time
}

type receipt struct {
	seq int64
	at  time.Time
}

// Relay sends what the outbox holds, in order, each row until the stream has stored it,
// and removes it then, or when it has settled (Options.Settle). It returns nil when ctx
// ends.
func (b *Bus) Relay(ctx context.Context, db *sqldb.DB) error {
	if err := b.EnsureStreams(ctx); err != nil {
		return nil //nolint:nilerr // ctx ended while NATS was away
	}
	r := &relay{bus: b, db: db}
	ticker := time.NewTicker(relayPoll)
	defer ticker.Stop()
	for {
		sent, err := r.turn(ctx)
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

// turn sends a batch and removes what is due.
func (r *relay) turn(ctx context.Context) (sent int, err error) {
	if len(r.kept) < mostKept {
		sent, err = r.send(ctx)
	}
	return sent, errors.Join(err, r.forget(ctx))
}

// send publishes up to a batch without waiting in between, then waits for all
// acknowledgements. A crash after the publish sends the row again under the same
// message id, which the stream drops.
func (r *relay) send(ctx context.Context) (sent int, err error) {
	letters, err := r.unsent(ctx)
	if err != nil || len(letters) == 0 {
		return 0, err
	}
	sending, cancel := context.WithTimeout(ctx, sendLimit)
	defer cancel()
	acks := make([]jetstream.PubAckFuture, 0, len(letters))
	for _, l := range letters {
		msg := &nats.Msg{Subject: l.subject, Data: l.payload}
		ack, err := r.bus.stream.PublishMsgAsync(msg, jetstream.WithMsgID(l.message))
		if err != nil {
			return 0, fmt.Errorf("publish: %w", err)
		}
		acks = append(acks, ack)
	}
	for ; sent < len(acks); sent++ {
		if err = stored(sending, acks[sent]); err != nil {
			break
		}
		r.kept = append(r.kept, receipt{letters[sent].seq, time.Now()})
		r.last = letters[sent].seq
	}
	return sent, err
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

// unsent are the next rows. Those that are kept come before them: a file has one writer,
// so its rows become visible in their order.
func (r *relay) unsent(ctx context.Context) ([]letter, error) {
	after := int64(0)
	if len(r.kept) > 0 {
		after = r.last
	}
	rows, err := r.db.Query(ctx, `SELECT seq, message_id, subject, payload FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?`, after, relayBatch)
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

// forget deletes what is sent and has settled, with one commit for all, which does not
// wait for the disk: others would wait for it. What comes back after a loss of power is
// sent again, under the same message id.
func (r *relay) forget(ctx context.Context) error {
	now := time.Now()
	due := 0
	for due < len(r.kept) && now.Sub(r.kept[due].at) >= r.bus.settle {
		due++
	}
	if due == 0 || now.Sub(r.forgotten) < min(forgetEvery, r.bus.settle) {
		return nil
	}
	err := r.db.TxAhead(ctx, func(tx *sqldb.Tx) error {
		for _, one := range r.kept[:due] {
			if _, err := tx.Exec(ctx, `DELETE FROM outbox WHERE seq = ?`, one.seq); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("clear outbox: %w", err)
	}
	r.kept, r.forgotten = append(r.kept[:0:0], r.kept[due:]...), now
	return nil
}
