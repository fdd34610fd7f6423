// Package secrets answers for the secrets of organisations: it ties handles and
// owners, which a database keeps, to values, which only the vault keeps.
//
// A value is in the vault before its handle is given out, and gone from it before
// its handle is forgotten, so that no crash leaves a handle without a value or a
// value without a handle.
package secrets

import (
	"context"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/secretsbroker/internal/vault"
)

const (
	maxHandles  = 1000
	defaultPage = 1000
	readers     = 8
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	Vault vault.Vault
	Log   *slog.Logger
	Now   func() time.Time
}

// Service implements secretsv1.SecretsServiceServer.
type Service struct {
	secretsv1.UnimplementedSecretsServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// CreateSecret stores a value and hands out a handle for it.
func (s *Service) CreateSecret(ctx context.Context, req *secretsv1.CreateSecretRequest) (*secretsv1.CreateSecretResponse, error) {
	caller, err := member(ctx)
	if err != nil {
		return nil, err
	}
	if err := checkNew(req); err != nil {
		return nil, err
	}
	record := store.Record{
		ID: id.Secret.New(), OrgID: caller.OrgID, CreatorID: caller.UserID,
		Name: req.GetName(), Type: req.GetType(), State: store.Storing, UpdatedAt: s.deps.Now(),
	}
	if err := s.deps.Store.Insert(ctx, record); err != nil {
		return nil, err
	}
	if _, err := s.deps.Vault.Put(ctx, path(record), []byte(req.GetValue())); err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		return s.deps.Store.SetState(ctx, tx, record.ID, store.Stored, s.deps.Now())
	})
	if err != nil {
		return nil, err
	}
	return &secretsv1.CreateSecretResponse{Secret: toProto(record), Success: true}, nil
}

// SetSecretValue replaces the value.
func (s *Service) SetSecretValue(ctx context.Context, req *secretsv1.SetSecretValueRequest) (*secretsv1.SetSecretValueResponse, error) {
	record, err := s.own(ctx, req.GetSecretId())
	if err != nil {
		return nil, err
	}
	if err := checkValue(req.GetValue()); err != nil {
		return nil, err
	}
	if _, err := s.deps.Vault.Put(ctx, path(record), []byte(req.GetValue())); err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.deps.Store.SetState(ctx, tx, record.ID, store.Stored, s.deps.Now()); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &secretsv1.SecretChanged{SecretId: record.ID, OrgId: record.OrgID})
	})
	if err != nil {
		return nil, err
	}
	return &secretsv1.SetSecretValueResponse{Success: true}, nil
}

// GetSecretValue gives the value to a user who may read it.
func (s *Service) GetSecretValue(ctx context.Context, req *secretsv1.GetSecretValueRequest) (*secretsv1.GetSecretValueResponse, error) {
	record, err := s.own(ctx, req.GetSecretId())
	if err != nil {
		return nil, err
	}
	value, err := s.deps.Vault.Get(ctx, path(record))
	if err != nil {
		return nil, err
	}
	return &secretsv1.GetSecretValueResponse{Value: string(value)}, nil
}

// ListSecrets lists the organisation's secrets that the caller may manage.
func (s *Service) ListSecrets(ctx context.Context, req *secretsv1.ListSecretsRequest) (*secretsv1.ListSecretsResponse, error) {
	caller, err := member(ctx)
	if err != nil {
		return nil, err
	}
	size := page.Size(int(req.GetPageSize()), defaultPage, defaultPage)
	filter := store.Filter{OrgID: caller.OrgID, Contains: req.GetNameFilter(), Limit: size + 1}
	if err := after(req.GetPageToken(), &filter); err != nil {
		return nil, err
	}
	records, err := s.deps.Store.List(ctx, filter)
	if err != nil {
		return nil, err
	}
	return listPage(caller, records, size)
}

