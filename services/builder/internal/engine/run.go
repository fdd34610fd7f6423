package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
)

// afterKill is how long the output of a killed build is waited for.
const afterKill = 5 * time.Second

// errFailed says that a program ended with another code than zero; its output says why.
var errFailed = errors.New("the program failed")

// command is one program to run.
type command struct {
	path string
	args []string
	// work is the staging folder, where the program starts.
	work string
	// tools are programs that it calls by name.
	tools []string
	// quiet keeps the lines from the sink: they are an answer, not a story.
	quiet bool
}

// run runs a command to its end, gives its lines to sink and returns the last ones.
// When ctx ends, everything that the program has started is killed.
func (e *Engine) run(ctx context.Context, c command, sink Sink) (*tail, error) {
	walls, err := e.walls(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range []string{"home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(c.work, name), 0o700); err != nil {
			return nil, fmt.Errorf("make folder of build: %w", err)
		}
	}
	out := &tail{sink: sink}
	if c.quiet {
		out.sink = nil
	}
	path, args := walls.wrap(c.path, c.args)
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // the programs are the operator's choice
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.work, e.scrubbed(c.work, append(c.tools, c.path)...), out, out
	cmd.WaitDelay = afterKill
	walls.apply(cmd)
	err = runLocked(cmd)
	out.flush()
	if ctx.Err() != nil {
		return out, ctx.Err()
	}
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return out, errFailed
	case errors.Is(err, exec.ErrWaitDelay):
		return out, nil // it ended well, and left a child that held the output open
	case err != nil:
		return out, fault.Unavailable.Wrap(err, "%s cannot be run on this machine", filepath.Base(c.path))
	}
	return out, nil
}

// runLocked starts and waits on one thread: the kernel sends the parent-death
// signal when the thread that started a child ends, not the process.
func runLocked(cmd *exec.Cmd) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		done <- cmd.Run()
	}()
	return <-done
}
