package process

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/lines"
)

const (
	scratchDir = "scratch"
	// silence is how long a process may take to say its first word.
	silence = 2 * time.Minute
	// lastWords is how long the pipes of an ended process are read.
	lastWords   = 2 * time.Second
	launchLimit = 30 * time.Second
)

// run is one process from start to end.
type run struct {
	agent   *agent
	cmd     *exec.Cmd
	pipes   *pipes
	tail    *lines.Tail
	scratch string
	report  agentenv.Status
	spoke   chan struct{}
	forked  bool // a zygote was asked for it
	said    said // what a fork has said until it is ready
}

// mostSaid bounds what is remembered of a fork, lines.
const mostSaid = 1000

// said counts lines. Several goroutines may add some.
type said struct {
	mu    sync.Mutex
	lines map[string]int
}

func (s *said) add(line string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lines == nil {
		s.lines = map[string]int{}
	}
	if len(s.lines) < mostSaid {
		s.lines[line]++
	}
}

func (s *said) all() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.lines)
}

// once runs the process to its end.
func (a *agent) once() ending {
	begin := a.runtime.options.Now()
	r := &run{agent: a, tail: &lines.Tail{}, spoke: make(chan struct{})}
	a.update(func(p *deployments.Process) { p.State, a.tail = schedulerv1.AgentState_AGENT_STATE_STARTING, r.tail })
	err := r.start()
	if err != nil {
		r.clean()
		return ending{reason: "the process cannot be started: " + err.Error(), forked: r.forked}
	}
	exit := r.wait()
	a.update(func(p *deployments.Process) { p.Replaying = 0 })
	killed, peak := a.runtime.box.oomKills(boxName(a)) > 0, a.runtime.box.peak(boxName(a))
	r.clean()
	return ending{
		lived: a.runtime.options.Now().Sub(begin), reason: r.why(exit, killed), output: r.tail.Text(), report: r.report, forked: r.forked, said: r.said.all(),
		exit: agentinit.Explain(r.cmd.ProcessState), peak: cmp.Or(peak, largest(r.cmd.ProcessState)),
	}
}

// start makes pipes and scratch folder, starts the process and tells it what it is.
func (r *run) start() error {
	a := r.agent
	r.scratch = filepath.Join(a.runtime.scratch(), boxName(a))
	for _, dir := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(r.scratch, dir), 0o700); err != nil {
			return err
		}
	}
	var err error
	if r.pipes, err = openPipes(); err != nil {
		return err
	}
	defer r.pipes.closeTheirs()
	artifact := a.version.launch.Artifact
	r.cmd = a.command()
	r.cmd.Dir = artifact.GetAppPath()
	r.cmd.Env = environment(artifact.GetEnvironmentPath(), r.scratch)
	r.cmd.Stdout, r.cmd.Stderr = r.pipes.theirs.stdout, r.pipes.theirs.stderr
	r.cmd.ExtraFiles = r.pipes.extra(a.seat.socket, a.role)
	if order := a.order(); order != nil {
		defer order.Close() //nolint:errcheck // the process has its own by then
		agentinit.Fork(r.cmd, order, a.runtime.box.entrances(boxName(a)))
		r.forked = true
	}
	a.runtime.box.isolate(r.cmd)
	if err := a.runtime.starter.start(r.cmd); err != nil {
		return err
	}
	a.mu.Lock()
	a.pid = r.cmd.Process.Pid
	a.mu.Unlock()
	if err := a.runtime.box.enter(boxName(a), r.cmd.Process.Pid); err != nil {
		_ = r.cmd.Process.Kill()
		_ = r.cmd.Wait()
		return err
	}
	r.read()
	return r.tell()
}

// tell opens the gate and writes the launch document. It is in memory only.
func (r *run) tell() error {
	raw, err := json.Marshal(r.agent.document())
	if err != nil {
		return err
	}
	_, err = r.pipes.ours.gate.Write([]byte{1})
	_ = r.pipes.ours.gate.Close()
	go func() {
		_ = r.pipes.ours.launch.SetWriteDeadline(time.Now().Add(launchLimit))
		_, _ = r.pipes.ours.launch.Write(raw)
		_ = r.pipes.ours.launch.Close()
	}()
	return err
}

