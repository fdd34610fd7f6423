package runtimetest

import (
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// oneByOne has the server run alone, then the worker with it, and then another server,
// where the first one was.
func oneByOne(t *testing.T, s Subject) {
	l := s.Launch("well")
	l.Roles = []agentenv.Role{agentenv.RoleServer}
	if err := s.Runtime.Apply(t.Context(), l); err != nil {
		t.Fatalf("Apply() = %v", err)
	}
	const stopped = schedulerv1.AgentState_AGENT_STATE_STOPPED
	first := await(t, s, l, func(k deployments.Look) bool { return k.Server.State == ready && k.Worker.State == stopped })
	begin := func(role agentenv.Role) {
		t.Helper()
		for range 2 { // a second time it does nothing
			if err := s.Runtime.Start(t.Context(), l.TargetID, l.VersionID, role, 1); err != nil {
				t.Fatalf("Start(%s) = %v", role, err)
			}
		}
	}
	begin(agentenv.RoleWorker)
	await(t, s, l, func(k deployments.Look) bool { return k.Server.State == ready && k.Worker.NotNeeded }) // as it found out
	before := serverPID(s, l)
	if err := s.Runtime.Stop(t.Context(), l.TargetID, l.VersionID, agentenv.RoleServer); err != nil {
		t.Fatalf("Stop() = %v", err)
	}
	begin(agentenv.RoleServer)
	await(t, s, l, func(k deployments.Look) bool { return k.Server.State == ready && k.ServerURL == first.ServerURL })
	if after := serverPID(s, l); after == before {
		t.Errorf("the process is the same: %d", after)
	}
	ask(t, first.ServerURL)
	if n := len(s.Runtime.Agents(l.TargetID)); n != 2 {
		t.Errorf("%d agents are listed, want one of each role", n)
	}
	remove(t, s, l)
	if err := s.Runtime.Start(t.Context(), l.TargetID, l.VersionID, agentenv.RoleServer, 1); !fault.Conflict.Is(err) {
		t.Errorf("Start() of a version that does not run = %v, want a conflict", err)
	}
}

// serverPID is the machine's number of a server, whose own may be that of a namespace.
func serverPID(s Subject, l deployments.Launch) int64 {
	for _, a := range s.Runtime.Agents(l.TargetID) {
		if a.GetRole() == string(agentenv.RoleServer) {
			return a.GetPid()
		}
	}
	return 0
}
