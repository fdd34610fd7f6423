// Package outcomes counts how calls of tools end at the two versions of a rollout, and
// tells the scheduler, which decides by it.
//
// It decides nothing, and knows no calls while there is no rollout. A call is counted
// without a lock that another one could hold.
package outcomes

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	// mostTallies bounds the versions that are counted at the same time.
	mostTallies = 2_000
	// reportLimit bounds one report, and lastLimit the one at the end.
	reportLimit = 10 * time.Second
	lastLimit   = 2 * time.Second
)

// Deps is everything a Counter needs from outside.
type Deps struct {
	Scheduler schedulerv1.RolloutOutcomesServiceClient
	// GatewayID is the process' own.
	GatewayID string
	// Every is how often the scheduler is told.
	Every time.Duration
	Log   *slog.Logger
	Now   func() time.Time
}

// Counter counts for all rollouts.
type Counter struct {
	deps Deps
	// tallies are replaced by a copy when there is one more: reading takes no lock.
	tallies atomic.Pointer[map[of]*tally]
	mu      sync.Mutex
}

// of is what a tally is of.
type of struct{ rollout, version string }

// New returns a Counter on deps, which must be complete.
func New(deps Deps) *Counter {
	c := &Counter{deps: deps}
	c.tallies.Store(&map[of]*tally{})
	return c
}

// Begin notes that a call of a user at a version of a rollout begins.
func (c *Counter) Begin(rollout, version, user string) *Call {
	to := c.tally(of{rollout, version})
	if to == nil {
		return nil
	}
	sum := sha256.Sum256([]byte(rollout + "\x00" + user))
	return &Call{to: to, user: binary.BigEndian.Uint64(sum[:]), began: c.deps.Now(), now: c.deps.Now}
}

// tally finds or makes one; nil when there are too many.
func (c *Counter) tally(key of) *tally {
	if known := (*c.tallies.Load())[key]; known != nil {
		return known
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	all := *c.tallies.Load()
	if known := all[key]; known != nil || len(all) >= mostTallies {
		return known
	}
	all = maps.Clone(all)
	all[key] = &tally{}
	c.tallies.Store(&all)
	return all[key]
}

// forget drops the tallies of rollouts.
func (c *Counter) forget(rollouts []string) {
	if len(rollouts) == 0 {
		return
	}
	ended := map[string]bool{}
	for _, id := range rollouts {
		ended[id] = true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	left := maps.Clone(*c.tallies.Load())
	maps.DeleteFunc(left, func(key of, _ *tally) bool { return ended[key.rollout] })
	c.tallies.Store(&left)
}

// Run tells the scheduler again and again until ctx ends, and once more then.
func (c *Counter) Run(ctx context.Context) error {
	ticker := time.NewTicker(c.deps.Every)
	defer ticker.Stop()
	for well := true; ; {
		select {
		case <-ctx.Done():
			limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastLimit)
			defer cancel()
			_ = c.report(limited) // it was told of most
			return nil
		case <-ticker.C:
		}
		limited, cancel := context.WithTimeout(ctx, reportLimit)
		err := c.report(limited)
		cancel()
		if err != nil && well && ctx.Err() == nil {
			c.deps.Log.InfoContext(ctx, "what calls of rollouts lead to is told when the scheduler is back", "error", err)
		}
		well = err == nil
	}
}

// report tells all that was counted. What is not known to have arrived is told again.
func (c *Counter) report(ctx context.Context) error {
	all := *c.tallies.Load()
	if len(all) == 0 {
		return nil
	}
	req := &schedulerv1.ReportOutcomesRequest{GatewayId: c.deps.GatewayID}
	told := map[*tally]*schedulerv1.VersionOutcomes{}
	for key, t := range all {
		now := t.outcomes()
		now.RolloutId, now.VersionId = key.rollout, key.version
		req.Outcomes, told[t] = append(req.Outcomes, now), now
	}
	res, err := c.deps.Scheduler.ReportOutcomes(ctx, req)
	if err != nil {
		return err
	}
	for t, now := range told {
		t.users.arrived(len(now.GetUsers()))
		t.failed.arrived(len(now.GetFailedUsers()))
	}
	c.forget(res.GetEndedRolloutIds())
	return nil
}
