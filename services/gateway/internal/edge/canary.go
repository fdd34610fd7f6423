package edge

import (
	"context"
	"crypto/rand"
	"net/http"

	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// of is the visit of a session's client: at the version that the session is with.
func (v visit) of(s *sessions.Session) visit {
	if route := s.Upstream.Route(); route != nil {
		v.route, v.pick = route, s.Upstream.Pick()
	}
	return v
}

// alone is the visit of one who calls without a session: at the version that his calls
// get. Calls of one user get the same one, those of the nameless are divided by chance.
func (v visit) alone(r *http.Request) visit {
	if v.route.Rollout == "" {
		return v
	}
	v.pick = routes.Pick{Key: v.caller.UserID, Caller: v.caller, Rollout: v.route.Chosen(r.Header, v.caller)}
	if v.pick.Key == "" {
		v.pick.Key = rand.Text()
	}
	v.route = v.route.For(v.pick)
	return v
}

// untilMoved calls then when now does not lead to the version of before any more, or the
// app is gone; it returns when ctx ends, too.
func (v visit) untilMoved(ctx context.Context, then func(), before *routes.Route, now func() *routes.Route) {
	for {
		changed := v.table.Changed()
		if route := now(); route == nil || route.Pick() != before.Pick() {
			then()
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
	}
}

// open begins a session of the client whose request it is.
func (v visit) open(r *http.Request) (*sessions.Session, error) {
	return v.sessions.Open(v.route.Address.GetTargetId(), v.caller, v.route.Chosen(r.Header, v.caller))
}
