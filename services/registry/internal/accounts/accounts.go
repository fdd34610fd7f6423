// Package accounts keeps organisations, users and their API keys. It does not know
// what a user may do with an app.
package accounts

import (
	"context"
	"net/mail"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/text"
)

const (
	maxKeys  = 100
	maxName  = 200
	maxEmail = 320 // 64 before the @ and 255 after it (RFC 5321, 4.5.3.1)
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	Now   func() time.Time
}

// Service implements registryv1.AccountsServiceServer.
type Service struct {
	registryv1.UnimplementedAccountsServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// Authenticate turns an API key into the user behind it.
func (s *Service) Authenticate(ctx context.Context, req *registryv1.AuthenticateRequest) (*registryv1.AuthenticateResponse, error) {
	if !wellFormed(req.GetApiKey()) {
		return nil, errBadKey()
	}
	key, err := s.deps.Store.FindKey(ctx, hash(req.GetApiKey()))
	if fault.NotFound.Is(err) {
		return nil, errBadKey()
	}
	if err != nil {
		return nil, err
	}
	if key.Revoked || !key.ExpiresAt.IsZero() && !s.deps.Now().Before(key.ExpiresAt) {
		return nil, errBadKey()
	}
	user, err := s.deps.Store.FindUser(ctx, key.UserID)
	if err != nil {
		return nil, err
	}
	return &registryv1.AuthenticateResponse{User: userProto(user), KeyId: key.ID}, nil
}

func errBadKey() error {
	return fault.Unauthenticated.Errorf("the API key is not valid; get one with `agentcloud keys create` and run `mcp-agent login`")
}

// GetProfile tells callers who they are.
func (s *Service) GetProfile(ctx context.Context, _ *registryv1.GetProfileRequest) (*registryv1.GetProfileResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	found, err := s.deps.Store.FindUser(ctx, caller.UserID)
	if err != nil {
		return nil, err
	}
	return &registryv1.GetProfileResponse{User: userProto(found)}, nil
}

// CreateUser adds a user and a first key.
func (s *Service) CreateUser(ctx context.Context, req *registryv1.CreateUserRequest) (*registryv1.CreateUserResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	if !caller.Admin {
		return nil, fault.Denied.Errorf("only an administrator of the organisation may add users")
	}
	added, err := newUser(req, caller.OrgID)
	if err != nil {
		return nil, err
	}
	now := s.deps.Now()
	value, key := newKey(added.ID, "first key", now, time.Time{})
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if req.GetNewOrgName() != "" {
			if err := s.deps.Store.InsertOrg(ctx, tx, added.OrgID, req.GetNewOrgName(), now); err != nil {
				return err
			}
		}
		return s.insert(ctx, tx, added, key, now)
	})
	if sqldb.IsUnique(err) {
		return nil, fault.Exists.Wrap(err, "there is a user with the mail address %s already", added.Email)
	}
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateUserResponse{User: userProto(added), ApiKey: value}, nil
}

func (s *Service) insert(ctx context.Context, tx *sqldb.Tx, u store.User, k store.Key, now time.Time) error {
	if err := s.deps.Store.InsertUser(ctx, tx, u, now); err != nil {
		return err
	}
	return s.deps.Store.InsertKey(ctx, tx, k)
}

func newUser(req *registryv1.CreateUserRequest, callersOrg string) (store.User, error) {
	name, err := text.Name("a user's name", req.GetName(), maxName)
	if err != nil {
		return store.User{}, err
	}
	if err := text.Line("an organisation's name", req.GetNewOrgName(), maxName); err != nil {
		return store.User{}, err
	}
	address, err := mail.ParseAddress(req.GetEmail())
	if err != nil || len(address.Address) > maxEmail {
		return store.User{}, fault.Invalid.Wrap(err, "%.60q is no mail address", req.GetEmail())
	}
	u := store.User{ID: id.User.New(), OrgID: callersOrg, Name: name, Email: strings.ToLower(address.Address), Admin: req.GetAdmin()}
	if req.GetNewOrgName() != "" {
		u.OrgID, u.Admin = id.Org.New(), true // somebody must administer the new one
	}
	return u, nil
}

