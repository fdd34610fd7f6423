// Package limits keeps how often and how many at once callers may call an
// organisation's apps. It counts no call: that is the gateway's business.
package limits

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/apps"
	"github.com/mcpagentcloud/agentcloud/services/registry/internal/store"
)

// maxLimits is how many limits an organisation may have: each is held against each call.
const maxLimits = 1000

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	Now   func() time.Time
	// Changed wakes those who watch the limits.
	Changed *apps.Broadcast
}

// Service implements registryv1.LimitsServiceServer.
type Service struct {
	registryv1.UnimplementedLimitsServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// PutLimit sets a limit of the caller's organisation.
func (s *Service) PutLimit(ctx context.Context, req *registryv1.PutLimitRequest) (*registryv1.PutLimitResponse, error) {
	admin, err := administrator(ctx)
	if err != nil {
		return nil, err
	}
	if err := check(req); err != nil {
		return nil, err
	}
	if err := s.known(ctx, admin.OrgID, req); err != nil {
		return nil, err
	}
	now := s.deps.Now().UTC()
	limit := store.Limit{
		ID: id.Limit.New(), OrgID: admin.OrgID, AppID: req.GetAppId(), Caller: req.GetCaller(), Tool: req.GetTool(),
		CallsPerSecond: req.GetCallsPerSecond(), Burst: req.GetBurst(), Concurrent: req.GetConcurrent(), CreatedAt: now, UpdatedAt: now,
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if limit, err = s.deps.Store.PutLimit(ctx, tx, limit); err != nil {
			return err
		}
		if n, err := s.deps.Store.CountLimits(ctx, tx, admin.OrgID); err != nil || n > maxLimits {
			return tooMany(err)
		}
		return bus.Put(ctx, tx, &registryv1.LimitChanged{LimitId: limit.ID, OrgId: limit.OrgID})
	})
	if err != nil {
		return nil, err
	}
	s.deps.Changed.Notify()
	return &registryv1.PutLimitResponse{Limit: limitProto(limit)}, nil
}

func tooMany(err error) error {
	if err != nil {
		return err
	}
	return fault.Exhausted.Errorf("an organisation may have at most %d limits; delete one with `agentcloud limits delete`", maxLimits)
}

// known fails unless the app and the user that a limit is for are of the organisation.
func (s *Service) known(ctx context.Context, orgID string, req *registryv1.PutLimitRequest) error {
	if app := req.GetAppId(); app != "" {
		if _, err := s.deps.Store.FindApp(ctx, orgID, app); err != nil {
			return err
		}
	}
	if caller := req.GetCaller(); caller != "" && caller != together {
		user, err := s.deps.Store.FindUser(ctx, caller)
		if err != nil && !fault.NotFound.Is(err) {
			return err
		}
		if user.OrgID != orgID {
			return fault.NotFound.Wrap(err, "no such user in your organisation; write the user's id, or %s for all callers together", together)
		}
	}
	return nil
}

// GetLimit finds a limit.
func (s *Service) GetLimit(ctx context.Context, req *registryv1.GetLimitRequest) (*registryv1.GetLimitResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	limit, err := s.deps.Store.FindLimit(ctx, caller.OrgID, req.GetLimitId())
	if err != nil {
		return nil, err
	}
	return &registryv1.GetLimitResponse{Limit: limitProto(limit)}, nil
}

// ListLimits lists the limits of the caller's organisation.
func (s *Service) ListLimits(ctx context.Context, req *registryv1.ListLimitsRequest) (*registryv1.ListLimitsResponse, error) {
	caller, err := user(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.deps.Store.ListLimits(ctx, caller.OrgID, req.GetAppId())
	if err != nil {
		return nil, err
	}
	res := &registryv1.ListLimitsResponse{}
	for _, limit := range all {
		res.Limits = append(res.Limits, limitProto(limit))
	}
	return res, nil
}

// DeleteLimit removes a limit.
func (s *Service) DeleteLimit(ctx context.Context, req *registryv1.DeleteLimitRequest) (*registryv1.DeleteLimitResponse, error) {
	admin, err := administrator(ctx)
	if err != nil {
		return nil, err
	}
	limit, err := s.deps.Store.FindLimit(ctx, admin.OrgID, req.GetLimitId())
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.deps.Store.DeleteLimit(ctx, tx, limit.ID); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &registryv1.LimitChanged{LimitId: limit.ID, OrgId: limit.OrgID, Deleted: true})
	})
	if err != nil {
		return nil, err
	}
	s.deps.Changed.Notify()
	return &registryv1.DeleteLimitResponse{LimitId: limit.ID}, nil
}

func limitProto(l store.Limit) *registryv1.Limit {
	return &registryv1.Limit{
		LimitId: l.ID, OrgId: l.OrgID, AppId: l.AppID, Caller: l.Caller, Tool: l.Tool,
		CallsPerSecond: l.CallsPerSecond, Burst: l.Burst, Concurrent: l.Concurrent,
		CreatedAt: timestamppb.New(l.CreatedAt), UpdatedAt: timestamppb.New(l.UpdatedAt),
	}
}

func user(ctx context.Context) (principal.Principal, error) {
	caller := principal.From(ctx)
	if caller.Kind != principal.User {
		return caller, fault.Unauthenticated.Errorf("an API key is needed")
	}
	return caller, nil
}

func administrator(ctx context.Context) (principal.Principal, error) {
	caller, err := user(ctx)
	if err == nil && !caller.Admin {
		err = fault.Denied.Errorf("only an administrator of the organisation may change its limits")
	}
	return caller, err
}
