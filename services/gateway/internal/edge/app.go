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
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/rest"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
)

// visit is one request at an app's address by somebody who may call it.
type visit struct {
	*Edge
	route  *routes.Route
	caller principal.Principal
}

type visitHandler func(v visit, w http.ResponseWriter, r *http.Request)

// app serves one app's address; find tells the route anew at each request.
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

// admit lets a request through when host, origin and caller are in order.
func (e *Edge) admit(find func(*http.Request) *routes.Route, next visitHandler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		route := find(r)
		if route == nil {
			rest.WriteError(w, http.StatusNotFound, "no app answers here")
			return
		}
		if len(r.TransferEncoding) > 0 {
			// It may have had a length, too, by which somebody before us saw another end of
			// it: what comes after it is not to be trusted (RFC 9112, section 6.1).
			w.Header().Set("Connection", "close")
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
		next(visit{e, route, caller}, w, r.WithContext(principal.With(r.Context(), caller)))
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
			return anonymous, nil
		}
		return caller, fault.NotFound.Errorf("no app answers here") // whose it is, is nobody else's business
	}
	return caller, nil
}

// hostFits guards against DNS rebinding: a name that is not the app's, pointed at its
// address, is refused.
func hostFits(route *routes.Route, host string) bool {
	name := strings.ToLower(strings.TrimSuffix(hostOnly(host), "."))
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
