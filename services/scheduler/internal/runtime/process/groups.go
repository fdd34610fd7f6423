package process

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/cgroups/v3/cgroup1"
	"github.com/containerd/cgroups/v3/cgroup2"
	specs "github.com/opencontainers/runtime-spec/specs-go"
)

const (
	cpuPeriod   = 100_000 // microseconds
	cgroupRoot2 = "/sys/fs/cgroup"
)

// short names a folder in few letters.
func short(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}

// newGroups finds out which kernel interface there is and clears groups of earlier agents.
func newGroups(prefix string, options Options) (groups, error) {
	limits := resources(options)
	switch cgroups.Mode() {
	case cgroups.Unified:
		return newUnified(prefix, limits)
	case cgroups.Legacy, cgroups.Hybrid:
		return newLegacy(prefix, limits)
	}
	return nil, errors.New("this machine has no cgroups")
}

func resources(o Options) *specs.LinuxResources {
	limits := &specs.LinuxResources{}
	if o.MemoryBytes > 0 {
		limits.Memory = &specs.LinuxMemory{Limit: &o.MemoryBytes}
	}
	if o.Processes > 0 {
		limits.Pids = &specs.LinuxPids{Limit: &o.Processes}
	}
	if o.CPUs > 0 {
		quota, period := int64(o.CPUs*cpuPeriod), uint64(cpuPeriod)
		limits.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return limits
}

// legacy is version 1, a tree per kind of limit.
type legacy struct {
	prefix string
	limits *specs.LinuxResources
	mu     sync.Mutex
	groups map[string]cgroup1.Cgroup
}

func newLegacy(prefix string, limits *specs.LinuxResources) (groups, error) {
	l := &legacy{prefix: prefix, limits: limits, groups: map[string]cgroup1.Cgroup{}}
	probe, err := cgroup1.New(cgroup1.StaticPath(filepath.Join(prefix, "probe")), limits, cgroup1.WithHierarchy(legacyTrees))
	if err != nil {
		return nil, fmt.Errorf("no limits for agents: %w", err)
	}
	if err := probe.Delete(); err != nil {
		return nil, fmt.Errorf("no limits for agents: %w", err)
	}
	return l, l.clear()
}

// legacyTrees are the kinds of limit that we use.
func legacyTrees() ([]cgroup1.Subsystem, error) {
	all, err := cgroup1.Default()
	if err != nil {
		return nil, err
	}
	var used []cgroup1.Subsystem
	for _, s := range all {
		switch s.Name() {
		case cgroup1.Memory, cgroup1.Pids, cgroup1.Cpu, cgroup1.Cpuacct:
			used = append(used, s)
		}
	}
	return used, nil
}

func (l *legacy) clear() error {
	for _, tree := range []string{"memory", "pids", "cpu", "cpuacct"} {
		dir := filepath.Join(cgroupRoot2, tree, l.prefix)
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if entry.IsDir() {
				_ = os.Remove(filepath.Join(dir, entry.Name())) // busy: its processes are ending
			}
		}
	}
	return nil
}

func (l *legacy) enter(name string, pid int) error {
	group, err := cgroup1.New(cgroup1.StaticPath(filepath.Join(l.prefix, name)), l.limits, cgroup1.WithHierarchy(legacyTrees))
	if err != nil {
		return fmt.Errorf("limit an agent: %w", err)
	}
	l.mu.Lock()
	l.groups[name] = group
	l.mu.Unlock()
	return group.AddProc(uint64(pid)) //nolint:gosec // a process id
}

func (l *legacy) find(name string) cgroup1.Cgroup {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.groups[name]
}

func (l *legacy) usage(name string) (memory int64, cpu float64) {
	group := l.find(name)
	if group == nil {
		return 0, 0
	}
	stats, err := group.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return 0, 0
	}
	const nano = 1e9
	return int64(stats.GetMemory().GetRSS()), float64(stats.GetCPU().GetUsage().GetTotal()) / nano //nolint:gosec // bytes of memory
}

func (l *legacy) oomKills(name string) uint64 {
	group := l.find(name)
	if group == nil {
		return 0
	}
	stats, err := group.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return 0
	}
	return stats.GetMemoryOomControl().GetOomKill()
}

func (l *legacy) remove(name string) error {
	group := l.find(name)
	if group == nil {
		return nil
	}
	l.mu.Lock()
	delete(l.groups, name)
	l.mu.Unlock()
	return group.Delete()
}

// unified is version 2.
type unified struct {
	prefix string
	limits *cgroup2.Resources
	mu     sync.Mutex
	groups map[string]*cgroup2.Manager
}

func newUnified(prefix string, limits *specs.LinuxResources) (groups, error) {
	u := &unified{prefix: prefix, limits: cgroup2.ToResources(limits), groups: map[string]*cgroup2.Manager{}}
	probe, err := cgroup2.NewManager(cgroupRoot2, filepath.Join(prefix, "probe"), u.limits)
	if err != nil {
		return nil, fmt.Errorf("no limits for agents: %w", err)
	}
	return u, probe.Delete()
}

func (u *unified) enter(name string, pid int) error {
	group, err := cgroup2.NewManager(cgroupRoot2, filepath.Join(u.prefix, name), u.limits)
	if err != nil {
		return fmt.Errorf("limit an agent: %w", err)
	}
	u.mu.Lock()
	u.groups[name] = group
	u.mu.Unlock()
	return group.AddProc(uint64(pid)) //nolint:gosec // a process id
}

func (u *unified) find(name string) *cgroup2.Manager {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.groups[name]
}

func (u *unified) usage(name string) (memory int64, cpu float64) {
	group := u.find(name)
	if group == nil {
		return 0, 0
	}
	stats, err := group.Stat()
	if err != nil {
		return 0, 0
	}
	const micro = 1e6
	return int64(stats.GetMemory().GetUsage()), float64(stats.GetCPU().GetUsageUsec()) / micro //nolint:gosec // bytes of memory
}

func (u *unified) oomKills(name string) uint64 {
	group := u.find(name)
	if group == nil {
		return 0
	}
	stats, err := group.Stat()
	if err != nil {
		return 0
	}
	return stats.GetMemoryEvents().GetOomKill()
}

func (u *unified) remove(name string) error {
	group := u.find(name)
	if group == nil {
		return nil
	}
	u.mu.Lock()
	delete(u.groups, name)
	u.mu.Unlock()
	return errors.Join(group.Kill(), group.Delete())
}
