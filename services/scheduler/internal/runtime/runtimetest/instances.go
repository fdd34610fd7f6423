package runtimetest

import (
	"testing"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// several has two servers from the start, then three, then one, which need not be the
// first one, and then two again.
func several(t *testing.T, s Subject) {
	l := s.Launch("well")
	l.Roles, l.Count = []agentenv.Role{agentenv.RoleServer}, 2
	if err := s.Runtime.Apply(t.Context(), l); err != nil {
		t.Fatalf("Apply() = %v", err)
	}
	awaitServers(t, s, l, 2)
	grow(t, s, l, 3)
	there := awaitServers(t, s, l, 3)
	urls, ids := map[string]bool{}, map[string]bool{}
	for _, one := range there {
		ask(t, one.URL)
		urls[one.URL], ids[one.ID] = true, true
	}
	if len(urls) != 3 || len(ids) != 3 || len(s.Runtime.Agents(l.TargetID)) != 3 {
		t.Errorf("servers %v at %v; want three of each", ids, urls)
	}
	for _, one := range there[:2] {
		stopOne(t, s, l, one)
		there = awaitServers(t, s, l, len(there)-1)
	}
	if err := s.Runtime.StopOne(t.Context(), l.TargetID, l.VersionID, agentenv.RoleServer, there[0].ID); !fault.Conflict.Is(err) {
		t.Errorf("StopOne() of the last one = %v, want a conflict", err)
	}
	home := await(t, s, l, func(k deployments.Look) bool { return k.Server.State == ready })
	ask(t, home.ServerURL)
	if err := s.Runtime.Stop(t.Context(), l.TargetID, l.VersionID, agentenv.RoleServer); err != nil {
		t.Fatalf("Stop() = %v", err)
	}
	grow(t, s, l, 2)
	there = awaitServers(t, s, l, 2)
	if there[0].URL != home.ServerURL {
		t.Errorf("the first server is at %s, and the last one was at %s", there[0].URL, home.ServerURL)
	}
	remove(t, s, l)
}

func grow(t *testing.T, s Subject, l deployments.Launch, count int) {
	t.Helper()
	if err := s.Runtime.Start(t.Context(), l.TargetID, l.VersionID, agentenv.RoleServer, count); err != nil {
		t.Fatalf("Start() of %d = %v", count, err)
	}
}

func stopOne(t *testing.T, s Subject, l deployments.Launch, one deployments.Instance) {
	t.Helper()
	if err := s.Runtime.StopOne(t.Context(), l.TargetID, l.VersionID, agentenv.RoleServer, one.ID); err != nil {
		t.Fatalf("StopOne() = %v", err)
	}
}

// awaitServers waits until there are so many servers and all are up.
func awaitServers(t *testing.T, s Subject, l deployments.Launch, count int) []deployments.Instance {
	t.Helper()
	return await(t, s, l, func(k deployments.Look) bool {
		for _, one := range k.Servers {
			if !one.Up() {
				return false
			}
		}
		return len(k.Servers) == count
	}).Servers
}
