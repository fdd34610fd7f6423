package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// cgroupRoot is the folder of all our groups.
const cgroupRoot = "agentcloud"

// box contains agents: namespaces of their own, so that nothing of them outlives them,
// and groups with limits (cgroups(7)), as far as the machine allows.
type box struct {
	namespaces bool
	groups     groups
	log        *slog.Logger
}

// groups puts limits on processes; both versions of the kernel interface do it.
type groups interface {
	// enter makes the group and moves a process into it.
	enter(name string, pid int) error
	// usage is memory in bytes and processor time in seconds.
	usage(name string) (memory int64, cpu float64)
	// oomKills is how many processes of the group the kernel ended for want of memory.
	oomKills(name string) uint64
	remove(name string) error
}

func newBox(options Options) (*box, error) {
	b := &box{namespaces: os.Geteuid() == 0, log: options.Log}
	prefix := filepath.Join("/", cgroupRoot, filepath.Base(filepath.Dir(options.Dir))+"-"+short(options.Dir))
	groups, err := newGroups(prefix, options)
	b.groups = groups
	if err == nil && b.namespaces {
		return b, nil
	}
	if err == nil {
		err = errors.New("only root may give agents namespaces of their own")
	}
	if options.RequireIsolation {
		return nil, errors.Join(errors.New("agents.require_isolation is set, and this machine cannot contain agents"), err)
	}
	options.Log.WarnContext(context.Background(), "agents are not fully contained on this machine", "error", err)
	return b, nil
}

// isolate prepares a command.
func (b *box) isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if b.namespaces {
		cmd.SysProcAttr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWNS
	}
}

func (b *box) enter(name string, pid int) error {
	if b.groups == nil {
		return nil
	}
	return b.groups.enter(name, pid)
}

func (b *box) usage(name string) (memory int64, cpu float64) {
	if b.groups == nil {
		return 0, 0
	}
	return b.groups.usage(name)
}

func (b *box) oomKills(name string) uint64 {
	if b.groups == nil {
		return 0
	}
	return b.groups.oomKills(name)
}

func (b *box) remove(name string) {
	if b.groups == nil {
		return
	}
	if err := b.groups.remove(name); err != nil {
		b.log.WarnContext(context.Background(), "a group of an agent stays behind", "name", name, "error", err)
	}
}
