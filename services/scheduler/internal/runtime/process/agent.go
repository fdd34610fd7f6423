package process

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/lines"
)

const (
	backoffMin = 200 * time.Millisecond
	backoffMax = 30 * time.Second
	// steady is how long a process must have lived for its end to be a new beginning.
	steady = time.Minute
	// manyEnds within loopWindow are a crash loop; fewEnds are one before the first readiness.
	manyEnds   = 5
	fewEnds    = 3
	loopWindow = 2 * time.Minute
	// killAfter is how long after its drain a process is killed.
	killAfter = 7 * time.Second
	// defaultDrain is the host's own default.
	defaultDrain = 20 * time.Second
)

// agent keeps one process of one role of one version running.
type agent struct {
	runtime *Runtime
	version *version
	role    agentenv.Role
	seat    seat
	number  int // among those of its role

	stop     chan struct{} // closed to end it
	stopOnce sync.Once
	done     chan struct{} // closed when it has ended for good

	mu       sync.Mutex
	process  deployments.Process
	started  time.Time
	pid      int
	restarts int
	lastErr  string
	ready    bool        // has ever been
	alone    bool        // is started, not forked
	tail     *lines.Tail // of the last process
	// told is what a fork has said that ended before it was ready, how often each line: the
	// process that is started in its place says most of it again.
	told map[string]int
	// histories go to the first process only: one of them may be what ended it.
	histories []agentenv.History
}

func newAgent(r *Runtime, v *version, role agentenv.Role, at seat, number int) *agent {
	a := &agent{
		runtime: r, version: v, role: role, seat: at, number: number, stop: make(chan struct{}), done: make(chan struct{}), started: r.options.Now(),
		process: deployments.Process{State: schedulerv1.AgentState_AGENT_STATE_STARTING},
	}
	if role != agentenv.RoleServer && number == 0 {
		a.histories, a.process.Replaying = v.launch.Document.Histories, len(v.launch.Document.Histories)
	}
	return a
}

// ending is how one process ended.
type ending struct {
	lived  time.Duration
	reason string         // a sentence
	output string         // its last lines
	said   map[string]int // lines of a fork, and how often
	exit   string         // "exit code 3"; empty: it never began, or was told to end
	peak   int64          // bytes of memory; 0: not known
	forked bool           // of a zygote
	report agentenv.Status
}

// keep starts the process again and again until it is told to stop.
func (a *agent) keep() {
	a.version.alive.Add(1)
	defer close(a.done)
	defer a.version.rest()
	backoff := backoffMin
	var ends []time.Time
	for {
		end := a.once()
		if a.stopping() || end.report.State == agentenv.StateNotNeeded {
			a.update(func(p *deployments.Process) {
				p.State, p.NotNeeded = schedulerv1.AgentState_AGENT_STATE_STOPPED, end.report.State == agentenv.StateNotNeeded
			})
			return
		}
		if end.lived > steady {
			backoff, ends = backoffMin, nil
		}
		ends = recent(append(ends, a.runtime.options.Now()), a.runtime.options.Now())
		a.ended(end, len(ends), backoff)
		select {
		case <-a.stop:
		case <-time.After(backoff + rand.N(backoff/4)): //nolint:gosec // jitter
		}
		backoff = min(2*backoff, backoffMax)
	}
}

func recent(ends []time.Time, now time.Time) []time.Time {
	return slices.DeleteFunc(ends, func(t time.Time) bool { return now.Sub(t) > loopWindow })
}

// ended writes down an end that nobody asked for.
func (a *agent) ended(end ending, ends int, backoff time.Duration) {
	reason, detail := end.reason, end.output
	failed := end.report.State == agentenv.StateFailed
	if failed {
		reason, detail = end.report.Reason, cmp.Or(end.report.Detail, end.output)
	}
	a.mu.Lock()
	// Code that cannot bear to be forked must not fail for it.
	again := end.forked && !a.ready
	a.alone = a.alone || again
	if a.told = nil; again {
		a.told = end.said
	}
	hopeless := failed && !again || ends >= manyEnds || ends >= fewEnds && !a.ready
	a.restarts++
	a.lastErr = strings.TrimSpace(reason + "\n" + detail)
	a.mu.Unlock()
	a.say(busv1.LogLevel_LOG_LEVEL_ERROR, fmt.Sprintf("the %s ended and is started again in %s: %s", a.role, backoff.Round(100*time.Millisecond), reason))
	a.update(func(p *deployments.Process) {
		p.State, p.Exit, p.PeakMemory = schedulerv1.AgentState_AGENT_STATE_BACKOFF, end.exit, end.peak
		if hopeless {
			p.State, p.Failed, p.Reason, p.Detail = schedulerv1.AgentState_AGENT_STATE_CRASH_LOOP, true, reason, detail
		}
	})
}

