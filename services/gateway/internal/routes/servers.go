package routes

import (
	"slices"
	"strings"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// A version may have several servers that are all alike. A conversation stays with the one
// that it began at; what has none goes to the one that has least to do.

const (
	scheme  = "http://"
	mcpPath = "/mcp"
)

// hosts are the HOST:PORT of a version's servers; none for one that runs elsewhere, or
// sleeps: another may be there by now.
func (r *Route) hosts() []string {
	if r == nil || r.Endpoint == nil || r.Endpoint.GetMcpUrl() != "" || r.Endpoint.GetAsleep() {
		return nil
	}
	urls := []string{r.Endpoint.GetServerUrl()}
	for _, s := range r.Endpoint.GetServers() {
		urls = append(urls, s.GetUrl())
	}
	var hosts []string
	for _, url := range urls {
		if host, ok := strings.CutPrefix(url, scheme); ok && !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	return hosts
}

// Serves says whether one of a version's servers takes messages at url.
func (e *Endpoint) Serves(url string) bool {
	if len(e.GetServers()) < 2 || e.GetMcpUrl() != "" { //nolint:mnd // one is no choice
		return url == e.MCPURL()
	}
	return slices.ContainsFunc(e.GetServers(), func(s *schedulerv1.Server) bool { return s.GetUrl()+mcpPath == url })
}

// Serves says whether a server of the live version, or of the one that is tried, takes
// messages at url.
func (r *Route) Serves(url string) bool {
	return r != nil && r.Endpoint != nil && (r.Endpoint.Serves(url) || r.tried != nil && r.tried.Endpoint.Serves(url))
}

// Choose is where to send messages of what has no server yet: to the one with the fewest
// calls under way from here, and among equals to each in turn.
func (t *Table) Choose(e *Endpoint) (url string) {
	servers := e.GetServers()
	if len(servers) < 2 || e.GetMcpUrl() != "" || t.Waker == nil { //nolint:mnd // as above
		return e.MCPURL()
	}
	first, least := int(t.turn.Add(1)), 0
	for i := range servers {
		s := servers[(first+i)%len(servers)].GetUrl()
		if open := t.Waker.Open(strings.TrimPrefix(s, scheme)); url == "" || open < least {
			url, least = s, open
		}
	}
	return url + mcpPath
}
