package bridge

import (
	"bytes"
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/modern"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// takeOver makes a call whose reader has died one that is read here, unless another
// replica was faster or the call has ended; it returns the call's record. Several
// retries that come at once do it once.
func (b *Bridge) takeOver(ctx context.Context, route *routes.Route, user string, r modern.Request, id, from string) (*schedulerv1.ParkedCall, error) {
	b.mu.Lock()
	before := b.coming[id]
	done := make(chan struct{})
	if before == nil {
		b.coming[id] = done
	}
	b.mu.Unlock()
	if before != nil {
		<-before // bounded, as below
	} else {
		defer func() {
			b.mu.Lock()
			delete(b.coming, id)
			b.mu.Unlock()
			close(done)
		}()
	}
	me := b.deps.Peers.Name()
	record, err := b.records.take(route.Address.GetOrgId(), route.Address.GetTargetId(), id, from, me)
	if err != nil || before != nil || record.GetEnded() || record.GetReader() != me || b.has(id) {
		return record, err
	}
	return record, b.revive(ctx, route, user, r, record)
}

// has says whether a call is read here.
func (b *Bridge) has(id string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.calls[id] != nil
}

// revive goes on with a call of a record: with the rest of its stream, or, when that is
// lost, with nothing until its answers are there to make it again.
func (b *Bridge) revive(ctx context.Context, route *routes.Route, user string, r modern.Request, record *schedulerv1.ParkedCall) error {
	c, at, err := b.restore(route, user, r, record)
	if err != nil {
		return err
	}
	if refusal := b.admit(c); refusal != nil {
		return fault.Exhausted.Errorf("%s", refusal.Message)
	}
	b.deps.Log.InfoContext(ctx, "a call that waits is gone on with here", "target", c.target, "call", c.id, "from_event", c.cursor)
	if c.cursor != "" && b.reach(c, at) {
		return nil
	}
	if c.repeatable && c.reruns == 0 {
		c.lose()
		return nil
	}
	b.conclude(c, outcome{Refusal: c.broken("call_lost", "the gateway that heard the agent is gone, and the agent does not repeat what it says; the call had been started")})
	return nil
}

// reachLimit bounds the wait for the head of a stream that is gone on with.
const reachLimit = 10 * time.Second

// reach follows the rest of a call's stream; false when the agent does not give it.
func (b *Bridge) reach(c *call, at sessions.Place) bool {
	ctx, cancel := context.WithCancel(c.ctx)
	late := time.AfterFunc(reachLimit, cancel)
	for {
		res, err := c.leg.Follow(ctx, at, c.cursor)
		switch {
		case err == nil && late.Stop():
			l, last := c.leg, c.cursor
			b.work(func() {
				defer cancel()
				c.follow(l, res, last)
			})
			return true
		case err == nil:
			_ = res.Body.Close()
		case !errors.Is(err, sessions.ErrGone) && ctx.Err() == nil && c.pause(reachPause): // not there just now
			continue
		}
		late.Stop()
		cancel()
		return false
	}
}

// restore is a call as its record has it.
func (b *Bridge) restore(route *routes.Route, user string, r modern.Request, record *schedulerv1.ParkedCall) (*call, sessions.Place, error) {
	var at place
	c := b.newCall(route, user, r)
	c.id, c.lease, c.round, c.reruns, c.kept, c.cursor = record.GetCallId(), record.GetLease(), int(record.GetRound()), record.GetReruns(), true, record.GetCursor()
	c.until = record.GetDeadline().AsTime().Add(-recordSlack)
	err := b.records.open(c.target, record.GetPlace(), &at)
	for _, kept := range record.GetOpen() {
		var q question
		err = errors.Join(err, b.records.open(c.target, kept.GetSealed(), &q))
		c.open[kept.GetKey()] = ask{q.ID, q.Method, q.Params, printOf(q.Method, q.Params)}
		c.counted(kept.GetKey())
	}
	for _, kept := range record.GetGiven() {
		g := given{}
		err = errors.Join(err, b.records.open(c.target, kept.GetSealed(), &g.answer))
		copy(g.print[:], kept.GetQuestion())
		c.given = append(c.given, g)
		c.counted(kept.GetKey())
	}
	if err != nil || c.user != record.GetUserId() || !bytes.Equal(record.GetDigest(), c.digest[:]) {
		c.end()
		return nil, at.Place, fault.NotFound.Wrap(err, "no such call")
	}
	c.leg, c.legID, c.caps, c.place = b.legs.other(c.target), at.ID, at.Capabilities, at.Place
	return c, at.Place, nil
}

// counted keeps names of questions from being used again.
func (c *call) counted(key string) {
	if n, err := strconv.Atoi(strings.TrimPrefix(key, "q")); err == nil {
		c.asked = max(c.asked, n)
	}
}

// mayRepeat says whether a call whose agent went away is made again: once, when that is
// harmless, and only when its client was asked before, whose answers would be lost.
func (b *Bridge) mayRepeat(c *call, e event) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return e.err != nil && c.repeatable && c.round > 0 && c.reruns == 0 && !b.leaving()
}

// lose leaves a call without an agent until its questions are answered.
func (c *call) lose() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = true
}

func (c *call) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.lost
}

// rerun makes a call again, at whatever serves now. What was answered is not asked again.
func (b *Bridge) rerun(c *call, r modern.Request) {
	c.mu.Lock()
	c.lost, c.reruns, c.replay, c.open = false, c.reruns+1, append([]given(nil), c.given...), map[string]ask{}
	c.mu.Unlock()
	b.start(c, r)
}