// heard takes what the process says of itself.
func (a *agent) heard(s agentenv.Status) {
	a.update(func(p *deployments.Process) {
		p.Report = s
		switch s.State {
		case agentenv.StateReady:
			p.State, p.Failed, p.Reason, p.Detail = schedulerv1.AgentState_AGENT_STATE_READY, false, "", ""
			p.Exit, p.PeakMemory = "", 0
			a.ready = true
		case agentenv.StateDraining:
			p.State = schedulerv1.AgentState_AGENT_STATE_DRAINING
		case agentenv.StateStarting, agentenv.StateNotNeeded, agentenv.StateFailed, agentenv.StateReplayed:
		}
	})
}

// document is what the next process is told.
func (a *agent) document() agentenv.Launch {
	a.mu.Lock()
	defer a.mu.Unlock()
	document := a.version.launch.Document
	document.Role, document.Histories, document.InstanceID = a.role, a.histories, a.instance()
	if document.Temporal != nil {
		temporal := *document.Temporal
		temporal.Identity = a.identity()
		document.Temporal = &temporal
	}
	a.histories = nil
	return document
}

// repeats says whether a line was in the log before, by a fork that this process is
// started in place of. Each line of that counts once.
func (a *agent) repeats(line string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.told[line] == 0 {
		return false
	}
	a.told[line]--
	return true
}

// replayed takes one answer.
func (a *agent) replayed(r agentenv.Replay) {
	a.update(func(p *deployments.Process) {
		if p.Replaying > 0 {
			p.Replays, p.Replaying = append(p.Replays, r), p.Replaying-1
		}
	})
}

// order asks the environment's zygote for a fork; nil when the process is to be started.
func (a *agent) order() *os.File {
	a.mu.Lock()
	alone := a.alone
	a.mu.Unlock()
	if alone || a.version.launch.Document.Program != nil {
		return nil
	}
	return a.runtime.zygotes.order(a.version.launch.Artifact.GetEnvironmentPath(), a.stop)
}

// update changes what others see, and tells them.
func (a *agent) update(change func(*deployments.Process)) {
	a.mu.Lock()
	change(&a.process)
	a.mu.Unlock()
	a.runtime.news.tell(a.version.key)
}

// look tells how it is.
func (a *agent) look() deployments.Process {
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.process
	p.Replays = slices.Clone(p.Replays)
	if a.tail != nil {
		p.Output = a.tail.Text()
	}
	return p
}

// end drains the process and waits until it is gone.
func (a *agent) end(ctx context.Context) error {
	a.stopOnce.Do(func() { close(a.stop) })
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *agent) stopping() bool {
	select {
	case <-a.stop:
		return true
	default:
		return false
	}
}

func (a *agent) drain() time.Duration {
	if s := a.version.launch.Document.DrainSeconds; s > 0 {
		return time.Duration(s) * time.Second
	}
	return defaultDrain
}

func (a *agent) say(level busv1.LogLevel, text string) {
	a.version.logs.platform(level, text)
}

// describe tells of agents, newest first.
func describe(agents []*agent) []*schedulerv1.Agent {
	slices.SortFunc(agents, func(x, y *agent) int {
		return cmp.Or(y.started.Compare(x.started), strings.Compare(string(x.role), string(y.role)))
	})
	var all []*schedulerv1.Agent
	for _, a := range agents {
		a.mu.Lock()
		told := &schedulerv1.Agent{
			InstanceId: a.instance(), VersionId: a.version.key.version, Role: string(a.role),
			State: a.process.State, Restarts: int32(a.restarts), LastError: a.lastErr, Pid: int64(a.pid), //nolint:gosec // small
		}
		a.mu.Unlock()
		told.MemoryBytes, told.CpuSeconds = a.runtime.box.usage(boxName(a))
		all = append(all, told)
	}
	return all
}
