package sessions

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
)

const (
	bucket = "sessions"
	// keepLimit bounds one look at the bucket, or one write to it.
	keepLimit = 2 * time.Second
	// keepBytes bounds the whole bucket.
	keepBytes = 256 << 20
	// maxHello bounds the client's initialize as far as it is kept.
	maxHello = 16 << 10
	// endedSubject tells all replicas the key of a session that is over.
	endedSubject = "gateway.sessions.ended"
	// keepShare is the part of a session's idle time after which its record is renewed.
	keepShare = 3
)

// Records keep sessions where every replica finds them, also after a restart: enough
// to begin the conversation with the agent anew, in the client's own words.
type Records struct {
	stream jetstream.JetStream
	ttl    time.Duration
}

// NewRecords returns records in JetStream that last as long as an idle session.
func NewRecords(stream jetstream.JetStream, idle time.Duration) *Records {
	return &Records{stream: stream, ttl: idle}
}

// record is a session at rest.
type record struct {
	Target     string              `json:"target"`
	Caller     principal.Principal `json:"caller"`
	Initialize json.RawMessage     `json:"initialize"`
	Protocol   string              `json:"protocol"`
	agreed
}

// open finds the bucket, or makes it.
func (r *Records) open(ctx context.Context) (jetstream.KeyValue, error) {
	kv, err := r.stream.KeyValue(ctx, bucket)
	if errors.Is(err, jetstream.ErrBucketNotFound) {
		return r.stream.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
			Bucket: bucket, Description: "MCP sessions", TTL: r.ttl, MaxBytes: keepBytes, Storage: jetstream.FileStorage,
		})
	}
	return kv, err
}

// keyOf is where a session's record is; the id itself is not written down.
func keyOf(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:])
}

func (r *Records) put(ctx context.Context, id string, rec record) (version, error) {
	kv, err := r.open(ctx)
	if err != nil {
		return version{}, err
	}
	revision, err := kv.Put(ctx, keyOf(id), jsonrpc.Encode(rec))
	return version{revision, time.Now()}, err
}

// get finds a record; it fails with fault.NotFound when there is none, and with
// fault.Unavailable when that cannot be told.
func (r *Records) get(ctx context.Context, id string) (rec record, v version, err error) {
	kv, err := r.open(ctx)
	if err != nil {
		return rec, v, fault.Unavailable.Wrap(err, "sessions cannot be looked up at the moment; try again")
	}
	entry, err := kv.Get(ctx, keyOf(id))
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return rec, v, fault.NotFound.Wrap(err, "there is no such session; send initialize to begin one")
	}
	if err != nil {
		return rec, v, fault.Unavailable.Wrap(err, "sessions cannot be looked up at the moment; try again")
	}
	return rec, version{entry.Revision(), entry.Created()}, json.Unmarshal(entry.Value(), &rec)
}

func (r *Records) delete(ctx context.Context, id string) error {
	kv, err := r.open(ctx)
	if err != nil {
		return err
	}
	if err := kv.Delete(ctx, keyOf(id)); err != nil {
		return err
	}
	return r.stream.Conn().Publish(endedSubject, []byte(keyOf(id)))
}

// Listen ends here what another replica has ended, until ctx does.
func (st *Store) Listen(ctx context.Context) error {
	if st.Records == nil {
		<-ctx.Done()
		return nil
	}
	sub, err := st.Records.stream.Conn().Subscribe(endedSubject, func(m *nats.Msg) {
		for _, s := range st.all() {
			if keyOf(s.ID) == string(m.Data) {
				s.mu.Lock()
				s.kept = time.Time{} // there is no record to delete any more
				s.mu.Unlock()
				st.End(s)
			}
		}
	})
	if err != nil {
		return fmt.Errorf("listen to ends of sessions: %w", err)
	}
	<-ctx.Done()
	return sub.Unsubscribe()
}

// Keep writes a session down, so that it survives this process. It is of use without,
// too: what fails is left.
func (st *Store) Keep(ctx context.Context, s *Session) {
	rec := s.record()
	if st.Records == nil || len(rec.Initialize) > maxHello {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), keepLimit)
	defer cancel()
	if v, err := st.Records.put(ctx, s.ID, rec); err == nil {
		st.shares(s, v)
	}
}

func (s *Session) record() record {
	s.Upstream.mu.Lock()
	defer s.Upstream.mu.Unlock()
	return record{Target: s.TargetID, Caller: s.Caller, Initialize: s.Upstream.initialize, Protocol: s.Upstream.protocol, agreed: agreed{s.Upstream.url, s.Upstream.session}}
}

// renew writes those sessions down again whose record would expire before them.
func (st *Store) renew(ctx context.Context, now time.Time) {
	if st.Records == nil {
		return
	}
	for _, s := range st.all() {
		s.mu.Lock()
		used := s.seen.After(s.kept) || s.streams > 0 || s.work > 0
		due := !s.kept.IsZero() && now.Sub(s.kept) > st.limits.Idle/keepShare
		s.mu.Unlock()
		if due && used && ctx.Err() == nil {
			st.touchRecord(ctx, s)
		}
	}
}

// forgetRecord deletes a session's record: its id is worth nothing from then on.
func (st *Store) forgetRecord(ctx context.Context, s *Session) {
	s.mu.Lock()
	kept := !s.kept.IsZero()
	s.mu.Unlock()
	if st.Records != nil && kept {
		_ = st.Records.delete(ctx, s.ID) // it expires by itself
	}
}

// Recover brings a session back that another process began, or this one before its
// restart. It fails with fault.NotFound when there is none of that target and caller.
func (st *Store) Recover(ctx context.Context, id, target string, caller principal.Principal) (*Session, error) {
	missing := fault.NotFound.Errorf("there is no such session; send initialize to begin one")
	if st.Records == nil || len(id) != 2*idBytes {
		return nil, missing
	}
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	found, err, _ := st.recovering.Do(id, func() (any, error) {
		if s, ok := st.ByID(id); ok {
			return s, nil
		}
		rec, v, err := st.Records.get(context.WithoutCancel(ctx), id)
		if err != nil {
			return nil, err
		}
		return st.revive(id, rec, v)
	})
	if err != nil {
		return nil, err
	}
	s := found.(*Session)
	if s.TargetID != target || s.Caller.UserID != caller.UserID || s.ctx.Err() != nil {
		return nil, missing
	}
	s.touch(time.Now())
	return s, nil
}

// revive makes a session of its record. The client has said that it is initialized
// long ago.
func (st *Store) revive(id string, rec record, v version) (*Session, error) {
	m, err := jsonrpc.Parse(rec.Initialize)
	if err != nil {
		return nil, err
	}
	s, err := st.open(id, rec.Target, rec.Caller)
	if err != nil {
		return nil, err
	}
	s.Upstream.Adopt(rec.Initialize)
	s.Upstream.Agreed(rec.Protocol)
	s.Upstream.join(rec.agreed)
	s.Introduce(m.Params)
	s.MarkReady()
	st.shares(s, v)
	return s, nil
}
