package sessions

import (
	"context"
	"hash/fnv"

	"github.com/mcpagentcloud/agentcloud/pkg/jsonrpc"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// lists tell one version's tools, prompts and resources from another's.
type lists [3]uint64

var listMethods = [len(lists{})]string{
	"notifications/tools/list_changed", "notifications/prompts/list_changed", "notifications/resources/list_changed",
}

func listsOf(e *routes.Endpoint) (l lists) {
	for i, text := range [...][]string{{e.GetToolsJson()}, {e.GetPromptsJson()}, {e.GetResourcesJson(), e.GetResourceTemplatesJson()}} {
		sum := fnv.New64a()
		for _, part := range text {
			_, _ = sum.Write([]byte(part)) // never fails
		}
		l[i] = sum.Sum64()
	}
	return l
}

// follow tells clients of other versions of their apps whose lists are others, listens for
// them to those, and ends sessions with apps that are no more, until ctx ends.
func (st *Store) follow(ctx context.Context) {
	known := map[string]*routes.Endpoint{}
	for {
		changed := st.table.Changed()
		st.tellLists(known)
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

func (st *Store) tellLists(known map[string]*routes.Endpoint) {
	targets, fresh := map[string]*routes.Route{}, map[*routes.Endpoint]lists{}
	for _, s := range st.all() {
		live, ok := targets[s.TargetID]
		if !ok { // all sessions of an app by one table
			live = st.table.Target(s.TargetID)
			targets[s.TargetID] = live
		}
		if live == nil {
			st.End(s)
			continue
		}
		if live.Endpoint == nil || live.Endpoint == known[s.TargetID] {
			continue
		}
		route := live.For(s.Upstream.pick)
		if _, ok := fresh[route.Endpoint]; !ok {
			fresh[route.Endpoint] = listsOf(route.Endpoint)
		}
		s.compare(fresh[route.Endpoint])
		s.Upstream.hearAt(route)
	}
	for target, live := range targets {
		if live != nil && live.Endpoint != nil {
			known[target] = live.Endpoint
		}
	}
}

// compare tells the client which lists are not those that it knows.
func (s *Session) compare(now lists) {
	s.mu.Lock()
	before, ready := s.told, s.ready
	s.told = now
	s.mu.Unlock()
	if !ready || before == (lists{}) {
		return
	}
	for i, method := range listMethods {
		if before[i] != now[i] {
			s.Tell(jsonrpc.NewRequest(nil, method, nil))
		}
	}
}
