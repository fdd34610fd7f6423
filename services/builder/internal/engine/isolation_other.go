//go:build !linux

package engine

import (
	"context"
	"os/exec"
	"syscall"
)

// isolation is a process group, so that one signal reaches the whole build.
type isolation struct{}

func (*isolation) namespaces() bool { return false }

func probeIsolation(context.Context, []string) *isolation { return &isolation{} }

func (*isolation) wrap(path string, args []string) (string, []string) { return path, args }

func (*isolation) apply(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
