package bridge

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// moves bounds how often a retry follows a call from replica to replica.
const moves = 5

var callLost = &modern.Refusal{
	Status: http.StatusOK, Code: jsonrpc.CodeInternal, Message: "the call that asked this is over; it had been started",
	Data: map[string]any{"reason": "call_lost", "retriable": false},
}

// again goes on with a call that waits: here, at the replica that reads it, or, when that
// has died, here after it was taken over.
func (b *Bridge) again(ctx context.Context, route *routes.Route, user string, r modern.Request, to Client) (json.RawMessage, *modern.Refusal) {
	target := route.Address.GetTargetId()
	s, refusal := b.unseal(target, user, r)
	if refusal != nil {
		return nil, refusal
	}
	at := s.At
	for range moves {
		result, refusal, err := b.askedAt(ctx, at, target, user, s, r, to)
		switch {
		case err == nil && refusal != moved:
			return result, refusal
		case err != nil && !errors.Is(err, peers.ErrAway) && !fault.Unavailable.Is(err): // one that is silent may be dead
			return nil, refusalOf(err)
		}
		record, err := b.takeOver(ctx, route, user, r, s.Call, at)
		switch {
		case fault.NotFound.Is(err):
			return nil, callLost
		case err != nil:
			return nil, refusalOf(err)
		case record.GetEnded():
			return b.reread(record)
		}
		at = record.GetReader()
	}
	return nil, moved
}

// askedAt goes on with a call at one replica. It fails with peers.ErrAway when that, or
// the call at it, is not there.
func (b *Bridge) askedAt(ctx context.Context, at, target, user string, s state, r modern.Request, to Client) (json.RawMessage, *modern.Refusal, error) {
	if at != b.deps.Peers.Name() {
		return b.elsewhere(ctx, at, target, user, r, to)
	}
	c := b.find(s.Call)
	if c == nil {
		return nil, nil, peers.ErrAway
	}
	result, refusal := b.goOn(ctx, c, r, s.Round, to)
	return result, refusal, nil
}

// reread is the outcome of a call that has ended, from its record.
func (b *Bridge) reread(record *schedulerv1.ParkedCall) (json.RawMessage, *modern.Refusal) {
	if len(record.GetOutcome()) == 0 {
		return nil, expired()
	}
	var o outcome
	if b.records.open(record.GetTargetId(), record.GetOutcome(), &o) != nil || o.Result == nil && o.Refusal == nil {
		return nil, callLost
	}
	return o.Result, o.Refusal
}

// find is a call that is read here, or is just being taken over; nil when there is none.
func (b *Bridge) find(id string) *call {
	for {
		b.mu.Lock()
		c, coming := b.calls[id], b.coming[id]
		b.mu.Unlock()
		if c != nil || coming == nil {
			return c
		}
		<-coming
	}
}
