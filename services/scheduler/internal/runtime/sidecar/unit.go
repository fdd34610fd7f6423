package sidecar

import (
	"context"
	"fmt"
	"sync"
	"time"

	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/stdiomux"
)

const (
	backoffMin = 200 * time.Millisecond
	backoffMax = 30 * time.Second
	// steady is how long a process must have lived for its end to be a new beginning.
	steady = time.Minute
	// manyEnds in a row, each before that, are a crash loop.
	manyEnds = 3
	// lastWord is how long a client may take to hear why its server does not start.
	lastWord = 2 * time.Second
	// maxLine bounds one message, and maxClients those of one server.
	maxLine    = 16 << 20
	maxClients = 64
)

// unit is a process, and the next when it ends, with those who speak with it.
type unit struct {
	server *server
	number int
	name   string // of its box
	mux    *stdiomux.Mux
	wanted chan struct{}   // a client has come
	done   chan struct{}   // closed when all has ended
	ctx    context.Context //nolint:containedctx // its end ends all
	stop   context.CancelFunc

	mu       sync.Mutex
	state    schedulerv1.AgentState
	restarts int
	lastErr  string
	pid      int
	users    int
	end      context.CancelFunc // of the process that runs
	idle     *time.Timer
}

func newUnit(s *server, number int) *unit {
	u := &unit{
		server: s, number: number, wanted: make(chan struct{}, 1), done: make(chan struct{}),
		state: schedulerv1.AgentState_AGENT_STATE_STOPPED,
		name:  fmt.Sprintf("%s-sidecar-%d-%d", s.set.options.Name, s.index, number),
	}
	u.ctx, u.stop = context.WithCancel(s.set.ctx)
	u.mux = stdiomux.New(stdiomux.Options{
		Name: s.name, MaxLine: maxLine, MaxQueue: maxLine, MaxClients: maxClients, Output: func(line []byte) { u.says("stdout", line) },
	})
	return u
}

func (u *unit) set() *Set { return u.server.set }

// attach serves a client of a shared process.
func (u *unit) attach(c client) {
	u.come()
	defer u.leave()
	if err := u.mux.Attach(u.ctx, c); err != nil {
		u.set().options.Platform(busv1.LogLevel_LOG_LEVEL_WARNING, fmt.Sprintf("a connection to the MCP server %s ended: %v", u.server.name, err))
	}
}

func (u *unit) come() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.users++; u.idle != nil {
		u.idle.Stop()
	}
	select {
	case u.wanted <- struct{}{}:
	default:
	}
}

func (u *unit) leave() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.users--; u.users == 0 {
		u.idle = time.AfterFunc(u.set().options.Idle, u.unused)
	}
}

// unused ends a process that has no clients.
func (u *unit) unused() {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.users == 0 && u.end != nil {
		u.end()
	}
}

// close is called when all has ended.
func (u *unit) close() {
	u.stop()
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.idle != nil {
		u.idle.Stop()
	}
	close(u.done)
}

// keep runs the process while it has clients, again and again.
func (u *unit) keep() {
	defer u.server.over(u)
	backoff, ends := backoffMin, 0
	for u.awaited() {
		end := u.once(u.ctx)
		if end.asked {
			continue // nobody was there any more
		}
		if end.lived > steady {
			backoff, ends = backoffMin, 0
		}
		ends++
		u.ended(end, backoff, ends >= manyEnds)
		if ends >= manyEnds || !end.ready {
			u.mux.Down(u.reason(end))
		}
		select {
		case <-u.ctx.Done():
		case <-time.After(backoff):
		}
		u.mux.Up()
		backoff = min(2*backoff, backoffMax)
	}
}

func (u *unit) reason(end ending) string {
	if end.ready {
		return fmt.Sprintf("the MCP server %s ends again and again: %s", u.server.name, end.reason)
	}
	return fmt.Sprintf("the MCP server %s does not start: %s", u.server.name, end.reason)
}

// awaited waits until a client is there; false when the version has ended.
func (u *unit) awaited() bool {
	for {
		u.mu.Lock()
		users := u.users
		u.mu.Unlock()
		if users > 0 || u.ctx.Err() != nil {
			return u.ctx.Err() == nil
		}
		select {
		case <-u.ctx.Done():
		case <-u.wanted:
		}
	}
}

// ended writes down an end that nobody asked for.
func (u *unit) ended(end ending, backoff time.Duration, loop bool) {
	state := schedulerv1.AgentState_AGENT_STATE_BACKOFF
	if loop {
		state = schedulerv1.AgentState_AGENT_STATE_CRASH_LOOP
	}
	u.mu.Lock()
	u.restarts++
	u.lastErr = end.reason
	u.mu.Unlock()
	u.update(state, 0)
	u.set().options.Platform(busv1.LogLevel_LOG_LEVEL_ERROR,
		fmt.Sprintf("the MCP server %s ended and is started again in %s: %s", u.server.name, backoff, end.reason))
}

// alone serves a client that has a process of its own, which ends with it.
func (u *unit) alone(c client) {
	defer u.server.over(u)
	ctx, cancel := context.WithCancel(u.ctx)
	defer cancel()
	left := make(chan struct{})
	go func() {
		defer close(left)
		defer cancel()
		_ = u.mux.Attach(ctx, c) // the client's own matter
	}()
	end := u.once(ctx)
	if !end.asked {
		u.set().options.Platform(busv1.LogLevel_LOG_LEVEL_ERROR, fmt.Sprintf("the MCP server %s ended: %s", u.server.name, end.reason))
		u.mux.Down(u.reason(end))
		select {
		case <-left:
		case <-time.After(lastWord):
		}
	}
	cancel()
	<-left
}

func (u *unit) update(state schedulerv1.AgentState, pid int) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.state, u.pid = state, pid
}

func (u *unit) look() *schedulerv1.Agent {
	u.mu.Lock()
	a := &schedulerv1.Agent{
		Role: Role, Server: u.server.name, State: u.state, Restarts: int32(u.restarts), LastError: u.lastErr, Pid: int64(u.pid), //nolint:gosec // small
	}
	u.mu.Unlock()
	a.Clients = int32(u.mux.Clients()) //nolint:gosec // at most maxClients
	a.MemoryBytes, a.CpuSeconds = u.set().options.Machine.Usage(u.name)
	return a
}
