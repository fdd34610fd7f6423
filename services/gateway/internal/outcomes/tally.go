package outcomes

import (
	"math/bits"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	// buckets are those of 1, 2, 4 … 2^23 ms, and the rest.
	buckets = 25
	// mostUsers bounds the users of one version that are told apart here, and usersAtOnce
	// those of one report.
	mostUsers   = 100_000
	usersAtOnce = 10_000
)

// tally is what is counted of one version of a rollout.
type tally struct {
	calls, failures atomic.Int64
	latency         [buckets]atomic.Int64
	users, failed   people
}

// add counts a call that took so long.
func (t *tally) add(user uint64, took time.Duration, failed bool) {
	t.calls.Add(1)
	t.latency[bucketOf(took)].Add(1)
	t.users.add(user)
	if failed {
		t.failures.Add(1)
		t.failed.add(user)
	}
}

func bucketOf(took time.Duration) int {
	whole := uint64(max(took-1, 0) / time.Millisecond) //nolint:gosec // not negative
	return min(bits.Len64(whole), buckets-1)
}

// outcomes are the counts now, and users that were not told of yet. Failures are read
// first, so that there are never more of them than calls.
func (t *tally) outcomes() *schedulerv1.VersionOutcomes {
	o := &schedulerv1.VersionOutcomes{FailedUsers: t.failed.next(), Users: t.users.next()}
	o.Failures = t.failures.Load()
	for i := range t.latency {
		o.LatencyBuckets = append(o.LatencyBuckets, t.latency[i].Load())
	}
	o.Calls = t.calls.Load()
	return o
}

// people are hashes of users.
type people struct {
	known sync.Map // uint64 to nothing

	mu     sync.Mutex // for one who was not known
	all    int
	untold []uint64 // oldest first
}

// add notes a user, unless there are too many.
func (p *people) add(user uint64) {
	if _, known := p.known.Load(user); known {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all >= mostUsers {
		return
	}
	if _, known := p.known.LoadOrStore(user, struct{}{}); known {
		return
	}
	p.all++
	p.untold = append(p.untold, user)
}

// next are those to be told of, oldest first.
func (p *people) next() []uint64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.untold[:min(len(p.untold), usersAtOnce)])
}

// arrived says that so many were told of.
func (p *people) arrived(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.untold = slices.Clone(p.untold[n:])
}
