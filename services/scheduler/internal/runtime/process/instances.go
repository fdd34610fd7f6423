package process

import (
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strconv"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// A version has one process of a role or several. They differ in their number, and
// servers in where they listen.

// seat is the listener of a server, which outlives its processes: one after another takes
// it over, and who calls meanwhile waits.
type seat struct {
	socket *os.File // nil: of what is no server
	url    string
}

func listen() (seat, error) {
	// Not MPTCP, Go's default: Python would not know it for TCP, nor switch Nagle's
	// algorithm off, and each answer would wait 40 ms for an acknowledgement.
	var plain net.ListenConfig
	plain.SetMultipathTCP(false)
	lis, err := plain.Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return seat{}, fmt.Errorf("listen for an agent: %w", err)
	}
	defer lis.Close()                            //nolint:errcheck // the file keeps the socket open
	socket, err := lis.(*net.TCPListener).File() //nolint:forcetypeassert // a TCP listener
	return seat{socket, "http://" + lis.Addr().String()}, err
}

func (s seat) close() {
	if s.socket != nil {
		_ = s.socket.Close()
	}
}

// seatMore adds agents of a role until there are count, none of which runs yet; r.mu is
// held.
func (r *Runtime) seatMore(v *version, role agentenv.Role, count int) error {
	for len(v.agents[role]) < count {
		at, err := v.seatFor(role)
		if err != nil {
			return err
		}
		v.agents[role] = append(v.agents[role], newAgent(r, v, role, at, v.freeNumber(role)))
	}
	return nil
}

// seatFor is the home, for the first server, and a new one for each other.
func (v *version) seatFor(role agentenv.Role) (seat, error) {
	switch {
	case role != agentenv.RoleServer:
		return seat{}, nil
	case slices.ContainsFunc(v.agents[role], func(a *agent) bool { return a.seat == v.home }):
		return listen()
	}
	return v.home, nil
}

// freeNumber is the least that no agent of a role has.
func (v *version) freeNumber(role agentenv.Role) int {
	for n := 0; ; n++ {
		if !slices.ContainsFunc(v.agents[role], func(a *agent) bool { return a.number == n }) {
			return n
		}
	}
}

// leave forgets agents of a role that have ended. A seat goes with each, but never the
// last one, which is the home; Runtime.mu is held.
func (v *version) leave(role agentenv.Role, gone func(*agent) bool) {
	var stay []*agent
	var empty []seat
	for _, a := range v.agents[role] {
		if gone(a) {
			empty = append(empty, a.seat)
		} else {
			stay = append(stay, a)
		}
	}
	v.agents[role] = stay
	if role != agentenv.RoleServer {
		return
	}
	if len(stay) > 0 && slices.Contains(empty, v.home) {
		v.home.close()
		v.home = stay[0].seat
	}
	for _, s := range empty {
		if s != v.home {
			s.close()
		}
	}
}

// closeSeats closes all that a version listens at; Runtime.mu is held.
func (v *version) closeSeats() {
	for _, a := range v.agents[agentenv.RoleServer] {
		if a.seat != v.home {
			a.seat.close()
		}
	}
	v.home.close()
}

// StopOne drains and ends one process of a role that has several, and forgets it; it
// returns when that has ended. It fails with fault.Conflict for the last one.
func (r *Runtime) StopOne(ctx context.Context, targetID, versionID string, role agentenv.Role, instanceID string) error {
	all := r.findAgents(targetID, versionID, role)
	i := slices.IndexFunc(all, func(a *agent) bool { return a.instance() == instanceID })
	switch {
	case i < 0:
		return nil
	case len(all) == 1:
		return fault.Conflict.Errorf("%s is the only %s", instanceID, role)
	}
	if err := all[i].end(ctx); err != nil {
		return err
	}
	r.mu.Lock()
	all[i].version.leave(role, func(a *agent) bool { return a == all[i] })
	r.mu.Unlock()
	r.news.tell(all[i].version.key)
	return nil
}

// endAll drains and ends agents.
func endAll(ctx context.Context, all []*agent) error {
	var group errgroup.Group
	for _, a := range all {
		group.Go(func() error { return a.end(ctx) })
	}
	return group.Wait()
}

// instance is how an agent is called among those of its version; the first of each role is
// called as the launch is.
func (a *agent) instance() string {
	if a.number == 0 {
		return a.version.launch.Document.InstanceID
	}
	return a.version.launch.Document.InstanceID + "-" + strconv.Itoa(a.number+1)
}

// identity is how a worker is called that Temporal hears of.
func (a *agent) identity() string {
	if a.number == 0 {
		return a.version.launch.Document.Temporal.Identity
	}
	return a.version.launch.Document.Temporal.Identity + "-" + strconv.Itoa(a.number+1)
}

// instances tells how agents are.
func instances(agents []*agent) []deployments.Instance {
	var all []deployments.Instance
	for _, a := range agents {
		all = append(all, deployments.Instance{ID: a.instance(), URL: a.seat.url, Process: a.look()})
	}
	return all
}
