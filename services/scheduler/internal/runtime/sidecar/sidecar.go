// Package sidecar runs the stdio MCP servers that an app's settings name: each in a
// process of its own beside the agent, with its own bounds and only its own secrets,
// shared by the processes of one version.
//
// A sidecar starts when the first of them connects, and ends when nobody has for a
// while, or with its version. It is started again when it ends by itself. The package
// decides nothing about versions, and does not know how a process is contained: that
// is its Machine's.
package sidecar

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Role is what an agent of this kind is called among others.
const Role = "sidecar"

const (
	// maxConnections bounds those of a version to all its sidecars.
	maxConnections = 256
	// maxAlone bounds the processes of a server that is not shared.
	maxAlone = 32
)

// Machine contains processes.
type Machine interface {
	// Start starts a command in a box of its own, bounded, or leaves nothing behind.
	// The command waits at its gate until then.
	Start(name string, limits Limits, cmd Command) error
	// Usage is memory in bytes and processor time in seconds.
	Usage(name string) (memory int64, cpu float64)
	// Starved says whether the kernel ended something in the box for want of memory.
	Starved(name string) bool
	// Remove removes the box of a command that has ended.
	Remove(name string)
}

// Options are where sidecars are and whom they report to.
type Options struct {
	// Dir is the folder for scratch files and the socket.
	Dir string
	// Name is of the version's instance; boxes and folders begin with it.
	Name string
	// Path and Home are PATH and the folder that a sidecar begins in.
	Path, AppDir string
	// Idle is how long a sidecar without clients is kept.
	Idle    time.Duration
	Machine Machine
	// Line takes what a server says, Platform what there is to say about one.
	Line     func(line agentenv.LogLine)
	Platform func(level busv1.LogLevel, text string)
	// Secrets are values that get into no line.
	Secrets []string
	Log     *slog.Logger
	Now     func() time.Time
}

// Set is the sidecars of one version.
type Set struct {
	options Options
	dir     string
	token   string
	servers map[string]*server
	lis     *net.UnixListener
	places  chan struct{} // one for each connection

	ctx  context.Context //nolint:containedctx // its end ends the goroutines
	stop context.CancelFunc
	wait sync.WaitGroup
}

// server is one of the servers; it has one unit, or one for each client.
type server struct {
	set    *Set
	name   string
	index  int // among the servers; names may be anything
	config Server
	redact redactor

	mu     sync.Mutex
	shared *unit
	units  map[*unit]struct{}
	number int
}

// New opens the socket at which a version's processes find its sidecars.
func New(options Options, servers map[string]Server) (*Set, error) {
	s := &Set{
		options: options, dir: filepath.Join(options.Dir, options.Name+"-sidecars"), token: rand.Text(),
		servers: map[string]*server{}, places: make(chan struct{}, maxConnections),
	}
	if err := os.MkdirAll(s.dir, 0o700); err != nil {
		return nil, err
	}
	lis, err := listen(s.dir)
	if err != nil {
		return nil, fmt.Errorf("listen for clients of sidecars: %w", err)
	}
	s.lis = lis
	s.ctx, s.stop = context.WithCancel(context.Background())
	for i, name := range slices.Sorted(maps.Keys(servers)) {
		config := servers[name]
		s.servers[name] = &server{
			set: s, name: name, index: i, config: config, units: map[*unit]struct{}{},
			redact: newRedactor(slices.Concat(options.Secrets, slices.Collect(maps.Values(config.Env)))),
		}
	}
	s.wait.Go(s.accept)
	return s, nil
}

// Address is where an agent finds its sidecars, and what it shows there.
func (s *Set) Address() agentenv.Sidecars {
	address := agentenv.Sidecars{Socket: filepath.Join(s.dir, socketName), Token: s.token, Servers: map[string]agentenv.Command{}}
	for name, server := range s.servers {
		address.Servers[name] = server.config.Written
	}
	return address
}

// Rest ends all processes and connections, and returns when they have ended; who
// connects later starts them again.
func (s *Set) Rest() {
	for _, server := range s.servers {
		server.rest()
	}
}

// Close ends everything and returns when it has ended.
func (s *Set) Close() {
	s.stop()
	_ = s.lis.Close()
	s.wait.Wait()
	if err := os.RemoveAll(s.dir); err != nil {
		s.options.Log.Warn("scratch files of sidecars stay behind", "error", err)
	}
}

// Look tells of each sidecar, by name.
func (s *Set) Look() []*schedulerv1.Agent {
	var all []*schedulerv1.Agent
	for _, name := range slices.Sorted(maps.Keys(s.servers)) {
		all = append(all, s.servers[name].look()...)
	}
	return all
}

func (s *server) look() []*schedulerv1.Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*schedulerv1.Agent
	for _, u := range slices.SortedFunc(maps.Keys(s.units), func(x, y *unit) int { return x.number - y.number }) {
		all = append(all, u.look())
	}
	if len(all) == 0 {
		all = append(all, &schedulerv1.Agent{Role: Role, Server: s.name, State: schedulerv1.AgentState_AGENT_STATE_STOPPED})
	}
	return all
}

// unitFor is the process that a new client speaks with. It fails when there are too
// many clients.
func (s *server) unitFor() (*unit, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shared != nil {
		if s.shared.mux.Clients() >= maxClients {
			return nil, fmt.Errorf("the MCP server %s has %d clients, which is the most it may have", s.name, maxClients)
		}
		return s.shared, nil
	}
	if len(s.units) >= maxAlone {
		return nil, fmt.Errorf("the MCP server %s runs for %d clients, which is the most it may; shared: true lets them have one process", s.name, maxAlone)
	}
	s.number++
	u := newUnit(s, s.number)
	s.units[u] = struct{}{}
	if s.config.Shared {
		s.shared = u
		s.set.wait.Go(u.keep)
	}
	return u, nil
}

// over forgets a unit that has ended.
func (s *server) over(u *unit) {
	s.mu.Lock()
	delete(s.units, u)
	if s.shared == u {
		s.shared = nil
	}
	s.mu.Unlock()
	u.close()
}

// rest ends all units and waits for their end.
func (s *server) rest() {
	s.mu.Lock()
	s.shared = nil // who comes now gets another
	units := slices.Collect(maps.Keys(s.units))
	s.mu.Unlock()
	for _, u := range units {
		u.stop()
	}
	for _, u := range units {
		<-u.done
	}
}