// CreateKey hands out a further key of the caller's.
func (s *Service) CreateKey(ctx context.Context, req *registryv1.CreateKeyRequest) (*registryv1.CreateKeyResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	if err := text.Line("a key's name", req.GetName(), maxName); err != nil {
		return nil, err
	}
	expires, err := expiry(req.GetExpiresAt(), s.deps.Now())
	if err != nil {
		return nil, err
	}
	held, err := s.deps.Store.ListKeys(ctx, caller.UserID, maxKeys)
	if err != nil {
		return nil, err
	}
	if len(held) == maxKeys {
		return nil, fault.Exhausted.Errorf("a user may have at most %d keys; revoke one with `agentcloud keys revoke`", maxKeys)
	}
	value, key := newKey(caller.UserID, req.GetName(), s.deps.Now(), expires)
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error { return s.deps.Store.InsertKey(ctx, tx, key) })
	if err != nil {
		return nil, err
	}
	return &registryv1.CreateKeyResponse{Key: keyProto(key), ApiKey: value}, nil
}

// expiry is when a key ends; the zero time: never.
func expiry(wish *timestamppb.Timestamp, now time.Time) (time.Time, error) {
	if wish == nil {
		return time.Time{}, nil
	}
	if err := wish.CheckValid(); err != nil {
		return time.Time{}, fault.Invalid.Wrap(err, "expiresAt is no time")
	}
	if !wish.AsTime().After(now) {
		return time.Time{}, fault.Invalid.Errorf("the key would have expired already")
	}
	return wish.AsTime(), nil
}

// ListKeys lists the caller's keys.
func (s *Service) ListKeys(ctx context.Context, _ *registryv1.ListKeysRequest) (*registryv1.ListKeysResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	keys, err := s.deps.Store.ListKeys(ctx, caller.UserID, maxKeys)
	if err != nil {
		return nil, err
	}
	res := &registryv1.ListKeysResponse{}
	for _, key := range keys {
		res.Keys = append(res.Keys, keyProto(key))
	}
	return res, nil
}

// RevokeKey ends a key of the caller's, also in every cache.
func (s *Service) RevokeKey(ctx context.Context, req *registryv1.RevokeKeyRequest) (*registryv1.RevokeKeyResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	if !id.Key.Valid(req.GetKeyId()) {
		return nil, fault.NotFound.Errorf("no such key")
	}
	found := false
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		found, err = s.deps.Store.RevokeKey(ctx, tx, caller.UserID, req.GetKeyId())
		if err != nil || !found {
			return err
		}
		return bus.Put(ctx, tx, &registryv1.KeyRevoked{KeyId: req.GetKeyId()})
	})
	if err != nil {
		return nil, err
	}
	if !found {
		return nil, fault.NotFound.Errorf("no such key")
	}
	return &registryv1.RevokeKeyResponse{}, nil
}

func user(ctx context.Context) (principal.Principal, error) {
	caller := principal.From(ctx)
	if caller.Kind != principal.User {
		return caller, fault.Unauthenticated.Errorf("an API key is needed")
	}
	return caller, nil
}

func userProto(u store.User) *registryv1.User {
	return &registryv1.User{UserId: u.ID, Name: u.Name, Email: u.Email, OrgId: u.OrgID, Admin: u.Admin}
}

func keyProto(k store.Key) *registryv1.Key {
	key := &registryv1.Key{KeyId: k.ID, Name: k.Name, CreatedAt: timestamppb.New(k.CreatedAt), Hint: k.Hint}
	if !k.ExpiresAt.IsZero() {
		key.ExpiresAt = timestamppb.New(k.ExpiresAt)
	}
	return key
}
