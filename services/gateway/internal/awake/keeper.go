// Package awake keeps count of what goes on at agents, agrees with the scheduler about
// which may sleep, and has those woken that are called.
//
// It starts and ends nothing itself. Between an agreement and the wake no call of this
// process goes to the agent, so none is lost with its processes.
package awake

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

const (
	// wakeWithin bounds one wake; the scheduler has a bound of its own for the start.
	wakeWithin = 5 * time.Minute
	// wakePause is how long to wait before the scheduler is asked again.
	wakePause = 300 * time.Millisecond
	// leastAgain is how soon the scheduler may ask again about an agent with open calls.
	leastAgain = time.Second
)

// ErrResting is in the errors of requests that were not sent, for their agent sleeps.
var ErrResting = errors.New("the agent sleeps")

// Deps is everything a Keeper needs from outside.
type Deps struct {
	Table     *routes.Table
	Scheduler schedulerv1.SleepServiceClient
	// Waiters is how many calls may wait for one agent to wake.
	Waiters int
	Log     *slog.Logger
	Now     func() time.Time
}

// Keeper knows which agents are in use.
type Keeper struct {
	deps   Deps
	began  time.Time
	waking singleflight.Group

	mu      sync.Mutex
	targets map[string]*target
	servers map[string]*server // by HOST:PORT
}

// target is what goes on at one agent.
type target struct {
	open    int       // requests under way
	called  time.Time // when the last one that counts began or ended
	waiters int
	// rests says that no request goes to this version any more, by which agreement.
	rests     string
	agreement int64
}

// New returns a Keeper on deps, which must be complete.
func New(deps Deps) *Keeper {
	return &Keeper{deps: deps, began: deps.Now(), targets: map[string]*target{}, servers: map[string]*server{}}
}

// of is what goes on at a target; k.mu is held.
func (k *Keeper) of(targetID string) *target {
	t := k.targets[targetID]
	if t == nil {
		t = &target{called: k.began} // nobody knows of calls before this process
		k.targets[targetID] = t
	}
	return t
}

// begin counts a request to a server until leave is called; ok is false when it rests.
func (k *Keeper) begin(ctx context.Context, host string) (leave func(), ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	route := k.deps.Table.Server(host) // as it is between two agreements
	if route == nil {
		return k.unlisted(ctx, host)
	}
	e := route.Endpoint
	t := k.of(e.GetTargetId())
	if t.rests == e.GetVersionId() {
		return nil, false
	}
	over := k.use(t, quiet(ctx))
	if quiet(ctx) {
		return over, true
	}
	left := k.busy(host, e)
	return func() { over(); left() }, true
}

// Hold keeps a target's agent from falling asleep until leave is called, so that one who
// needs several requests finds it as it was. It wakes nobody.
func (k *Keeper) Hold(ctx context.Context, targetID string) (leave func()) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.use(k.of(targetID), quiet(ctx))
}

// use counts one more; k.mu is held. One that is quiet keeps the agent awake until it is
// over, and no longer.
func (k *Keeper) use(t *target, quiet bool) (leave func()) {
	t.open++
	if !quiet {
		t.called = k.deps.Now()
	}
	return sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		t.open--
		if !quiet {
			t.called = k.deps.Now()
		}
	})
}

// agree answers the scheduler's question whether a version may sleep.
func (k *Keeper) agree(q *schedulerv1.AttendResponse) (agreed bool, again time.Duration) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if q.GetServerUrl() != "" {
		return k.agreeOne(q)
	}
	t, idle := k.of(q.GetTargetId()), q.GetIdle().AsDuration()
	again = idle - k.deps.Now().Sub(t.called)
	if t.open > 0 || t.waiters > 0 || again > 0 {
		return false, max(again, leastAgain)
	}
	t.rests, t.agreement = q.GetVersionId(), q.GetAgreement()
	return true, 0
}

// Rests says whether no request goes to a version until it is woken.
func (k *Keeper) Rests(targetID, versionID string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.targets[targetID]
	return t != nil && t.rests == versionID
}

// Wake has a target woken. All who call it meanwhile share one wake; beyond Waiters it
// fails at once. It fails with fault.Unavailable and the reason when the agent does not
// start.
func (k *Keeper) Wake(ctx context.Context, targetID string) error {
	done, leave, ok := k.queue(ctx, targetID)
	if !ok {
		return fault.Unavailable.Errorf("the agent is being started, and %d calls wait for it already; try again in a moment", k.deps.Waiters)
	}
	defer leave()
	for ; ; done = k.join(ctx, targetID) {
		var err error
		select {
		case <-ctx.Done():
			return fault.Unavailable.Errorf("the agent is being started; try again in a moment")
		case result := <-done:
			err = result.Err
		}
		if !away(err) {
			return err
		}
		select { // the scheduler is away
		case <-ctx.Done():
			return fault.Unavailable.Wrap(err, "the agent cannot be started at the moment; try again")
		case <-time.After(wakePause):
		}
	}
}

// failure is an agent that does not start, in the scheduler's words.
type failure struct{ error }

// Unwrap gives the fault.
func (f failure) Unwrap() error { return f.error }

func away(err error) bool {
	var f failure
	return fault.Unavailable.Is(err) && !errors.As(err, &f)
}

func (k *Keeper) wake(ctx context.Context, targetID string) error {
	answer, err := k.deps.Scheduler.Wake(ctx, &schedulerv1.WakeRequest{TargetId: targetID})
	if err != nil {
		return err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	// One that was agreed on after the wake holds.
	if t := k.of(targetID); t.agreement <= answer.GetAgreement() {
		t.rests = ""
	}
	if answer.GetError() != "" {
		return failure{fault.Unavailable.Errorf("the agent was needed and did not start: %s", answer.GetError())}
	}
	return nil
}

// join takes part in the wake that is under way, or begins one.
func (k *Keeper) join(ctx context.Context, targetID string) <-chan singleflight.Result {
	return k.waking.DoChan(targetID, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wakeWithin)
		defer cancel()
		return nil, k.wake(ctx, targetID)
	})
}

// queue counts who waits, and has each who is counted take part in one wake.
func (k *Keeper) queue(ctx context.Context, targetID string) (done <-chan singleflight.Result, leave func(), ok bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	t := k.of(targetID)
	if t.waiters >= k.deps.Waiters {
		return nil, nil, false
	}
	t.waiters++
	return k.join(ctx, targetID), func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		t.waiters--
		t.called = k.deps.Now() // the call itself comes in a moment
	}, true
}

// forget drops what is known of targets that are gone.
func (k *Keeper) forget() {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, t := range k.targets {
		if t.open == 0 && t.waiters == 0 && k.deps.Table.Target(id) == nil {
			delete(k.targets, id)
		}
	}
}
