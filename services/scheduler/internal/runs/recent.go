package runs

import (
	"context"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/singleflight"
	"google.golang.org/protobuf/proto"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
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
	now    func() time.Time
}

type told struct {
	run   *schedulerv1.Run
	until time.Time
}

func newRecent(now func() time.Time) *recent {
	cache, err := lru.New[string, told](recentRuns)
	if err != nil {
		panic(err) // the size is a constant above zero
	}
	return &recent{told: cache, now: now}
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
