package sleep

import (
	"sync"
	"time"

	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

const (
	// heardFor is how long the word of a gateway holds about its calls.
	heardFor = 5 * time.Second
	// mostLoads bounds the servers of which one gateway tells.
	mostLoads = 100_000
)

// load is what goes on at one server.
type load struct {
	open    int
	average float64
}

// loads are those of which one gateway told last.
type loads struct {
	mu  sync.Mutex
	at  time.Time
	all map[string]load // by the server's URL
}

// hear takes what a gateway tells: the whole of it each time.
func (l *loads) hear(told []*schedulerv1.ServerLoad, now time.Time) {
	all := make(map[string]load, min(len(told), mostLoads))
	for _, one := range told[:min(len(told), mostLoads)] {
		all[one.GetServerUrl()] = load{int(one.GetOpen()), one.GetAverage()}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.at, l.all = now, all
}

func (l *loads) of(url string, now time.Time) load {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.at) > heardFor {
		return load{}
	}
	return l.all[url]
}

// load is what goes on at a server, from all gateways.
func (g *gateways) load(url string, now time.Time) load {
	g.mu.Lock()
	defer g.mu.Unlock()
	var sum load
	for one := range g.all {
		part := one.loads.of(url, now)
		sum.open, sum.average = sum.open+part.open, sum.average+part.average
	}
	return sum
}
