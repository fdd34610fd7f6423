// Package process runs agents as processes of this machine: a server and a worker for
// each version. It starts them again when they end, and reads what they say.
//
// It decides nothing about which version should run, and keeps nothing but scratch
// files: agents end with the process that started them.
package process

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/sidecar"
)

// Options are the bounds of agents and where they report to.
type Options struct {
	// Dir is the runtime's own folder.
	Dir string
	// Init is the program of agentinit.Find.
	Init string
	// MemoryBytes, CPUs and Processes bound one agent process with its children; 0: no bound.
	MemoryBytes, Processes int64
	CPUs                   float64
	// Sidecars bound the stdio servers beside agents.
	Sidecars SidecarOptions
	// RequireIsolation refuses to run agents where the machine cannot contain them.
	RequireIsolation bool
	// Zygotes bound the processes that agents are forked from.
	Zygotes ZygoteOptions
	// Publish stores log lines; it returns when they are stored.
	Publish func(ctx context.Context, batch *busv1.LogBatch) error
	// NewLineID names a log line.
	NewLineID func() string
	Log       *slog.Logger
	Now       func() time.Time
}

// Runtime implements deployments.Runtime.
type Runtime struct {
	options Options
	host    string // folder of the launcher
	box     *box
	starter *starter
	zygotes *zygotes
	news    *news

	mu       sync.Mutex
	versions map[key]*version
	closed   bool
}

type key struct{ target, version string }

// New prepares the machine and clears what an earlier process left behind.
func New(options Options) (*Runtime, error) {
	if err := os.RemoveAll(filepath.Join(options.Dir, scratchDir)); err != nil {
		return nil, fmt.Errorf("clear scratch files of earlier agents: %w", err)
	}
	host, err := agenthost.Extract(filepath.Join(options.Dir, "host"))
	if err != nil {
		return nil, err
	}
	box, err := newBox(options)
	if err != nil {
		return nil, err
	}
	starter := newStarter()
	return &Runtime{
		options: options, host: host, box: box, starter: starter, zygotes: newZygotes(options, host, box, starter),
		news: newNews(), versions: map[key]*version{},
	}, nil
}

// scratch is the folder of what processes leave behind, which is cleared at a start.
func (r *Runtime) scratch() string { return filepath.Join(r.options.Dir, scratchDir) }

// version is what runs of one version.
type version struct {
	key    key
	launch deployments.Launch
	// home is where its first server listens, also while none runs. It is guarded by
	// Runtime.mu, as agents are.
	home   seat
	logs   *logs
	agents map[agentenv.Role][]*agent // one that was not started is not there
	// sidecars are its stdio servers; nil: it has none.
	sidecars *sidecar.Set
	alive    atomic.Int32 // processes of its own that are kept
}

var roles = []agentenv.Role{agentenv.RoleServer, agentenv.RoleWorker}

// list are the agents of a version, server first; r.mu is held.
func (v *version) list() []*agent {
	var all []*agent
	for _, role := range roles {
		all = append(all, v.agents[role]...)
	}
	return all
}

// Apply starts roles of a version, or does nothing when any of it runs already.
func (r *Runtime) Apply(_ context.Context, l deployments.Launch) error {
	k := key{l.TargetID, l.VersionID}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return fault.Unavailable.Errorf("the scheduler is stopping; try again in a moment")
	}
	if r.versions[k] != nil {
		return nil
	}
	home, err := listen()
	if err != nil {
		return err
	}
	v := &version{key: k, launch: l, home: home, logs: newLogs(r.options, l), agents: map[agentenv.Role][]*agent{}}
	if err := r.openSidecars(v); err != nil {
		home.close()
		v.logs.close()
		return err
	}
	for _, role := range roles {
		if len(l.Roles) == 0 || slices.Contains(l.Roles, role) {
			err = errors.Join(err, r.seatMore(v, role, max(l.Count, 1)))
		}
	}
	if err != nil {
		v.closeSeats()
		v.logs.close()
		return err
	}
	v.launch.Document.Histories = nil // the worker has them; they are large
	r.versions[k] = v
	for _, a := range v.list() {
		go a.keep()
	}
	return nil
}

