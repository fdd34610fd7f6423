package awake

import (
	"context"
	"strings"
	"sync"
	"time"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// keptFor is how long a server is remembered that is in no list any more and has no calls.
const keptFor = time.Minute

// server is what goes on at one of the servers of a version.
type server struct {
	version string
	// told says that the scheduler wants to know of its calls.
	told bool
	open int
	// average is what is needed to tell how many were open on average.
	average area
	// left says that no request goes to it any more, since it has left the list.
	left bool
	used time.Time
}

// area is that under the number of open calls, in calls times seconds.
type area struct {
	since, at time.Time
	sum       float64
}

// grow adds the time since the last change, during which so many were open.
func (a *area) grow(now time.Time, open int) {
	a.sum += float64(open) * now.Sub(a.at).Seconds()
	a.at = now
}

// take is the average since it was taken last.
func (a *area) take(now time.Time, open int) float64 {
	a.grow(now, open)
	over := now.Sub(a.since).Seconds()
	sum := a.sum
	a.since, a.sum = now, 0
	if over <= 0 {
		return float64(open)
	}
	return sum / over
}

// busy counts a call at a server that is listed; k.mu is held.
func (k *Keeper) busy(host string, e *routes.Endpoint) (leave func()) {
	s := k.serverAt(host)
	s.version, s.told, s.left = e.GetVersionId(), e.GetConcurrency() > 0, false
	return k.count(s)
}

// serverAt is what goes on at a server; k.mu is held.
func (k *Keeper) serverAt(host string) *server {
	s, now := k.servers[host], k.deps.Now()
	if s == nil {
		s = &server{average: area{since: now, at: now}, used: now}
		k.servers[host] = s
	}
	return s
}

// count counts a call until leave is called; k.mu is held.
func (k *Keeper) count(s *server) (leave func()) {
	s.average.grow(k.deps.Now(), s.open)
	s.open++
	return sync.OnceFunc(func() {
		k.mu.Lock()
		defer k.mu.Unlock()
		s.used = k.deps.Now()
		s.average.grow(s.used, s.open)
		s.open--
	})
}

// unlisted is for a request to what is in no list: it runs elsewhere, or drains, or has
// just left the list, and ok is false once that is agreed on; k.mu is held.
func (k *Keeper) unlisted(ctx context.Context, host string) (leave func(), ok bool) {
	switch s := k.serverAt(host); {
	case s.left:
		return nil, false
	case quiet(ctx):
		return func() {}, true
	default:
		return k.count(s), true
	}
}

// agreeOne answers whether one server may end: when it is known here that it has left the
// list, and no call to it is under way; k.mu is held.
func (k *Keeper) agreeOne(q *schedulerv1.AttendResponse) (agreed bool, again time.Duration) {
	host := strings.TrimPrefix(q.GetServerUrl(), "http://")
	s := k.serverAt(host)
	if k.deps.Table.Server(host) != nil || s.open > 0 {
		return false, leastAgain
	}
	s.left, s.used = true, k.deps.Now()
	return true, 0
}

// Open is how many calls are under way at a server.
func (k *Keeper) Open(host string) int {
	k.mu.Lock()
	defer k.mu.Unlock()
	if s := k.servers[host]; s != nil {
		return s.open
	}
	return 0
}

// loads tells of the servers that have something to do and are asked about.
func (k *Keeper) loads() []*schedulerv1.ServerLoad {
	k.mu.Lock()
	defer k.mu.Unlock()
	var all []*schedulerv1.ServerLoad
	now := k.deps.Now()
	for host, s := range k.servers {
		if !s.told {
			continue
		}
		if average := s.average.take(now, s.open); s.open > 0 || average > 0 {
			all = append(all, &schedulerv1.ServerLoad{VersionId: s.version, ServerUrl: "http://" + host, Open: int32(s.open), Average: average}) //nolint:gosec // few
		}
	}
	k.forgetServers()
	return all
}

// forgetServers drops what is known of servers that are gone; k.mu is held.
func (k *Keeper) forgetServers() {
	now := k.deps.Now()
	for host, s := range k.servers {
		if s.open == 0 && now.Sub(s.used) > keptFor && k.deps.Table.Server(host) == nil {
			delete(k.servers, host)
		}
	}
}
