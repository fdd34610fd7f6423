// Package process runs agents as processes of this machine: a server and a worker for
// each version. It starts them again when they end, and reads what they say.
//
// It decides nothing about which version should run, and keeps nothing but scratch
// files: agents end with the process that started them.
package process

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/agenthost"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// Options are the bounds of agents and where they report to.
type Options struct {
	// Dir is the runtime's own folder.
	Dir string
	// MemoryBytes, CPUs and Processes bound one agent process with its children; 0: no bound.
	MemoryBytes, Processes int64
	CPUs                   float64
	// RequireIsolation refuses to run agents where the machine cannot contain them.
	RequireIsolation bool
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
	return &Runtime{options: options, host: host, box: box, starter: newStarter(), news: newNews(), versions: map[key]*version{}}, nil
}

// version is what runs of one version.
type version struct {
	key    key
	launch deployments.Launch
	socket *os.File // the server's listener, which outlives its processes
	url    string
	logs   *logs
	agents []*agent // server, worker
}

// Apply starts a version, or does nothing when it runs already.
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
	socket, address, err := listen()
	if err != nil {
		return err
	}
	v := &version{key: k, launch: l, socket: socket, url: "http://" + address, logs: newLogs(r.options, l)}
	for _, role := range []agentenv.Role{agentenv.RoleServer, agentenv.RoleWorker} {
		v.agents = append(v.agents, newAgent(r, v, role))
	}
	r.versions[k] = v
	for _, a := range v.agents {
		go a.keep()
	}
	return nil
}

// listen opens the socket that a version's servers share, one after another.
func listen() (*os.File, string, error) {
	// Not MPTCP, Go's default: Python would not know it for TCP, nor switch Nagle's
	// algorithm off, and each answer would wait 40 ms for an acknowledgement.
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	lis, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, "", fmt.Errorf("listen for an agent: %w", err)
	}
	defer lis.Close()                            //nolint:errcheck // the file keeps the socket open
	socket, err := lis.(*net.TCPListener).File() //nolint:forcetypeassert // a TCP listener
	return socket, lis.Addr().String(), err
}

// Stop drains and ends one role of a version; it returns when that has ended.
func (r *Runtime) Stop(ctx context.Context, targetID, versionID string, role agentenv.Role) error {
	v := r.find(targetID, versionID)
	if v == nil {
		return nil
	}
	for _, a := range v.agents {
		if a.role == role {
			return a.end(ctx)
		}
	}
	return nil
}

// Remove ends all of a version and forgets it.
func (r *Runtime) Remove(ctx context.Context, targetID, versionID string) error {
	v := r.find(targetID, versionID)
	if v == nil {
		return nil
	}
	var group errgroup.Group
	for _, a := range v.agents {
		group.Go(func() error { return a.end(ctx) })
	}
	if err := group.Wait(); err != nil {
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
	}
	r.mu.Unlock()
	if known {
		_ = v.socket.Close()
		v.logs.close()
		r.news.tell(v.key)
	}
}

func (r *Runtime) find(targetID, versionID string) *version {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.versions[key{targetID, versionID}]
}

// Look tells how a version is; false when it is not known.
func (r *Runtime) Look(targetID, versionID string) (deployments.Look, bool) {
	v := r.find(targetID, versionID)
	if v == nil {
		return deployments.Look{}, false
	}
	return deployments.Look{ServerURL: v.url, Server: v.agents[0].look(), Worker: v.agents[1].look()}, true
}

// Agents lists the processes of a target, newest first.
func (r *Runtime) Agents(targetID string) []*schedulerv1.Agent {
	r.mu.Lock()
	var found []*agent
	for _, v := range r.versions {
		if v.key.target == targetID {
			found = append(found, v.agents...)
		}
	}
	r.mu.Unlock()
	return describe(found)
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
	r.starter.close()
	return err
}
