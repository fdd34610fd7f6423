package deployments

import (
	"cmp"
	"slices"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Look is how a version's processes are at one moment.
type Look struct {
	// ServerURL is where its server answers, also before it is ready.
	ServerURL string
	// Server and Worker are the first of their role that is ready, else the first.
	Server, Worker Process
	// Servers and Workers are all of a role.
	Servers, Workers []Instance
}

// Instance is one process of a role.
type Instance struct {
	ID string
	// URL is where it answers, if it is a server.
	URL string
	Process
}

const readyState = schedulerv1.AgentState_AGENT_STATE_READY

// Up says whether it is ready.
func (i Instance) Up() bool { return i.State == readyState }

// Ends says whether it ends, or has ended.
func (i Instance) Ends() bool {
	return i.State == schedulerv1.AgentState_AGENT_STATE_STOPPED || i.State == schedulerv1.AgentState_AGENT_STATE_DRAINING
}

// NewLook sums up the processes of a version, whose server is at home while it has none.
func NewLook(home string, servers, workers []Instance) Look {
	server, worker := first(servers), first(workers)
	if len(workers) > 0 { // only the very first is asked about past runs
		worker.Replays, worker.Replaying = workers[0].Replays, workers[0].Replaying
	}
	return Look{ServerURL: cmp.Or(server.URL, home), Server: server.Process, Worker: worker.Process, Servers: servers, Workers: workers}
}

func first(all []Instance) Instance {
	if at := slices.IndexFunc(all, Instance.Up); at >= 0 {
		return all[at]
	}
	if len(all) > 0 {
		return all[0]
	}
	return Instance{Process: Process{State: schedulerv1.AgentState_AGENT_STATE_STOPPED}}
}

// Of are the processes of one role.
func (l Look) Of(role agentenv.Role) []Instance {
	if role == agentenv.RoleServer {
		return l.Servers
	}
	return l.Workers
}

// without is the look with servers left out, by their URL.
func (l Look) without(left func(url string) bool) Look {
	stay := slices.DeleteFunc(slices.Clone(l.Servers), func(i Instance) bool { return left(i.URL) })
	if len(stay) == len(l.Servers) {
		return l
	}
	return NewLook(l.ServerURL, stay, l.Workers)
}

// callable are the servers that can be called.
func (l Look) callable() []*schedulerv1.Server {
	var all []*schedulerv1.Server
	for _, i := range l.Servers {
		if i.Up() {
			all = append(all, &schedulerv1.Server{Url: i.URL, InstanceId: i.ID})
		}
	}
	return all
}

// failed is a process that will not become ready by itself.
func (l Look) failed() (agentenv.Role, Process, bool) {
	for _, role := range []agentenv.Role{agentenv.RoleServer, agentenv.RoleWorker} {
		for _, i := range append([]Instance{{Process: process(l, role)}}, l.Of(role)...) {
			if i.Failed {
				return role, i.Process, true
			}
		}
	}
	return "", Process{}, false
}

// ready says whether all that a version needs is up.
func ready(l Look) bool {
	const up = readyState
	starts := func(i Instance) bool { return !i.Up() && !i.Ends() }
	if l.Server.State != up || slices.ContainsFunc(l.Servers, starts) {
		return false
	}
	return len(l.Server.Report.Workflows) == 0 || l.Worker.NotNeeded || l.Worker.State == up && !slices.ContainsFunc(l.Workers, starts)
}
