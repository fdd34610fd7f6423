package signin_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/signin"
)

const (
	goodKey = "lm_mcp_api_good"
	fullKey = "lm_mcp_api_of_somebody_with_100_keys"
	newKey  = "lm_mcp_api_<new>"
)

type accounts struct {
	registryv1.UnimplementedAccountsServiceServer
}

func (accounts) CreateKey(ctx context.Context, req *registryv1.CreateKeyRequest) (*registryv1.CreateKeyResponse, error) {
	who := principal.From(ctx).UserID
	if who == "u_full" {
		return nil, fault.Exhausted.Errorf("a user may have at most 100 keys")
	}
	if who != "u_good" || req.GetName() == "" {
		return nil, fault.Invalid.Errorf("a key for %q named %q", who, req.GetName())
	}
	return &registryv1.CreateKeyResponse{ApiKey: newKey}, nil
}

type who struct{}

func (who) Authenticate(_ context.Context, key string) (principal.Principal, error) {
	switch key {
	case goodKey:
		return principal.Principal{Kind: principal.User, UserID: "u_good"}, nil
	case fullKey:
		return principal.Principal{Kind: principal.User, UserID: "u_full"}, nil
	}
	return principal.Principal{}, fault.Unauthenticated.Errorf("the API key is not valid")
}

func TestPage(t *testing.T) {
	t.Parallel()
	conn := grpctest.Serve(t, func(s grpc.ServiceRegistrar) { registryv1.RegisterAccountsServiceServer(s, accounts{}) })
	page := signin.New(who{}, registryv1.NewAccountsServiceClient(conn))
	tests := map[string]struct {
		method, query string
		body          io.Reader
		status        int
		want, not     string
	}{
		"the form":               {http.MethodGet, "", nil, http.StatusOK, `<form method="post">`, `role="alert"`},
		"as the CLI opens it":    {http.MethodGet, "?callbackUrl=/apikeys?create=MCP_AGENT_CLI", nil, http.StatusOK, `<form method="post">`, "MCP_AGENT_CLI"},
		"a key for a key":        {http.MethodPost, "", form(goodKey), http.StatusOK, "lm_mcp_api_&lt;new&gt;", goodKey},
		"a bad key":              {http.MethodPost, "", form("<script>"), http.StatusUnauthorized, "the API key is not valid", "<script>"},
		"no key":                 {http.MethodPost, "", form(""), http.StatusUnauthorized, `role="alert"`, "id=\"key\">lm"},
		"a key in the address":   {http.MethodPost, "?key=" + goodKey, form(""), http.StatusUnauthorized, `role="alert"`, goodKey},
		"one key too many":       {http.MethodPost, "", form(fullKey), http.StatusTooManyRequests, "at most 100 keys", fullKey},
		"a form of any size":     {http.MethodPost, "", form(strings.Repeat("x", 10_000)), http.StatusBadRequest, "cannot be read", "xxxxx"},
		"a form that is damaged": {http.MethodPost, "", strings.NewReader("key=%zz"), http.StatusBadRequest, "cannot be read", "%zz"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), tt.method, signin.Path+tt.query, tt.body)
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			w := httptest.NewRecorder()
			page.ServeHTTP(w, r)
			got := w.Body.String()
			if w.Code != tt.status || !strings.Contains(got, tt.want) || strings.Contains(got, tt.not) {
				t.Errorf("%s = %d %s, want %d with %q and without %q", tt.method, w.Code, got, tt.status, tt.want, tt.not)
			}
			h := w.Header()
			if h.Get("Cache-Control") != "no-store" || !strings.Contains(h.Get("Content-Security-Policy"), "frame-ancestors 'none'") || h.Get("Referrer-Policy") == "" {
				t.Errorf("%s has headers %v, want none of it cached, framed or referred to", tt.method, h)
			}
		})
	}
}

func form(key string) io.Reader { return strings.NewReader(url.Values{"key": {key}}.Encode()) }
