package sessions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
)

const (
	bucket = "sessions"
	// keepLimit bounds one look at the bucket, or one write to it.
	keepLimit = 2 * time.Second
	// keepBytes bounds the whole bucket.
	keepBytes = 256 << 20
	// endedSubject tells all replicas the key of a session that is over.
	endedSubject = "gateway.sessions.ended"
	// changeTries bounds changes of a record that others change, too.
	changeTries = 5
)

// Records keep sessions where every replica finds them, also after a restart: enough
// to go on with the conversation with the agent, or to begin it anew in the client's
// own words; and their events.
type Records struct {
	js      jetstream.JetStream
	idle    time.Duration
	journal *journal

	mu     sync.Mutex
	bucket jetstream.KeyValue
}

// NewRecords returns records in JetStream that count as long as an idle session. They stay
// for longer, so that its agent can be told of its end.
func NewRecords(js jetstream.JetStream, idle time.Duration) *Records {
	return &Records{js: js, idle: idle, journal: newJournal(js)}
}

// record is a session at rest.
type record struct {
	Target     string              `json:"target"`
	Caller     principal.Principal `json:"caller"`
	Initialize json.RawMessage     `json:"initialize"`
	Protocol   string              `json:"protocol"`
	Lists      lists               `json:"lists"`
	Subscribed bool                `json:"subscribed,omitempty"`
	Wishes     wishes              `json:"wishes,omitzero"`
	// URL and Agent are the agent's own session, which all replicas use.
	URL   string `json:"url,omitempty"`
	Agent string `json:"agent,omitempty"`
	// Former are the sessions of the agent's that it has left, at servers that may go on.
	Former []Place `json:"former,omitempty"`
	// Rollout is one whose canary the client gets for what its first request said.
	Rollout string `json:"rollout,omitempty"`
}

// open finds the bucket, or makes it.
func (r *Records) open(ctx context.Context) (jetstream.KeyValue, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.bucket != nil {
		return r.bucket, nil
	}
	kv, err := r.js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: bucket, Description: "MCP sessions", TTL: 2 * lasts(r.idle), MaxBytes: keepBytes, Storage: jetstream.FileStorage,
	})
	if err == nil {
		r.bucket = kv
	}
	return kv, err
}

// keyOf is where a session's record is; the id itself is not written down.
func keyOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

func (r *Records) put(ctx context.Context, key string, rec record) (revision uint64, err error) {
	kv, err := r.open(ctx)
	if err != nil {
		return 0, err
	}
	return kv.Put(ctx, key, jsonrpc.Encode(rec))
}

// change rewrites a record unless somebody else does; it fails with
// jetstream.ErrKeyNotFound when there is none. A record that edit leaves alone is
// written all the same, which renews it.
func (r *Records) change(ctx context.Context, key string, edit func(*record)) (rec record, revision uint64, err error) {
	kv, err := r.open(ctx)
	if err != nil {
		return rec, 0, err
	}
	for range changeTries {
		entry, err := kv.Get(ctx, key)
		if err != nil {
			return rec, 0, err
		}
		rec = record{}
		if err := json.Unmarshal(entry.Value(), &rec); err != nil {
			return rec, 0, err
		}
		edit(&rec)
		if revision, err = kv.Update(ctx, key, jsonrpc.Encode(rec), entry.Revision()); err == nil {
			return rec, revision, nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) {
			return rec, 0, err
		}
	}
	return rec, 0, errors.New("the record changes all the time")
}

// get finds a record and its revision; it fails with fault.NotFound when there is
// none, and with fault.Unavailable when that cannot be told.
func (r *Records) get(ctx context.Context, key string) (rec record, revision uint64, err error) {
	kv, err := r.open(ctx)
	if err != nil {
		return rec, 0, fault.Unavailable.Wrap(err, "sessions cannot be looked up at the moment; try again")
	}
	entry, err := kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return rec, 0, errNoSession
	}
	if err != nil {
		return rec, 0, fault.Unavailable.Wrap(err, "sessions cannot be looked up at the moment; try again")
	}
	if time.Since(entry.Created()) > lasts(r.idle) {
		return rec, 0, errNoSession
	}
	return rec, entry.Revision(), json.Unmarshal(entry.Value(), &rec)
}

var errNoSession = fault.NotFound.Errorf("there is no such session; send initialize to begin one")

// delete deletes a record and tells the replicas, which answer to reply if that is given.
func (r *Records) delete(ctx context.Context, key, reply string) error {
	kv, err := r.open(ctx)
	if err != nil {
		return err
	}
	if err := kv.Delete(ctx, key); err != nil {
		return err
	}
	return r.js.Conn().PublishMsg(&nats.Msg{Subject: endedSubject, Reply: reply, Data: []byte(key)})
}
