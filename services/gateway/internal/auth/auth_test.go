package auth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
)

const goodKey = "lm_mcp_api_good"

// registry knows one key, until it is revoked.
type registry struct {
	registryv1.UnimplementedAccountsServiceServer
	asked         atomic.Int32
	revoked, away atomic.Bool
}

func (r *registry) Authenticate(_ context.Context, req *registryv1.AuthenticateRequest) (*registryv1.AuthenticateResponse, error) {
	r.asked.Add(1)
	switch {
	case r.away.Load():
		return nil, fault.Unavailable.Errorf("the database is away")
	case r.revoked.Load() || req.GetApiKey() != goodKey:
		return nil, fault.Unauthenticated.Errorf("the API key is not valid")
	}
	return &registryv1.AuthenticateResponse{KeyId: "key_1", User: &registryv1.User{UserId: "u_1", OrgId: "org_1", Name: "Ann", Email: "ann@example.com", Admin: true}}, nil
}

func newAuth(t *testing.T) (*auth.Auth, *registry) {
	t.Helper()
	r := &registry{}
	conn := grpctest.Serve(t, func(s grpc.ServiceRegistrar) { registryv1.RegisterAccountsServiceServer(s, r) })
	return auth.New(registryv1.NewAccountsServiceClient(conn)), r
}

func TestAuthenticate(t *testing.T) {
	t.Parallel()
	a, r := newAuth(t)
	want := principal.Principal{Kind: principal.User, UserID: "u_1", OrgID: "org_1", KeyID: "key_1", Name: "Ann", Email: "ann@example.com", Admin: true}
	for range 3 {
		if got, err := a.Authenticate(t.Context(), goodKey); err != nil || !cmp.Equal(got, want) {
			t.Fatalf("Authenticate() = %+v, %v, want %+v", got, err, want)
		}
	}
	if n := r.asked.Load(); n != 1 {
		t.Errorf("the registry was asked %d times, want once", n)
	}
	for _, key := range []string{"", "lm_mcp_api_bad"} {
		if _, err := a.Authenticate(t.Context(), key); !fault.Unauthenticated.Is(err) {
			t.Errorf("Authenticate(%q) = %v, want it refused", key, err)
		}
	}
	r.away.Store(true)
	if _, err := a.Authenticate(t.Context(), "lm_mcp_api_other"); !fault.Unavailable.Is(err) {
		t.Errorf("Authenticate(registry away) = %v, want that said and not that the key is bad", err)
	}
	if _, err := a.Authenticate(t.Context(), goodKey); err != nil {
		t.Errorf("Authenticate(known, registry away) = %v", err)
	}
}

func TestRevocation(t *testing.T) {
	t.Parallel()
	a, r := newAuth(t)
	if _, err := a.Authenticate(t.Context(), goodKey); err != nil {
		t.Fatal(err)
	}
	r.revoked.Store(true)
	auth.Forget(a, &registryv1.KeyRevoked{KeyId: "key_1"})
	if _, err := a.Authenticate(t.Context(), goodKey); !fault.Unauthenticated.Is(err) {
		t.Errorf("Authenticate(revoked) = %v, want it refused at once", err)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		header http.Header
		want   string
	}{
		"bearer":               {http.Header{"Authorization": {"Bearer k"}}, "k"},
		"scheme in any case":   {http.Header{"Authorization": {"bEARER  k "}}, "k"},
		"a header of its own":  {http.Header{"X-Api-Key": {"k"}}, "k"},
		"bearer before it":     {http.Header{"Authorization": {"Bearer a"}, "X-Api-Key": {"b"}}, "a"},
		"another scheme":       {http.Header{"Authorization": {"Basic abc"}}, ""},
		"a scheme and no key":  {http.Header{"Authorization": {"Bearer"}}, ""},
		"a key without scheme": {http.Header{"Authorization": {"lm_mcp_api_x"}}, ""},
		"nothing":              {http.Header{}, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/", nil)
			r.Header = tt.header
			if got := auth.Key(r); got != tt.want {
				t.Errorf("Key(%v) = %q, want %q", tt.header, got, tt.want)
			}
		})
	}
}
