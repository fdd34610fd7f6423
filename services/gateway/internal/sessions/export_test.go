package sessions

import (
	"context"
	"time"
)

// Outbox and MaxWork are the bounds that the tests go to.
const (
	Outbox  = outbox
	Gossip  = gossip
	MaxWork = maxWork
)

// Reap ends what is idle at a time.
func (st *Store) Reap(now time.Time) { st.reap(context.Background(), now) }

// CloseIdle closes kept connections to agents.
func (st *Store) CloseIdle() { st.client.CloseIdleConnections() }

// Renew writes down again what is due at a time.
func (st *Store) Renew(ctx context.Context, now time.Time) { st.renew(ctx, now) }
