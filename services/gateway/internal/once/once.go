// Package once makes a call with an idempotency key once, however often it comes and at
// whichever replica: the first is made, the others get its answer. It knows no tools.
//
// What is known of a call is in JetStream for a window; calls without a key never come
// here.
package once

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
)

const (
	bucket = "answers"
	// Window is how long an answer is kept.
	Window = 10 * time.Minute
	// maxAnswer bounds an answer that is kept, and maxBytes all of them.
	maxAnswer = 256 << 10
	maxBytes  = 64 << 20
	// maxKey bounds a key.
	maxKey = 200
	// step bounds one look at the bucket, or one write to it.
	step = 2 * time.Second
	// firstLook and lastLook are between two looks for the answer of another's call.
	firstLook = 20 * time.Millisecond
	lastLook  = time.Second
)

// Call is what makes two calls the same.
type Call struct {
	Target, User, Key string
	Tool              string
	Arguments         json.RawMessage
}

// Answers keeps what is known of calls.
type Answers struct {
	js jetstream.JetStream
	// Beat is how often the replica that makes a call says that it still does; one that
	// has not for three times as long is gone.
	Beat time.Duration

	mu sync.Mutex
	kv jetstream.KeyValue
}

// New returns Answers in JetStream.
func New(js jetstream.JetStream) *Answers { return &Answers{js: js, Beat: 10 * time.Second} }

// note is what is known of a call.
type note struct {
	Digest [sha256.Size]byte `json:"d"`
	// Reply is the answer; empty while there is none.
	Reply json.RawMessage `json:"r,omitempty"`
	// Large says that the answer is not kept.
	Large bool `json:"l,omitempty"`
}

func (n note) over() bool { return n.Large || len(n.Reply) > 0 }

// ErrUnknown says that a call was begun, and that nobody knows what became of it.
var ErrUnknown = fault.Unavailable.Errorf("the call with this idempotency key had been started, and what became of it is not known")

// Claim is the right to make a call.
type Claim struct {
	answers *Answers
	key     string
	note    note
	over    chan struct{}
	beating sync.WaitGroup
}

// Begin gives the right to make a call or, when somebody has it, waits for the answer.
// It fails with fault.Conflict when the key was used for another call, and with
// fault.Unavailable when calls cannot be told apart at the moment: none is made then.
func (a *Answers) Begin(ctx context.Context, call Call) (claim *Claim, reply json.RawMessage, err error) {
	if len(call.Key) > maxKey {
		return nil, nil, fault.Invalid.Errorf("an idempotency key may have at most %d bytes", maxKey)
	}
	key, n := nameOf(call), note{Digest: digestOf(call)}
	kv, err := a.open(ctx)
	if err != nil {
		return nil, nil, away(err)
	}
	_, err = within(ctx, func(ctx context.Context) (uint64, error) { return kv.Create(ctx, key, jsonrpc.Encode(n)) })
	switch {
	case err == nil:
		c := &Claim{answers: a, key: key, note: n, over: make(chan struct{})}
		c.beating.Go(func() { c.beat(kv) })
		return c, nil, nil
	case !errors.Is(err, jetstream.ErrKeyExists):
		return nil, nil, away(err)
	}
	reply, err = a.await(ctx, kv, key, n.Digest)
	return nil, reply, err
}

// await waits for the answer of another's call.
func (a *Answers) await(ctx context.Context, kv jetstream.KeyValue, key string, digest [sha256.Size]byte) (json.RawMessage, error) {
	seen, since := uint64(0), time.Now()
	for pause := firstLook; ; pause = min(2*pause, lastLook) {
		entry, err := within(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key) })
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil, fault.Unavailable.Errorf("the same call was not started; try again")
		}
		if err != nil {
			return nil, away(err)
		}
		var n note
		_ = json.Unmarshal(entry.Value(), &n) // our own
		switch {
		case n.Digest != digest:
			return nil, fault.Conflict.Errorf("this idempotency key was used for another call; take a new one")
		case n.Large:
			return nil, fault.Conflict.Errorf("the call with this idempotency key has been made; its answer is too large to be kept")
		case n.over():
			return n.Reply, nil
		case entry.Revision() != seen:
			seen, since = entry.Revision(), time.Now()
		case time.Since(since) > 3*a.Beat:
			return nil, ErrUnknown
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// Finish keeps the answer for the others.
func (c *Claim) Finish(reply json.RawMessage) {
	c.note.Reply = reply
	if len(reply) > maxAnswer {
		c.note.Reply, c.note.Large = nil, true
	}
	c.end(func(ctx context.Context, kv jetstream.KeyValue) error {
		_, err := kv.Put(ctx, c.key, jsonrpc.Encode(c.note))
		return err
	})
}

// Release gives the right back: the call was not made, or may be made again.
func (c *Claim) Release() {
	c.end(func(ctx context.Context, kv jetstream.KeyValue) error { return kv.Purge(ctx, c.key) })
}

func (c *Claim) end(do func(context.Context, jetstream.KeyValue) error) {
	close(c.over)
	c.beating.Wait()
	ctx, cancel := context.WithTimeout(context.Background(), step)
	defer cancel()
	if kv, err := c.answers.open(ctx); err == nil {
		_ = do(ctx, kv) // without it the others hear that nothing is known
	}
}

// beat shows that the call is still being made.
func (c *Claim) beat(kv jetstream.KeyValue) {
	ticker := time.NewTicker(c.answers.Beat)
	defer ticker.Stop()
	for {
		select {
		case <-c.over:
			return
		case <-ticker.C:
			_, _ = within(context.Background(), func(ctx context.Context) (uint64, error) {
				return kv.Put(ctx, c.key, jsonrpc.Encode(c.note))
			})
		}
	}
}

// open finds the bucket, or makes it.
func (a *Answers) open(ctx context.Context) (jetstream.KeyValue, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.kv != nil {
		return a.kv, nil
	}
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	kv, err := a.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucket, Description: "answers of calls with idempotency keys", TTL: Window, MaxBytes: maxBytes, Storage: jetstream.FileStorage,
	})
	if err == nil {
		a.kv = kv
	}
	return kv, err
}

func within[T any](ctx context.Context, do func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, step)
	defer cancel()
	return do(ctx)
}

func away(err error) error {
	return fault.Unavailable.Wrap(err, "that this call is made once cannot be promised at the moment; it was not started")
}

// nameOf is where a call is kept: the key itself is not written down.
func nameOf(call Call) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{call.Target, call.User, call.Key}, "\x00")))
	return hex.EncodeToString(sum[:])
}

func digestOf(call Call) [sha256.Size]byte {
	return sha256.Sum256([]byte(call.Tool + "\x00" + string(call.Arguments)))
}
