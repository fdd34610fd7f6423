package sidecar

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/stdiomux"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/lines"
)

const (
	// grace is how long a process may take to end after it was asked, and lastGrace its
	// first process to sweep up after it was told to kill it.
	grace     = 2 * time.Second
	lastGrace = time.Second
	// lastLines is how long the pipes of an ended process are read.
	lastLines = time.Second
)

// ending is how one process ended.
type ending struct {
	asked  bool // we ended it
	ready  bool // it had shaken hands
	lived  time.Duration
	reason string
}

// process is one process from start to end.
type process struct {
	unit                          *unit
	cmd                           *exec.Cmd
	stdin, stdout, stderr         *os.File
	theirIn, theirOut, theirError *os.File
	gate, theirGate               *os.File
	exited                        chan struct{}
	exit                          error
	tail                          tail
	stopOnce                      sync.Once
	waits                         sync.WaitGroup
}

// once runs a process to its end, which the end of ctx asks for.
func (u *unit) once(parent context.Context) ending {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	u.mu.Lock()
	u.end = cancel
	if u.server.config.Shared && u.users == 0 {
		cancel() // the last client left meanwhile
	}
	u.mu.Unlock()
	begin := u.set().options.Now()
	u.update(schedulerv1.AgentState_AGENT_STATE_STARTING, 0)
	p := &process{unit: u, exited: make(chan struct{})}
	defer p.clean()
	if err := p.start(); err != nil {
		return ending{asked: ctx.Err() != nil, reason: err.Error()}
	}
	u.update(schedulerv1.AgentState_AGENT_STATE_STARTING, p.cmd.Process.Pid)
	ready := false
	err := u.mux.Serve(ctx, stdiomux.Process{
		Stdout: p.stdout, Stdin: p.stdin, Kill: p.stop, Why: p.why,
		Ready: func() {
			ready = true
			u.update(schedulerv1.AgentState_AGENT_STATE_READY, p.cmd.Process.Pid)
		},
	})
	asked := ctx.Err() != nil
	p.stop()
	p.waits.Wait()
	u.update(schedulerv1.AgentState_AGENT_STATE_STOPPED, 0)
	return ending{asked: asked, ready: ready, lived: u.set().options.Now().Sub(begin), reason: err.Error()}
}

func (p *process) scratch() string { return filepath.Join(p.unit.set().dir, p.unit.name) }

func (p *process) start() error {
	u := p.unit
	for _, dir := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(p.scratch(), dir), 0o700); err != nil {
			return err
		}
	}
	if err := p.pipes(); err != nil {
		return err
	}
	defer closeAll(p.theirIn, p.theirOut, p.theirError, p.theirGate, p.gate)
	config := u.server.config
	p.cmd = agentinit.Sidecar(config.Limits.Files, config.Command, config.Args...)
	p.cmd.Dir = u.set().options.AppDir
	if config.Dir != "" {
		p.cmd.Dir = filepath.Join(p.cmd.Dir, config.Dir)
		if filepath.IsAbs(config.Dir) {
			p.cmd.Dir = config.Dir
		}
	}
	p.cmd.Env = p.environment()
	p.cmd.Stdin, p.cmd.Stdout, p.cmd.Stderr, p.cmd.ExtraFiles = p.theirIn, p.theirOut, p.theirError, []*os.File{p.theirGate}
	err := u.set().options.Machine.Start(u.name, config.Limits, Command{p.cmd, func() error {
		_, err := p.gate.Write([]byte{1})
		return err
	}})
	if err != nil {
		return fmt.Errorf("the process cannot be started: %w", err)
	}
	p.waits.Go(p.wait)
	p.waits.Go(func() {
		lines.Each(p.stderr, agentenv.MaxLine, func(line []byte) { p.tail.add(u.says("stderr", line)) })
	})
	return nil
}

func (p *process) pipes() error {
	var errs []error
	open := func(read, write **os.File) {
		r, w, err := os.Pipe()
		*read, *write = r, w
		errs = append(errs, err)
	}
	open(&p.theirIn, &p.stdin)
	open(&p.stdout, &p.theirOut)
	open(&p.stderr, &p.theirError)
	open(&p.theirGate, &p.gate)
	err := errors.Join(errs...)
	if err != nil {
		closeAll(p.theirIn, p.theirOut, p.theirError, p.theirGate, p.gate)
	}
	return err
}

// environment is all that a sidecar sees of the machine, and what its settings say.
func (p *process) environment() []string {
	env := map[string]string{
		"PATH": p.unit.set().options.Path, "HOME": filepath.Join(p.scratch(), "home"), "TMPDIR": filepath.Join(p.scratch(), "tmp"), "LANG": "C.UTF-8",
		"PYTHONDONTWRITEBYTECODE": "1",
	}
	maps.Copy(env, p.unit.server.config.Env)
	var all []string
	for _, name := range slices.Sorted(maps.Keys(env)) {
		all = append(all, name+"="+env[name])
	}
	return all
}

func (p *process) wait() {
	p.exit = p.cmd.Wait()
	close(p.exited)
	deadline := time.Now().Add(lastLines) // a child may hold the other end
	_ = p.stdout.SetReadDeadline(deadline)
	_ = p.stderr.SetReadDeadline(deadline)
}

// stop ends the process: by the end of its input and SIGTERM, then its whole session,
// then whatever is left.
func (p *process) stop() {
	p.stopOnce.Do(func() {
		p.waits.Go(func() {
			_ = p.stdin.Close()
			for _, step := range []struct {
				signal syscall.Signal
				wait   time.Duration
			}{{syscall.SIGTERM, grace}, {syscall.SIGQUIT, lastGrace}} {
				_ = p.cmd.Process.Signal(step.signal)
				select {
				case <-p.exited:
					return
				case <-time.After(step.wait):
				}
			}
			_ = p.cmd.Process.Kill()
		})
	})
}

// why says how the process ended; it ends one that has only closed its output.
func (p *process) why() string {
	p.stop()
	<-p.exited
	var state *exec.ExitError
	how := "it ended by itself"
	limit := p.unit.server.config.Limits.MemoryBytes
	switch {
	case p.unit.set().options.Machine.Starved(p.unit.name):
		how = fmt.Sprintf("it used more than %d MiB of memory (memory_mb of sidecars.%s in agentcloud.yaml, agents.sidecars.memory_mb of the cloud)", limit>>20, p.unit.server.name)
	case errors.As(p.exit, &state):
		how = agentinit.Explain(state.ProcessState)
	case p.exit != nil:
		how = p.exit.Error()
	}
	if last := p.tail.last(); last != "" {
		how += ": " + last
	}
	return how
}

// clean removes what the process leaves behind.
func (p *process) clean() {
	p.unit.set().options.Machine.Remove(p.unit.name)
	closeAll(p.stdin, p.stdout, p.stderr)
	if err := os.RemoveAll(p.scratch()); err != nil {
		p.unit.set().options.Log.Warn("scratch files of a sidecar stay behind", "error", err)
	}
}

func closeAll(files ...*os.File) {
	for _, f := range files {
		if f != nil {
			_ = f.Close()
		}
	}
}
