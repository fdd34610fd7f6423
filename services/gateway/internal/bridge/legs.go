// Package bridge carries calls of clients of the stateless era to agents of either era.
// A call to an agent of the session era that asks back is parked: its client gets the
// question and a sealed state, and comes again with the answer.
//
// The agent's own stream of a parked call is in the process that began it; a retry that
// comes to another replica is carried there. When the stream breaks, or its process
// ends, the call is lost and its client is told so.
package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

const (
	legsKept = 4096
	legIdle  = 5 * time.Minute
	goodbye  = 5 * time.Second
	// legacy is what a leg speaks.
	legacy = "2025-11-25"
)

// leg is a conversation with an agent for one principal. It is never shared between
// principals: agents send to "the most recent session".
type leg struct {
	*sessions.Upstream
	mu     sync.Mutex
	last   int64
	uses   int
	leaves bool
}

// nextID is an id that no other open call of the leg has.
func (l *leg) nextID() json.RawMessage {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return strconv.AppendInt(nil, l.last, 10)
}

func (l *leg) take() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.leaves {
		return false
	}
	l.uses++
	return true
}

// release ends the conversation when it was the last use of one that is to go.
func (l *leg) release() {
	l.mu.Lock()
	l.uses--
	over := l.leaves && l.uses == 0
	l.mu.Unlock()
	if over {
		l.bye()
	}
}

// leave lets the conversation end, now or after its last use.
func (l *leg) leave() {
	l.mu.Lock()
	over := !l.leaves && l.uses == 0
	l.leaves = true
	l.mu.Unlock()
	if over {
		go l.bye() // the caller holds the pool
	}
}

func (l *leg) bye() {
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	l.End(ctx)
}

// legKey is whose leg it is: a leg declares exactly what its client can be asked.
type legKey struct {
	target, user string
	asks         [sha256.Size]byte
}

type legs struct {
	open func(target string) *sessions.Upstream
	mu   sync.Mutex
	kept *expirable.LRU[legKey, *leg]
}

func newLegs(open func(target string) *sessions.Upstream) *legs {
	return &legs{open: open, kept: expirable.NewLRU(legsKept, func(_ legKey, l *leg) { l.leave() }, legIdle)}
}

// get finds or makes a leg, to be released. Who has no name gets one for the call alone.
func (p *legs) get(route *routes.Route, user string, capabilities json.RawMessage) *leg {
	target := route.Address.GetTargetId()
	key := legKey{target, user, sha256.Sum256(capabilities)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if user != "" {
		if known, ok := p.kept.Get(key); ok && known.take() {
			return known
		}
	}
	made := &leg{Upstream: p.open(target), uses: 1, leaves: user == ""}
	made.Adopt(hello(capabilities))
	made.Agreed(legacy)
	if user != "" {
		p.kept.Add(key, made)
	}
	return made
}

// hello is the initialize of a leg.
func hello(capabilities json.RawMessage) []byte {
	var declared map[string]json.RawMessage
	_ = json.Unmarshal(capabilities, &declared) // an object, as the envelope's check said
	delete(declared, "extensions")
	return jsonrpc.NewRequest(json.RawMessage("0"), "initialize", jsonrpc.Encode(map[string]any{
		"protocolVersion": legacy, "capabilities": declared,
		"clientInfo": map[string]string{"name": "agentcloud", "version": "1"},
	}))
}