// DeleteSecret forgets a secret: first its value, then its handle.
func (s *Service) DeleteSecret(ctx context.Context, req *secretsv1.DeleteSecretRequest) (*secretsv1.DeleteSecretResponse, error) {
	record, err := s.own(ctx, req.GetSecretId())
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		return s.deps.Store.SetState(ctx, tx, record.ID, store.Deleting, s.deps.Now())
	})
	if err != nil {
		return nil, err
	}
	if err := s.forget(ctx, record); err != nil {
		return nil, err
	}
	return &secretsv1.DeleteSecretResponse{SecretId: record.ID}, nil
}

// forget finishes a deletion; it can be repeated.
func (s *Service) forget(ctx context.Context, record store.Record) error {
	if err := s.deps.Vault.Delete(ctx, path(record)); err != nil {
		return err
	}
	return s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.deps.Store.Remove(ctx, tx, record.ID); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &secretsv1.SecretChanged{SecretId: record.ID, OrgId: record.OrgID, Deleted: true})
	})
}

// CheckHandles says which handles the organisation does not have, or the calling user
// may not use: a user's own secret is nobody else's.
func (s *Service) CheckHandles(ctx context.Context, req *secretsv1.CheckHandlesRequest) (*secretsv1.CheckHandlesResponse, error) {
	if len(req.GetHandles()) > maxHandles {
		return nil, fault.TooLarge.Errorf("at most %d secret handles can be checked at once", maxHandles)
	}
	caller := principal.From(ctx)
	var unknown []string
	for _, handle := range req.GetHandles() {
		record, err := s.deps.Store.Find(ctx, req.GetOrgId(), handle)
		if fault.NotFound.Is(err) || err == nil && !mayUse(caller, record) {
			unknown = append(unknown, handle)
			continue
		}
		if err != nil {
			return nil, err
		}
	}
	return &secretsv1.CheckHandlesResponse{Unknown: unknown}, nil
}

// ResolveHandles gives the values that an agent starts with, to the scheduler alone.
func (s *Service) ResolveHandles(ctx context.Context, req *secretsv1.ResolveHandlesRequest) (*secretsv1.ResolveHandlesResponse, error) {
	if !mayResolve(principal.From(ctx), req.GetOrgId()) {
		return nil, fault.Denied.Errorf("only the scheduler reads values for agents, for one organisation at a time")
	}
	if len(req.GetHandles()) > maxHandles {
		return nil, fault.TooLarge.Errorf("at most %d secret handles can be resolved at once", maxHandles)
	}
	values := make([]string, len(req.GetHandles()))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(readers)
	for i, handle := range req.GetHandles() {
		group.Go(func() error {
			record, err := s.deps.Store.Find(ctx, req.GetOrgId(), handle)
			if err != nil {
				return err
			}
			value, err := s.deps.Vault.Get(ctx, path(record))
			values[i] = string(value)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	s.deps.Log.InfoContext(ctx, "secrets read for an agent", "org", req.GetOrgId(), "purpose", req.GetPurpose(), "handles", len(values))
	return &secretsv1.ResolveHandlesResponse{Values: zip(req.GetHandles(), values)}, nil
}

// own finds a record the caller may manage; any other is not found, so that
// nobody learns which handles exist.
func (s *Service) own(ctx context.Context, secretID string) (store.Record, error) {
	caller, err := member(ctx)
	if err != nil {
		return store.Record{}, err
	}
	record, err := s.deps.Store.Find(ctx, caller.OrgID, secretID)
	if err != nil {
		return store.Record{}, err
	}
	if !mayManage(caller, record) {
		return store.Record{}, fault.NotFound.Errorf("no such secret")
	}
	return record, nil
}

func member(ctx context.Context) (principal.Principal, error) {
	caller := principal.From(ctx)
	if caller.OrgID == "" || caller.UserID == "" {
		return caller, fault.Unauthenticated.Errorf("an API key is needed")
	}
	return caller, nil
}