// read takes what the process says on its four pipes.
func (r *run) read() {
	r.pipes.each(r.pipes.ours.log, func(line []byte) { r.take(agentenv.ParseLogLine(line, time.Now())) })
	r.pipes.each(r.pipes.ours.stdout, func(line []byte) { r.take(agentenv.OutputLine(1, line, time.Now())) })
	r.pipes.each(r.pipes.ours.stderr, func(line []byte) { r.take(agentenv.OutputLine(2, line, time.Now())) }) //nolint:mnd // standard error
	spoken := false
	r.pipes.each(r.pipes.ours.status, func(line []byte) {
		status, err := agentenv.ParseStatus(line)
		if err != nil {
			return
		}
		if status.State == agentenv.StateReplayed {
			r.agent.replayed(*status.Replay)
			return
		}
		if r.report = status; !spoken {
			spoken = true
			close(r.spoke)
		}
		r.agent.heard(status)
	})
}

// take keeps a line, and brings to the log what is not there yet.
func (r *run) take(line agentenv.LogLine) {
	r.tail.Add(line.Msg)
	if r.forked {
		r.said.add(line.Msg)
	}
	if !r.agent.repeats(line.Msg) {
		r.agent.version.logs.agent(r.agent.role, line)
	}
}

// wait ends the process when it is told to, or when it says nothing at all.
func (r *run) wait() error {
	exited := make(chan error, 1)
	go func() { exited <- r.cmd.Wait() }()
	quiet := time.After(silence)
	for {
		select {
		case err := <-exited:
			r.pipes.finish(lastWords)
			return err
		case <-r.spoke:
			quiet, r.spoke = nil, nil
		case <-quiet:
			_ = r.cmd.Process.Kill()
			err := <-exited
			r.pipes.finish(lastWords)
			return errors.Join(errSilent, err)
		case <-r.agent.stop:
			r.drain(exited)
			r.pipes.finish(lastWords)
			return nil
		}
	}
}

var errSilent = fmt.Errorf("it said nothing for %s after its start", silence)

// drain asks the process to end and kills it when it does not.
func (r *run) drain(exited <-chan error) {
	_ = r.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-exited: //nolint:errcheck // how it ended is no matter here
	case <-time.After(r.agent.drain() + killAfter):
		r.agent.say(busv1.LogLevel_LOG_LEVEL_WARNING, fmt.Sprintf("the %s did not end within its drain and was killed", r.agent.role))
		_ = r.cmd.Process.Kill()
		<-exited //nolint:errcheck // as above
	}
}

// clean removes what the process leaves behind.
func (r *run) clean() {
	r.agent.runtime.box.remove(boxName(r.agent))
	if r.pipes != nil {
		r.pipes.close()
	}
	if err := os.RemoveAll(r.scratch); err != nil {
		r.agent.runtime.options.Log.WarnContext(context.Background(), "scratch files stay behind", "error", err)
	}
	r.agent.mu.Lock()
	r.agent.pid = 0
	r.agent.mu.Unlock()
}

// largest is the most memory that a process or one that it waited for had resident, by
// getrusage(2); where there is no group to ask.
func largest(state *os.ProcessState) int64 {
	if usage, ok := state.SysUsage().(*syscall.Rusage); ok {
		return usage.Maxrss << 10
	}
	return 0
}

// why says in a sentence how the process ended.
func (r *run) why(exit error, oom bool) string {
	var state *exec.ExitError
	limit := r.agent.runtime.options.MemoryBytes
	switch {
	case oom:
		return fmt.Sprintf("the %s was ended because it used more than %d MiB of memory (agents.memory_mb)", r.agent.role, limit>>20)
	case errors.Is(exit, errSilent):
		return fmt.Sprintf("the %s said nothing for %s after its start", r.agent.role, silence)
	case exit == nil:
		return fmt.Sprintf("the %s ended by itself", r.agent.role)
	case errors.As(exit, &state):
		return fmt.Sprintf("the %s ended with %s", r.agent.role, agentinit.Explain(state.ProcessState))
	}
	return fmt.Sprintf("the %s ended: %v", r.agent.role, exit)
}

func boxName(a *agent) string { return a.instance() + "-" + string(a.role) }
