package runs

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// openFresh is how old an open run's status may be: clients poll, many at once, and
	// each look costs Temporal a millisecond. A close that passes here is known at once.
	openFresh = 100 * time.Millisecond
	// closedFresh is how long the end of a run is remembered, which never changes.
	closedFresh = time.Minute
	loadLimit   = 10 * time.Second
	recentRuns  = 4096
	// recentBytes bounds what one run may take here; larger results are read each time.
	recentBytes = 16 << 10
)

// recent remembers what was told of runs a moment ago. It knows nothing of rights.
type recent struct {
	told   *lru.Cache[string, told]
	flight singleflight.Group
	// closes counts the runs that closed: what was read before one is not kept after it.
	closes atomic.Int64
	// targets are those of the runs, for as long as the status of an open one.
	targets *lru.Cache[string, knownTarget]
	now     func() time.Time
}

type knownTarget struct {
	target store.Target
	until  time.Time
}

type told struct {
	run   *schedulerv1.Run
	until time.Time
}

func newRecent(now func() time.Time) *recent {
	cache, err := lru.New[string, told](recentRuns)
	targets, badSize := lru.New[string, knownTarget](recentRuns)
	if err != nil || badSize != nil {
		panic(errors.Join(err, badSize)) // the size is a constant above zero
	}
	return &recent{told: cache, targets: targets, now: now}
}

// target returns what is known of a target, or loads it.
func (r *recent) target(ctx context.Context, targetID string, load func(context.Context, string) (store.Target, error)) (store.Target, error) {
	if known, ok := r.targets.Get(targetID); ok && r.now().Before(known.until) {
		return known.target, nil
	}
	t, err := load(ctx, targetID)
	if err == nil {
		r.targets.Add(targetID, knownTarget{target: t, until: r.now().Add(openFresh)})
	}
	return t, err
}

// get returns what is known of a run, or loads it once for all who ask.
func (r *recent) get(ctx context.Context, runID string, load func(context.Context) (*schedulerv1.Run, error)) (*schedulerv1.Run, error) {
	if known, ok := r.told.Get(runID); ok && r.now().Before(known.until) {
		return known.run, nil
	}
	loaded := r.flight.DoChan(runID, func() (any, error) {
		// Whoever asked first may go away before the others.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), loadLimit)
		defer cancel()
		closes := r.closes.Load()
		run, err := load(ctx)
		if err == nil && closes == r.closes.Load() {
			r.keep(runID, run)
		}
		return run, err
	})
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case result := <-loaded:
		if result.Err != nil {
			return nil, result.Err
		}
		return result.Val.(*schedulerv1.Run), nil //nolint:forcetypeassert // load's own
	}
}

func (r *recent) keep(runID string, run *schedulerv1.Run) {
	if proto.Size(run) > recentBytes {
		return
	}
	fresh := openFresh
	if run.GetCloseTime() != nil {
		fresh = closedFresh
	}
	r.told.Add(runID, told{run: run, until: r.now().Add(fresh)})
}

// forget is called when a run has closed.
func (r *recent) forget(runID string) {
	r.closes.Add(1)
	r.told.Remove(runID)
}
