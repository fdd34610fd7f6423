package process

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

// cgroupRoot is the folder of all our groups.
const cgroupRoot = "agentcloud"

// box contains agents: namespaces of their own, so that nothing of them outlives them,
// and groups with limits (cgroups(7)), as far as the machine allows.
type box struct {
	namespaces bool
	groups     groups
	zygotes    groups // theirs have another bound
	log        *slog.Logger
}

// groups puts limits on processes; both versions of the kernel interface do it.
type groups interface {
	// enter makes the group and moves a process into it.
	enter(name string, pid int) error
	// enterBounded does it with bounds of its own.
	enterBounded(name string, pid int, limits *specs.LinuxResources) error
	// usage is memory in bytes and processor time in seconds.
	usage(name string) (memory int64, cpu float64)
	// peak is the most memory that was used, bytes; 0: the kernel does not tell.
	peak(name string) int64
	// oomKills is how many processes of the group the kernel ended for want of memory.
	oomKills(name string) uint64
	remove(name string) error
	// entrances are files by which a process enters the group itself: it writes 0.
	entrances(name string) []string
}

func newBox(options Options) (*box, error) {
	b := &box{namespaces: os.Geteuid() == 0, log: options.Log}
	prefix := filepath.Join("/", cgroupRoot, filepath.Base(filepath.Dir(options.Dir))+"-"+short(options.Dir))
	groups, err := newGroups(prefix, resources(options.MemoryBytes, options.Processes, options.CPUs))
	b.groups = groups
	if err == nil {
		b.zygotes, err = newGroups(prefix+"-zygotes", resources(options.Zygotes.MemoryBytes, 0, 0))
	}
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

func (b *box) enterBounded(name string, pid int, limits *specs.LinuxResources) error {
	if b.groups == nil {
		return nil
	}
	return b.groups.enterBounded(name, pid, limits)
}

func (b *box) usage(name string) (memory int64, cpu float64) {
	if b.groups == nil {
		return 0, 0
	}
	return b.groups.usage(name)
}

func (b *box) peak(name string) int64 {
	if b.groups == nil {
		return 0
	}
	return b.groups.peak(name)
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

func (b *box) entrances(name string) []string {
	if b.groups == nil {
		return nil
	}
	return b.groups.entrances(name)
}

func (b *box) enterZygote(name string, pid int) error {
	if b.zygotes == nil {
		return nil
	}
	return b.zygotes.enter(name, pid)
}

func (b *box) removeZygote(name string) {
	if b.zygotes == nil {
		return
	}
	if err := b.zygotes.remove(name); err != nil {
		b.log.WarnContext(context.Background(), "a group of a zygote stays behind", "name", name, "error", err)
	}
}