// Start starts processes of one role of a version that runs, until there are count.
func (r *Runtime) Start(ctx context.Context, targetID, versionID string, role agentenv.Role, count int) error {
	for _, a := range r.findAgents(targetID, versionID, role) {
		if a.stopping() {
			if err := a.end(ctx); err != nil { // the next one would share its scratch folder
				return err
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.versions[key{targetID, versionID}]
	switch {
	case r.closed:
		return fault.Unavailable.Errorf("the scheduler is stopping; try again in a moment")
	case v == nil:
		return fault.Conflict.Errorf("the version does not run")
	}
	v.leave(role, (*agent).stopping)
	before := len(v.agents[role])
	err := r.seatMore(v, role, count)
	for _, a := range v.agents[role][before:] {
		go a.keep()
	}
	return err
}

// Stop drains and ends one role of a version; it returns when that has ended.
func (r *Runtime) Stop(ctx context.Context, targetID, versionID string, role agentenv.Role) error {
	all := r.findAgents(targetID, versionID, role)
	if err := endAll(ctx, all); err != nil || len(all) == 0 {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	// One is left to be looked at.
	all[0].version.leave(role, func(a *agent) bool { return slices.Contains(all[1:], a) })
	return nil
}

// Remove ends all of a version and forgets it.
func (r *Runtime) Remove(ctx context.Context, targetID, versionID string) error {
	v := r.find(targetID, versionID)
	if v == nil {
		return nil
	}
	r.mu.Lock()
	all := v.list()
	r.mu.Unlock()
	if err := endAll(ctx, all); err != nil {
		return err
	}
	r.forget(v)
	return nil
}

func (r *Runtime) forget(v *version) {
	r.mu.Lock()
	known := r.versions[v.key] == v
	if known {
		delete(r.versions, v.key)
		v.closeSeats()
	}
	r.mu.Unlock()
	if known {
		if v.sidecars != nil {
			v.sidecars.Close()
		}
		v.logs.close()
		r.news.tell(v.key)
	}
}

func (r *Runtime) find(targetID, versionID string) *version {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions[key{targetID, versionID}]
}

// findAgents lists those of one role of a version.
func (r *Runtime) findAgents(targetID, versionID string, role agentenv.Role) []*agent {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.versions[key{targetID, versionID}]
	if v == nil {
		return nil
	}
	return slices.Clone(v.agents[role])
}

// Look tells how a version is; false when it is not known.
func (r *Runtime) Look(targetID, versionID string) (deployments.Look, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v := r.versions[key{targetID, versionID}]
	if v == nil {
		return deployments.Look{}, false
	}
	return deployments.NewLook(v.home.url, instances(v.agents[agentenv.RoleServer]), instances(v.agents[agentenv.RoleWorker])), true
}

// Agents lists the processes of a target, newest first.
func (r *Runtime) Agents(targetID string) []*schedulerv1.Agent {
	r.mu.Lock()
	var found []*agent
	var versions []*version
	for _, v := range r.versions {
		if v.key.target == targetID {
			found, versions = append(found, v.list()...), append(versions, v)
		}
	}
	r.mu.Unlock()
	all := describe(found)
	for _, v := range versions {
		all = append(all, v.describeSidecars()...)
	}
	return all
}

// Watch calls changed after each change of a version's processes until ctx ends.
func (r *Runtime) Watch(ctx context.Context, changed func(targetID, versionID string)) error {
	return r.news.watch(ctx, changed)
}

// Close drains and ends all agents; ctx bounds the wait, not the end.
func (r *Runtime) Close(ctx context.Context) error {
	r.mu.Lock()
	r.closed = true
	var all []*version
	for _, v := range r.versions {
		all = append(all, v)
	}
	r.mu.Unlock()
	var group errgroup.Group
	for _, v := range all {
		group.Go(func() error { return r.Remove(ctx, v.key.target, v.key.version) })
	}
	err := group.Wait()
	r.zygotes.close()
	r.starter.close()
	return err
}
