package allinone

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

const (
	childStop   = 25 * time.Second
	backoffMin  = 100 * time.Millisecond
	backoffMax  = 5 * time.Second
	steadyAfter = 30 * time.Second
	// earlyDeaths in a row mean that a child cannot start at all.
	earlyDeaths = 8
)

// child is a program that is started again when it ends.
type child struct {
	name, path string
	args       []string
	out        io.Writer
	log        *slog.Logger
}

// supervise keeps the child running until ctx ends, then has it drain. It gives up on
// one that ends at once again and again.
func (c child) supervise(ctx context.Context) error {
	// The kernel ends the child when the thread that started it ends, so that thread
	// must stay for as long as the child does (prctl(2), PR_SET_PDEATHSIG).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	backoff, early := backoffMin, 0
	for {
		start := time.Now()
		err := c.once(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(start) > steadyAfter {
			backoff, early = backoffMin, 0
		}
		if early++; early >= earlyDeaths {
			return fmt.Errorf("it ended %d times right after its start: %w", early, err)
		}
		c.log.Warn("a child ended and is started again", "child", c.name, "after", time.Since(start).String(), "error", err)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(backoff):
		}
		backoff = min(2*backoff, backoffMax)
	}
}

// once runs the child to its end.
func (c child) once(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, c.path, c.args...)
	cmd.Stdout, cmd.Stderr = c.out, c.out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // Ctrl-C is for us alone
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = childStop
	if err := cmd.Run(); err != nil {
		return err
	}
	return fmt.Errorf("it ended by itself")
}
