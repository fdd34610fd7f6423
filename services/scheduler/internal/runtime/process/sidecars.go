package process

import (
	"maps"
	"os/exec"
	"slices"
	"time"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/sidecar"
)

// SidecarOptions bound the stdio servers that run beside agents.
type SidecarOptions struct {
	// MemoryBytes, CPUs and Processes bound one with its children, when its project asks
	// for nothing else, of which it gets at most what an agent may have; 0: no bound.
	MemoryBytes, Processes int64
	CPUs                   float64
	// Files is how many one process may have open.
	Files uint64
	// Idle is how long one without clients is kept.
	Idle time.Duration
}

// openSidecars makes the way to a version's stdio servers, and tells its document.
func (r *Runtime) openSidecars(v *version) error {
	if len(v.launch.Sidecars) == 0 {
		return nil
	}
	artifact, document := v.launch.Artifact, v.launch.Document
	servers := map[string]sidecar.Server{}
	for name, s := range v.launch.Sidecars {
		servers[name] = sidecar.Server{
			Command: s.Command.Command, Args: s.Args, Env: s.Env, Dir: s.Dir, Shared: s.Shared, Limits: r.limits(s), Written: s.Written,
		}
	}
	set, err := sidecar.New(sidecar.Options{
		Dir: r.scratch(), Name: document.InstanceID, Path: searchPath(artifact.GetEnvironmentPath()), AppDir: artifact.GetAppPath(),
		Idle: r.options.Sidecars.Idle, Machine: machine{r}, Line: v.logs.sidecar, Platform: v.logs.platform,
		Secrets: slices.Concat(slices.Collect(maps.Values(document.Secrets)), slices.Collect(maps.Values(document.Env))),
		Log:     r.options.Log, Now: r.options.Now,
	}, servers)
	if err != nil {
		return err
	}
	address := set.Address()
	v.sidecars, v.launch.Document.Sidecars, v.launch.Sidecars = set, &address, nil
	return nil
}

func (r *Runtime) limits(s deployments.Sidecar) sidecar.Limits {
	o := r.options
	return sidecar.Limits{
		MemoryBytes: granted(s.MemoryBytes, o.Sidecars.MemoryBytes, o.MemoryBytes), Processes: granted(s.Processes, o.Sidecars.Processes, o.Processes),
		CPUs: granted(s.CPUs, o.Sidecars.CPUs, o.CPUs), Files: o.Sidecars.Files,
	}
}

// granted is what is asked for, or usual when nothing is, but never above most.
func granted[N int64 | float64](asked, usual, most N) N {
	got := asked
	if got == 0 {
		got = usual
	}
	if most > 0 && (got == 0 || got > most) {
		return most
	}
	return got
}

// rest ends the sidecars when the version's last process has ended.
func (v *version) rest() {
	if v.alive.Add(-1) == 0 && v.sidecars != nil {
		v.sidecars.Rest()
	}
}

// describeSidecars tells of a version's sidecars.
func (v *version) describeSidecars() []*schedulerv1.Agent {
	if v.sidecars == nil {
		return nil
	}
	all := v.sidecars.Look()
	for _, a := range all {
		a.InstanceId, a.VersionId = v.launch.Document.InstanceID, v.key.version
	}
	return all
}

// machine contains sidecars as agents are contained.
type machine struct{ runtime *Runtime }

func (m machine) Start(name string, limits sidecar.Limits, cmd sidecar.Command) error {
	m.runtime.box.isolate(cmd.Cmd)
	if err := m.runtime.starter.start(cmd.Cmd); err != nil {
		return err
	}
	err := m.runtime.box.enterBounded(name, cmd.Process.Pid, resources(limits.MemoryBytes, limits.Processes, limits.CPUs))
	if err == nil {
		err = cmd.Open()
	}
	if err != nil {
		abort(cmd.Cmd)
	}
	return err
}

// abort ends a process that has not begun yet.
func abort(cmd *exec.Cmd) {
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
}

func (m machine) Usage(name string) (memory int64, cpu float64) { return m.runtime.box.usage(name) }
func (m machine) Starved(name string) bool                      { return m.runtime.box.oomKills(name) > 0 }
func (m machine) Remove(name string)                            { m.runtime.box.remove(name) }
