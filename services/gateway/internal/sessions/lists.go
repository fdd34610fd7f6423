package sessions

import (
	"context"
	"hash/fnv"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/jsonrpc"
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

// follow tells clients of new versions of their apps whose lists are others, and ends
// sessions with apps that are no more, until ctx ends.
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
	fresh := map[string]lists{}
	for _, s := range st.all() {
		now, ok := fresh[s.TargetID]
		if !ok {
			if st.table.Target(s.TargetID) == nil {
				st.End(s)
				continue
			}
			e := st.endpoint(s.TargetID)
			if e == nil || e == known[s.TargetID] {
				continue
			}
			now = listsOf(e)
			fresh[s.TargetID], known[s.TargetID] = now, e
		}
		s.compare(now)
	}
}

func (st *Store) endpoint(target string) *routes.Endpoint {
	if route := st.table.Target(target); route != nil {
		return route.Endpoint
	}
	return nil
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
