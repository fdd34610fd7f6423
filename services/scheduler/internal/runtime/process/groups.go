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
	entrance    = "cgroup.procs"
)

// short names a folder in few letters.
func short(dir string) string {
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:4])
}

// newGroups finds out which kernel interface there is and clears groups of earlier agents.
func newGroups(prefix string, limits *specs.LinuxResources) (groups, error) {
	switch cgroups.Mode() {
	case cgroups.Unified:
		return newUnified(prefix, limits)
	case cgroups.Legacy, cgroups.Hybrid:
		return newLegacy(prefix, limits)
	}
	return nil, errors.New("this machine has no cgroups")
}

// resources are bounds; 0: none.
func resources(memory, processes int64, cpus float64) *specs.LinuxResources {
	limits := &specs.LinuxResources{}
	if memory > 0 {
		limits.Memory = &specs.LinuxMemory{Limit: &memory}
	}
	if processes > 0 {
		limits.Pids = &specs.LinuxPids{Limit: &processes}
	}
	if cpus > 0 {
		quota, period := int64(cpus*cpuPeriod), uint64(cpuPeriod)
		limits.CPU = &specs.LinuxCPU{Quota: &quota, Period: &period}
	}
	return limits
}

// legacy is version 1, a tree per kind of limit.
type legacy struct {
	prefix string
	trees  []string
	limits *specs.LinuxResources
	mu     sync.Mutex
	groups map[string]cgroup1.Cgroup
}

func newLegacy(prefix string, limits *specs.LinuxResources) (groups, error) {
	used, err := legacyTrees()
	if err != nil {
		return nil, fmt.Errorf("no limits for agents: %w", err)
	}
	l := &legacy{prefix: prefix, limits: limits, groups: map[string]cgroup1.Cgroup{}}
	for _, tree := range used {
		l.trees = append(l.trees, string(tree.Name()))
	}
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
	for _, tree := range l.trees {
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

func (l *legacy) enter(name string, pid int) error { return l.enterBounded(name, pid, l.limits) }

func (l *legacy) enterBounded(name string, pid int, limits *specs.LinuxResources) error {
	group, err := cgroup1.New(cgroup1.StaticPath(filepath.Join(l.prefix, name)), limits, cgroup1.WithHierarchy(legacyTrees))
	if err != nil {
		return fmt.Errorf("limit an agent: %w", err)
	}
	l.mu.Lock()
	l.groups[name] = group
	l.mu.Unlock()
	return group.AddProc(uint64(pid)) //nolint:gosec // a process id
}

func (l *legacy) entrances(name string) []string {
	var files []string
	for _, tree := range l.trees {
		files = append(files, filepath.Join(cgroupRoot2, tree, l.prefix, name, entrance))
	}
	return files
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

func (l *legacy) peak(name string) int64 {
	group := l.find(name)
	if group == nil {
		return 0
	}
	stats, err := group.Stat(cgroup1.IgnoreNotExist)
	if err != nil {
		return 0
	}
	return int64(stats.GetMemory().GetUsage().GetMax()) //nolint:gosec // bytes of memory
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

func (u *unified) enter(name string, pid int) error { return u.join(name, pid, u.limits) }

func (u *unified) enterBounded(name string, pid int, limits *specs.LinuxResources) error {
	return u.join(name, pid, cgroup2.ToResources(limits))
}

func (u *unified) join(name string, pid int, limits *cgroup2.Resources) error {
	group, err := cgroup2.NewManager(cgroupRoot2, filepath.Join(u.prefix, name), limits)
	if err != nil {
		return fmt.Errorf("limit an agent: %w", err)
	}
	u.mu.Lock()
	u.groups[name] = group
	u.mu.Unlock()
	return group.AddProc(uint64(pid)) //nolint:gosec // a process id
}

func (u *unified) entrances(name string) []string {
	return []string{filepath.Join(cgroupRoot2, u.prefix, name, entrance)}
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

func (u *unified) peak(name string) int64 {
	group := u.find(name)
	if group == nil {
		return 0
	}
	stats, err := group.Stat()
	if err != nil {
		return 0
	}
	return int64(stats.GetMemory().GetMaxUsage()) //nolint:gosec // bytes of memory
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
