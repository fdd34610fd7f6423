package engine

import (
	"context"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// isolation is how builds are walled in: a process group always, so that one signal
// reaches them, and where the machine allows a PID namespace, which reaches even
// what has left the group, and folders that look empty.
type isolation struct {
	flags uintptr
	user  bool
	hide  []string
}

func (i *isolation) namespaces() bool { return i.flags != 0 }

// probeIsolation tries the strongest walls first.
func probeIsolation(ctx context.Context, hide []string) *isolation {
	hide = folders(hide)
	for _, try := range []*isolation{
		{flags: syscall.CLONE_NEWPID, hide: hide},
		{flags: syscall.CLONE_NEWPID, user: true, hide: hide},
		{flags: syscall.CLONE_NEWPID},
		{flags: syscall.CLONE_NEWPID, user: true},
	} {
		if try.works(ctx) {
			return try
		}
	}
	return &isolation{}
}

func (i *isolation) works(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	path, args := i.wrap("/bin/true", nil)
	cmd := exec.CommandContext(ctx, path, args...) //nolint:gosec // constants and the operator's folders
	i.apply(cmd)
	return runLocked(cmd) == nil
}

// wrap makes the folders look empty before the program starts.
func (i *isolation) wrap(path string, args []string) (string, []string) {
	if len(i.hide) == 0 {
		return path, args
	}
	all := append([]string{"-c", hideScript, "sh"}, i.hide...)
	return "/bin/sh", append(append(all, "--", path), args...)
}

func (i *isolation) apply(cmd *exec.Cmd) {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: i.flags}
	if i.user {
		attr.Cloneflags |= syscall.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}}
	}
	if len(i.hide) > 0 {
		attr.Unshareflags = syscall.CLONE_NEWNS
	}
	cmd.SysProcAttr = attr
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

func folders(names []string) []string {
	var out []string
	for _, name := range names {
		if isFolder(name) {
			out = append(out, name)
		}
	}
	return out
}
