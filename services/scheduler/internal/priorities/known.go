package priorities

import (
	"context"
	"strings"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// knownFresh is how long the rules of a caller are remembered, which each start needs:
	// what another replica changed counts a second later.
	knownFresh = time.Second
	mostKnown  = 4096
)

// known are the rules that were found a moment ago.
type known struct {
	found *lru.Cache[string, found]
	// changes counts those of here: what was read before one is not kept after it.
	changes atomic.Int64
	now     func() time.Time
}

type found struct {
	rules []store.PriorityRule
	until time.Time
}

func newKnown(now func() time.Time) *known {
	cache, err := lru.New[string, found](mostKnown)
	if err != nil {
		panic(err) // the size is a constant above zero
	}
	return &known{found: cache, now: now}
}

// rules returns what is known of the rules for a caller, or loads them.
func (k *known) rules(ctx context.Context, orgID, appID, caller string, load func(_ context.Context, orgID, appID, caller string) ([]store.PriorityRule, error)) ([]store.PriorityRule, error) {
	key := strings.Join([]string{orgID, appID, caller}, "\x00")
	if f, ok := k.found.Get(key); ok && k.now().Before(f.until) {
		return f.rules, nil
	}
	changes := k.changes.Load()
	rules, err := load(ctx, orgID, appID, caller)
	if err == nil && changes == k.changes.Load() {
		k.found.Add(key, found{rules: rules, until: k.now().Add(knownFresh)})
	}
	return rules, err
}

// forget is called when a rule has changed.
func (k *known) forget() {
	k.changes.Add(1)
	k.found.Purge()
}
