package edge

import (
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"strings"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/outcomes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
)

// visit is one request at an app's address by somebody who may call it.
type visit struct {
	*Edge
	route  *routes.Route
	caller principal.Principal
	// pick decides which version the session has, or a call without one.
	pick routes.Pick
	// outcome counts the call; nil: it is not counted.
	outcome *outcomes.Call
	// call is the one that is made, if it is of a kind that clients may repeat.
	call *sessions.Call
	// request is what the client may cancel; nil: it cannot be.
	request *sessions.Request
}

type visitHandler func(v visit, w http.ResponseWriter, r *http.Request)

// app serves apps' addresses; find tells the route anew at each request. One is enough for
// all: many that sleep must not cost a table of paths each.
func (e *Edge) app(find func(*http.Request) *routes.Route) http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, h visitHandler) { mux.Handle(pattern, e.admit(find, h)) }
	handle("POST /mcp", visit.streamablePost)
	handle("GET /mcp", visit.streamableGet)
	handle("DELETE /mcp", visit.streamableDelete)
	handle("GET /sse", visit.sseOpen)
	handle("GET /ws", visit.wsOpen)
	handle("POST /messages", visit.ssePost)
	handle("POST /messages/", visit.ssePost)
	handle("POST /call_tool", visit.callTool)
	handle("GET /logs", visit.tailLogs)
	handle("GET /{$}", visit.describe)
	for path, methods := range map[string]string{"/mcp": "GET, POST, DELETE", "/sse": "GET", "/ws": "GET", "/messages/": "POST", "/call_tool": "POST", "/logs": "GET"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Allow", methods)
			rest.WriteError(w, http.StatusMethodNotAllowed, "this path does not take "+r.Method)
		})
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		rest.WriteError(w, http.StatusNotFound, "there is no such path here: an app has /mcp, /sse, /ws, /call_tool and /logs")
	})
	return traced(mux)
}

// byPort finds the app whose own port a request came to.
func (e *Edge) byPort(r *http.Request) *routes.Route {
	at, ok := r.Context().Value(http.LocalAddrContextKey).(*net.TCPAddr)
	if !ok {
		return nil
	}
	return e.table.Port(at.Port)
}

// byHost finds the app that a request names.
func (e *Edge) byHost(r *http.Request) *routes.Route { return e.table.Host(hostName(r.Host)) }

// admit lets a request through when host, origin and caller are in order.
func (e *Edge) admit(find func(*http.Request) *routes.Route, next visitHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := find(r)
		if route == nil {
			rest.WriteError(w, http.StatusNotFound, "no app answers here")
			return
		}
		if !hostFits(route, r.Host) {
			rest.WriteError(w, http.StatusMisdirectedRequest, "this address serves no such host name")
			return
		}
		if !originFits(route, r) {
			rest.WriteError(w, http.StatusForbidden, "pages of another origin may not call this app")
			return
		}
		caller, err := e.whoCalls(r, route)
		if err != nil {
			rest.WriteFault(w, err)
			return
		}
		next(visit{Edge: e, route: route, caller: caller}, w, r.WithContext(principal.With(r.Context(), caller)))
	})
}

// whoCalls finds the caller. An app that is open to all is called without a name,
// unless a key of its own organisation gives one.
func (e *Edge) whoCalls(r *http.Request, route *routes.Route) (principal.Principal, error) {
	address := route.Address
	anonymous := principal.Principal{Kind: principal.Anonymous, OrgID: address.GetOrgId()}
	open := address.GetUnauthenticatedAccess()
	key := auth.Key(r)
	if key == "" && open {
		return anonymous, nil
	}
	caller, err := e.deps.Auth.Authenticate(r.Context(), key)
	if err != nil {
		if open && fault.Unauthenticated.Is(err) {
			return anonymous, nil
		}
		return caller, err
	}
	if caller.OrgID != address.GetOrgId() || address.GetUserId() != "" && caller.UserID != address.GetUserId() {
		if open {
			if caller.OrgID != anonymous.OrgID {
				anonymous.GuestOrg = caller.OrgID
			}
			return anonymous, nil
		}
		return caller, fault.NotFound.Errorf("no app answers here") // whose it is, is nobody else's business
	}
	return caller, nil
}

// hostFits guards against DNS rebinding: a name that is not the app's, pointed at its
// address, is refused.
func hostFits(route *routes.Route, host string) bool {
	name := hostName(host)
	if own := route.Address.GetHost(); own != "" {
		return name == own
	}
	return isLoopback(name)
}

// originFits lets programs (no Origin) and pages of the app's own or a loopback
// origin through (MCP "Transports": servers MUST validate Origin).
func originFits(route *routes.Route, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	if err != nil || u.Host == "" {
		return false
	}
	name := strings.ToLower(u.Hostname())
	if own := route.Address.GetHost(); own != "" {
		return name == own
	}
	return isLoopback(name)
}

// hostName is a host as the table has it.
func hostName(host string) string { return strings.ToLower(strings.TrimSuffix(hostOnly(host), ".")) }

func hostOnly(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		return name
	}
	return strings.Trim(host, "[]")
}

func isLoopback(name string) bool {
	ip := net.ParseIP(name)
	return name == "localhost" || ip != nil && ip.IsLoopback()
}

// describe tells a person with a browser where they are.
func (v visit) describe(w http.ResponseWriter, _ *http.Request) {
	address := v.route.Address
	about := map[string]any{
		"name": address.GetAppName(), "app": address.GetAppId(), "serverUrl": address.GetServerUrl(),
		"mcp": address.GetServerUrl() + "/mcp", "sse": address.GetServerUrl() + "/sse", "live": v.route.Endpoint != nil,
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(about)
}
