package sessions

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const (
	// sweepAtOnce bounds the sessions that one sweep ends.
	sweepAtOnce = 1024
	// sweepPause is how many sweeps are left out after one that could not read: replicas
	// that use sessions write them down again first.
	sweepPause = 2
	// spareTicks is how much longer than an idle session its record counts, in looks.
	spareTicks = 2

	recordsStream  = "KV_" + bucket
	recordsSubject = "$KV." + bucket + "."
	operation      = "KV-Operation"
)

// tick is how often idle sessions are looked for.
func tick(idle time.Duration) time.Duration { return min(reapEvery, max(idle/4, 10*time.Millisecond)) } //nolint:mnd // soon enough

// lasts is how long a record counts that nobody renews.
func lasts(idle time.Duration) time.Duration { return idle + spareTicks*tick(idle) }

// abandoned is a session that no replica uses any more.
type abandoned struct {
	key      string
	revision uint64
	record   record
}

// sweeps ends sessions that all replicas have left, again and again: their agents are
// told by one of them.
func (st *Store) sweeps(ctx context.Context) {
	ticker := time.NewTicker(tick(st.limits.Idle))
	defer ticker.Stop()
	for pause := 0; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-ticker.C:
			if pause > 0 {
				pause--
			} else if st.sweep(ctx, now) != nil {
				pause = sweepPause
			}
		}
	}
}

func (st *Store) sweep(ctx context.Context, now time.Time) error {
	found, err := st.Records.abandoned(ctx, now.Add(-lasts(st.limits.Idle)))
	if err != nil {
		return err
	}
	var group errgroup.Group
	group.SetLimit(farewells)
	for _, a := range found {
		group.Go(func() error {
			if !st.uses(a.key) && st.Records.claim(ctx, a) {
				st.sayGoodbye(ctx, a.record)
			}
			return nil
		})
	}
	return group.Wait()
}

// uses says whether a session is in use here.
func (st *Store) uses(key string) bool {
	for _, s := range st.all() {
		if s.key == key {
			return !s.idle(time.Now().Add(-st.limits.Idle))
		}
	}
	return false
}

// sayGoodbye tells an agent that a session is over.
func (st *Store) sayGoodbye(ctx context.Context, rec record) {
	if rec.Agent == "" {
		return
	}
	u := st.Upstream(rec.Target, routes.Pick{})
	u.Agreed(rec.Protocol)
	u.settle(rec.URL, rec.Agent)
	u.remember(rec.Former)
	ctx, cancel := context.WithTimeout(ctx, farewell)
	defer cancel()
	u.End(ctx)
}

// abandoned are the records that were written last before a time, oldest first: a bucket's
// stream has them in that order.
func (r *Records) abandoned(ctx context.Context, before time.Time) (found []abandoned, err error) {
	if _, err := r.open(ctx); err != nil {
		return nil, err
	}
	stream, err := r.js.Stream(ctx, recordsStream)
	if err != nil {
		return nil, err
	}
	for next := uint64(1); len(found) < sweepAtOnce; {
		m, err := stream.GetMsg(ctx, next, jetstream.WithGetMsgSubject(recordsSubject+">"))
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return found, nil
		case err != nil:
			return nil, err
		case !m.Time.Before(before):
			return found, nil
		}
		next = m.Sequence + 1
		a := abandoned{key: strings.TrimPrefix(m.Subject, recordsSubject), revision: m.Sequence}
		if m.Header.Get(operation) == "" && json.Unmarshal(m.Data, &a.record) == nil {
			found = append(found, a)
		}
	}
	return found, nil
}

// claim deletes a record unless another replica does, or uses it; the replicas are told.
func (r *Records) claim(ctx context.Context, a abandoned) bool {
	ctx, cancel := context.WithTimeout(ctx, keepLimit)
	defer cancel()
	kv, err := r.open(ctx)
	if err != nil || kv.Purge(ctx, a.key, jetstream.LastRevision(a.revision)) != nil {
		return false
	}
	_ = r.js.Conn().Publish(endedSubject, []byte(a.key)) // who does not hear of it finds no record
	return true
}
