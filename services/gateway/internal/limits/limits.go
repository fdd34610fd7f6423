// Package limits bounds how often and how many at once callers may call, for an
// organisation, an app, a caller or a tool. It does not know where policies are kept.
//
// The replicas of the gateway split each limit evenly: each tells the others over NATS
// that it is alive, and takes 1/n of rate, burst and concurrency. So a call never
// leaves memory to be admitted, which a counter in JetStream would ask of it, and the
// sum over all replicas stays within limit + burst however the load is spread. The
// price: a client that stays with one replica gets that replica's share. A replica's
// share is never less than one call, so that a limit below the number of replicas
// counts as one for each.
//
// A replica that is silent while our own beats come back is gone, and its share
// returns. While NATS is away no beat comes back, so nobody is taken for gone and every
// replica goes on with its last known share. When it is back, replicas reach it one
// after the other: nobody is gone before each had time to. One that has never reached NATS takes a
// quarter. A replica that alone is cut off from NATS keeps its share while the others
// divide it anew.
package limits

import (
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/nats-io/nats.go"
)

// maxKeys bounds the buckets in memory. One that is dropped comes back no fuller than
// it can have become since.
const maxKeys = 100_000

// Deps is everything a Limiter needs from outside.
type Deps struct {
	Log  *slog.Logger
	NATS *nats.Conn
	Now  func() time.Time
	// Defaults hold for every organisation.
	Defaults []Policy
	// Beat is how often a replica says that it is alive; zero: half a second.
	Beat time.Duration
}

// Call is what is counted.
type Call struct {
	OrgID, TargetID, CallerID, Tool string
	// As is the tool that the call stands for when it is another way to call it: limits of
	// both hold.
	As string
}

// Limiter admits calls.
type Limiter struct {
	deps     Deps
	members  *members
	policies atomic.Pointer[table]

	mu      sync.Mutex
	share   share
	buckets *simplelru.LRU[key, *bucket]
	evicted time.Time // when the last bucket that was dropped had been used
	running map[key]int
}

type key struct{ policy, org, caller string }

// New returns a Limiter on deps, which must be complete.
func New(deps Deps) *Limiter {
	if deps.Beat == 0 {
		deps.Beat = beatEvery
	}
	l := &Limiter{deps: deps, members: newMembers(deps.NATS), running: map[key]int{}}
	l.share = share{n: unknownReplicas, since: deps.Now()}
	l.buckets, _ = simplelru.NewLRU(maxKeys, func(_ key, b *bucket) { l.evicted = later(l.evicted, b.at) }) // fails on a size below 1 only
	l.Set(nil)
	return l
}

// Set replaces the policies of all organisations.
func (l *Limiter) Set(policies []Policy) { l.policies.Store(newTable(l.deps.Defaults, policies)) }

// ByTool says whether the name of the tool matters to any policy.
func (l *Limiter) ByTool() bool { return l.policies.Load().byTool }

type match struct {
	policy *Policy
	key    key
	bucket *bucket
}

// Admit counts a call, which must say when it is done. The error is a fault.Exhausted,
// of which RetryAfter knows more; then the call counts nowhere.
func (l *Limiter) Admit(call Call) (done func(), err error) {
	var few [8]match
	matches := l.policies.Load().match(few[:0], call)
	if len(matches) == 0 {
		return nothing, nil
	}
	if refused, wait := l.take(matches); refused != nil {
		return nil, refuse(refused, wait)
	}
	var held []key
	for i := range matches {
		if matches[i].policy.Concurrent > 0 {
			held = append(held, matches[i].key)
		}
	}
	if held == nil {
		return nothing, nil
	}
	return sync.OnceFunc(func() { l.release(held) }), nil
}

func nothing() {}

// take takes from all or from none.
func (l *Limiter) take(matches []match) (refused *Policy, wait time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.deps.Now()
	for i := range matches {
		m := &matches[i]
		p := m.policy
		if p.Concurrent > 0 && l.running[m.key] >= p.concurrent(l.share.n) {
			refused, wait = p, max(wait, busy)
		}
		if p.CallsPerSecond <= 0 {
			continue
		}
		m.bucket = l.bucket(m.key, p, now)
		if missing := 1 - m.bucket.tokens; missing > 0 {
			if need := time.Duration(math.Ceil(missing / p.rate(l.share.n) * float64(time.Second))); need > wait {
				refused, wait = p, need
			}
		}
	}
	if refused != nil {
		return refused, wait
	}
	for i := range matches {
		if matches[i].bucket != nil {
			matches[i].bucket.tokens--
		}
		if matches[i].policy.Concurrent > 0 {
			l.running[matches[i].key]++
		}
	}
	return nil, 0
}

func (l *Limiter) bucket(k key, p *Policy, now time.Time) *bucket {
	b, ok := l.buckets.Get(k)
	if !ok {
		b = l.share.begin(p, l.evicted, now)
		l.buckets.Add(k, b)
	}
	l.share.fill(b, p, now)
	return b
}

func (l *Limiter) release(held []key) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range held {
		if l.running[k]--; l.running[k] <= 0 {
			delete(l.running, k)
		}
	}
}
