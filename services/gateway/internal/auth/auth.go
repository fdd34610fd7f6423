// Package auth turns the key of an HTTP request into the principal behind it, by
// asking the registry and remembering its answer for a moment.
//
// It decides nothing about what a principal may do.
package auth

import (
	"context"
	"crypto/sha256"
	"net/http"
	"strings"
	"time"

	"github.com/hashicorp/golang-lru/v2/expirable"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
)

const (
	// remember bounds how long a revoked key works should its event be lost.
	remember  = 10 * time.Second
	cacheSize = 10_000
)

// Auth checks keys.
type Auth struct {
	registry registryv1.AccountsServiceClient
	known    *expirable.LRU[[sha256.Size]byte, principal.Principal]
}

// New returns an Auth that asks the registry.
func New(registry registryv1.AccountsServiceClient) *Auth {
	return &Auth{registry: registry, known: expirable.NewLRU[[sha256.Size]byte, principal.Principal](cacheSize, nil, remember)}
}

// Authenticate finds the principal behind a key. It fails with fault.Unauthenticated.
func (a *Auth) Authenticate(ctx context.Context, key string) (principal.Principal, error) {
	if key == "" {
		return principal.Principal{}, fault.Unauthenticated.Errorf("an API key is needed: send it as `Authorization: Bearer <key>`")
	}
	digest := sha256.Sum256([]byte(key)) // so that no key stays in memory longer than its request
	if known, ok := a.known.Get(digest); ok {
		return known, nil
	}
	res, err := a.registry.Authenticate(ctx, &registryv1.AuthenticateRequest{ApiKey: key})
	if err != nil {
		return principal.Principal{}, err
	}
	user := res.GetUser()
	found := principal.Principal{
		Kind: principal.User, UserID: user.GetUserId(), OrgID: user.GetOrgId(), KeyID: res.GetKeyId(),
		Name: user.GetName(), Email: user.GetEmail(), Admin: user.GetAdmin(),
	}
	a.known.Add(digest, found)
	return found, nil
}

// Run forgets keys as they are revoked, until ctx ends.
func (a *Auth) Run(ctx context.Context, b *bus.Bus) error {
	return b.Listen(ctx, a.forget, &registryv1.KeyRevoked{})
}

// forget drops every answer: revocations are rare and the cache fills by itself.
func (a *Auth) forget(proto.Message) { a.known.Purge() }

// Key is the API key of a request: a bearer token (RFC 6750) or an X-API-Key header.
func Key(r *http.Request) string {
	scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
	if ok && strings.EqualFold(scheme, "Bearer") {
		return strings.TrimSpace(token)
	}
	return r.Header.Get("X-API-Key")
}
