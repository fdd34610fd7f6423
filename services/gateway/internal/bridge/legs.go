// Package bridge carries calls of clients of the stateless era to agents of either era.
// A call to an agent of the session era that asks back is parked: its client gets the
// question and a sealed state, and comes again with the answer.
//
// The agent's stream of a call is read by one replica; a retry that comes to another is
// carried there. At its first question a call gets a record in the scheduler, by which
// another goes on with it when its reader has died: with the rest of the stream, where
// the agent gives its events ids, else by making the call again, where that is harmless.
package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
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
	loudness
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

// release ends the conversation when it was the last use of one that is to go, unless
// the call in it goes on elsewhere.
func (l *leg) release(goesOn bool) {
	l.mu.Lock()
	l.uses--
	over := l.leaves && l.uses == 0
	l.mu.Unlock()
	if over && !goesOn {
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

// legKey is whose leg it is, and with which version: a leg declares exactly what its client
// can be asked. With a version of several servers there is one for each.
type legKey struct {
	target, server, user string
	pick                 routes.Pick
	asks                 [sha256.Size]byte
}

type legs struct {
	open func(target string, pick routes.Pick) *sessions.Upstream
	mu   sync.Mutex
	kept *expirable.LRU[legKey, *leg]
}

func newLegs(open func(target string, pick routes.Pick) *sessions.Upstream) *legs {
	return &legs{open: open, kept: expirable.NewLRU(legsKept, func(_ legKey, l *leg) { l.leave() }, legIdle)}
}

// get finds or makes a leg, to be released. Who has no name gets one for the call alone.
func (p *legs) get(target, server string, pick routes.Pick, user string, capabilities json.RawMessage) *leg {
	key := legKey{target, server, user, pick, sha256.Sum256(capabilities)}
	p.mu.Lock()
	defer p.mu.Unlock()
	if user != "" {
		if known, ok := p.kept.Get(key); ok && known.take() {
			return known
		}
	}
	made := &leg{Upstream: p.open(target, pick), uses: 1, leaves: user == ""}
	made.Prefer(server)
	made.Adopt(hello(capabilities))
	made.Agreed(legacy)
	made.Remind(made.remind)
	if user != "" {
		p.kept.Add(key, made)
	}
	return made
}

// other is a leg for a session that another replica began. Others of its calls may still
// be there, so that it is the agent's to end it.
func (p *legs) other(target string) *leg {
	l := &leg{Upstream: p.open(target, routes.Pick{}), uses: 1, leaves: true}
	l.Agreed(legacy)
	return l
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
