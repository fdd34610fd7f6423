package bridge

import (
	"context"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// watch follows a parked call while no client waits for it: more questions, its end,
// and the time when it is given up. The caller holds its place.
func (b *Bridge) watch(c *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.over != nil || c.ctx.Err() != nil {
		return
	}
	if b.leaving() {
		c.end()
		return
	}
	ctx, cancel := context.WithCancel(c.ctx)
	done := make(chan struct{})
	c.unmind = func() {
		cancel()
		<-done
	}
	until := c.until
	b.work(func() {
		defer close(done)
		defer cancel()
		b.follow(ctx, c, until)
	})
}

// unwatch ends the watch. The caller holds the call's place.
func (c *call) unwatch() {
	c.mu.Lock()
	unmind := c.unmind
	c.unmind = nil
	c.mu.Unlock()
	if unmind != nil {
		unmind()
	}
}

func (b *Bridge) follow(ctx context.Context, c *call, until time.Time) {
	late := time.NewTimer(time.Until(until))
	defer late.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-b.leaves:
			c.end()
			return
		case <-late.C:
			b.expire(c)
			return
		case e := <-c.events:
			switch {
			case e.done && b.mayRepeat(c, e):
				c.lose()
			case e.done:
				b.conclude(c, c.outcomeOf(e))
				return
			default:
				b.hear(ctx, c, e)
			}
		}
	}
}

// expire gives a call up whose client did not come. One that another replica has taken
// over is not ours to end.
func (b *Bridge) expire(c *call) {
	o := outcome{Refusal: expired()}
	c.mu.Lock()
	kept := c.kept
	c.mu.Unlock()
	if kept && fault.Conflict.Is(b.records.finish(c, o)) {
		c.end()
		return
	}
	c.tellCancelled()
	c.mu.Lock()
	c.over = &o
	c.mu.Unlock()
	c.end()
}
