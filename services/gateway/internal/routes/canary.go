package routes

import (
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"slices"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
)

// Canary is a version that is tried beside the live one: it gets a share of the app's
// sessions, and of the calls without one.
type Canary struct {
	// RolloutID is the rollout that tries it.
	RolloutID string
	// Endpoint is the version, as complete as the live one.
	Endpoint *Endpoint

	weight  int32
	matches []*schedulerv1.CanaryMatch
}

// thousand is what weights are parts of.
const thousand = 1000

// Pick is what decides which version one gets. It decides the same at every replica, and
// who has the canary keeps it while the weight grows. The zero Pick gets the live version.
type Pick struct {
	// Key has one place in each rollout, by which it is in the share or not; empty: it is in
	// none.
	Key string
	// Caller is who has opened the session or calls.
	Caller principal.Principal
	// Rollout is one whose canary it gets whatever the weight is.
	Rollout string
}

// derive computes what calls need, of the live version and of the one that is tried.
func derive(old *Endpoint, now *schedulerv1.Endpoint) *Endpoint {
	e := deriveOne(old.version(now.GetVersionId()), now)
	if c := now.GetCanary(); c.GetEndpoint() != nil {
		e.Canary = &Canary{
			RolloutID: c.GetRolloutId(), weight: c.GetWeight(), matches: c.GetMatches(),
			Endpoint: deriveOne(old.version(c.GetEndpoint().GetVersionId()), c.GetEndpoint()),
		}
	}
	return e
}

// version is what was derived of a version; nil when that is neither of the two.
func (e *Endpoint) version(id string) *Endpoint {
	switch {
	case e == nil:
		return nil
	case e.GetVersionId() == id:
		return e
	case e.Canary != nil:
		return e.Canary.Endpoint.version(id)
	}
	return nil
}

// try makes the route of those who get the canary.
func (r *Route) try() {
	if r.Endpoint == nil || r.Endpoint.Canary == nil {
		return
	}
	c := r.Endpoint.Canary
	r.Rollout = c.RolloutID
	r.tried = &Route{Address: r.Address, Endpoint: c.Endpoint, Rollout: c.RolloutID, Tried: true}
}

// For is the route of one who has that Pick: to the canary or to the live version.
func (r *Route) For(p Pick) *Route {
	if r == nil || r.tried == nil || !r.Endpoint.Canary.takes(p) {
		return r
	}
	return r.tried
}

// Pick gets the version that the route leads to, for as long as that is tried.
func (r *Route) Pick() Pick {
	if r.Tried {
		return Pick{Rollout: r.Rollout}
	}
	return Pick{}
}

// Chosen is the rollout whose canary is for requests with such headers of such a caller;
// empty when there is none. A session remembers it, as its later requests need not have
// the headers.
func (r *Route) Chosen(h http.Header, caller principal.Principal) (rollout string) {
	if r.tried != nil && slices.ContainsFunc(r.Endpoint.Canary.matches, func(m *schedulerv1.CanaryMatch) bool { return fits(m, h, caller) }) {
		return r.Rollout
	}
	return ""
}

func (c *Canary) takes(p Pick) bool {
	if p.Key == "" {
		return p.Rollout == c.RolloutID
	}
	return p.Rollout == c.RolloutID || place(c.RolloutID, p.Key) < uint64(max(c.weight, 0)) ||
		slices.ContainsFunc(c.matches, func(m *schedulerv1.CanaryMatch) bool { return fits(m, nil, p.Caller) })
}

// place is a key's among the thousandths of a rollout. Each rollout has its own order, so
// that the first are not always the same.
func place(rollout, key string) uint64 {
	sum := sha256.Sum256([]byte(rollout + "\x00" + key))
	return binary.BigEndian.Uint64(sum[:]) % thousand
}

// fits says whether all that a match asks for is there. One that asks for nothing fits
// nobody.
func fits(m *schedulerv1.CanaryMatch, h http.Header, caller principal.Principal) bool {
	if m.GetHeader() == "" && m.GetCaller() == "" {
		return false
	}
	if id := m.GetCaller(); id != "" && id != caller.UserID && id != caller.KeyID {
		return false
	}
	if m.GetHeader() == "" {
		return true
	}
	values := h.Values(m.GetHeader())
	return len(values) > 0 && (m.GetValue() == "" || slices.Contains(values, m.GetValue()))
}
