package priorities

import (
	"context"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/memo"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// maxRules is how many rules an organisation may have.
	maxRules = 1000
	// knownFresh is how late a rule counts that was changed at another replica.
	knownFresh = time.Second
	mostKnown  = 4096
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	Now   func() time.Time
	NewID func() string
}

// Service keeps the rules and applies them.
type Service struct {
	schedulerv1.UnimplementedPrioritiesServiceServer
	deps Deps
	// known are the rules for a caller, which each start needs.
	known *memo.Memo[[]store.PriorityRule]
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service {
	return &Service{deps: deps, known: memo.New[[]store.PriorityRule](mostKnown, knownFresh, deps.Now)}
}

// Of is what a caller gets of the queues of a target.
func (s *Service) Of(ctx context.Context, p principal.Principal, t store.Target) (Share, error) {
	caller := keyOf(p)
	rules, err := s.known.Get(ctx, strings.Join([]string{t.OrgID, t.AppID, caller}, "\x00"), func(ctx context.Context) ([]store.PriorityRule, error) {
		return s.deps.Store.PriorityRulesFor(ctx, t.OrgID, t.AppID, caller)
	})
	if err != nil {
		return Share{}, err
	}
	return share(p, rules), nil
}

// PutPriorityRule sets a rule of the caller's organisation.
func (s *Service) PutPriorityRule(ctx context.Context, req *schedulerv1.PutPriorityRuleRequest) (*schedulerv1.PutPriorityRuleResponse, error) {
	admin, err := Administrator(ctx)
	if err != nil {
		return nil, err
	}
	if err := check(req); err != nil {
		return nil, err
	}
	if req.GetAppId() != "" {
		if _, err := s.deps.Store.VisibleTarget(ctx, req.GetAppId()); err != nil {
			return nil, err
		}
	}
	now := s.deps.Now()
	rule := store.PriorityRule{
		ID: s.deps.NewID(), OrgID: admin.OrgID, AppID: req.GetAppId(), Caller: req.GetCaller(),
		Highest: req.GetHighest(), Weight: req.GetWeight(), CreatedAt: now, UpdatedAt: now,
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		var n int
		if rule, n, err = s.deps.Store.PutPriorityRule(ctx, tx, rule); err != nil {
			return err
		}
		if n > maxRules {
			return fault.Exhausted.Errorf("an organisation may have at most %d rules; delete one with `agentcloud priorities delete`", maxRules)
		}
		return s.changed(ctx, tx, &schedulerv1.PriorityRuleChanged{RuleId: rule.ID, OrgId: rule.OrgID})
	})
	if err != nil {
		return nil, err
	}
	return &schedulerv1.PutPriorityRuleResponse{Rule: toProto(rule)}, nil
}

// ListPriorityRules lists the rules of the caller's organisation.
func (s *Service) ListPriorityRules(ctx context.Context, req *schedulerv1.ListPriorityRulesRequest) (*schedulerv1.ListPriorityRulesResponse, error) {
	caller, err := User(ctx)
	if err != nil {
		return nil, err
	}
	all, err := s.deps.Store.PriorityRules(ctx, caller.OrgID, req.GetAppId())
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListPriorityRulesResponse{}
	for _, rule := range all {
		res.Rules = append(res.Rules, toProto(rule))
	}
	return res, nil
}

// DeletePriorityRule removes a rule.
func (s *Service) DeletePriorityRule(ctx context.Context, req *schedulerv1.DeletePriorityRuleRequest) (*schedulerv1.DeletePriorityRuleResponse, error) {
	admin, err := Administrator(ctx)
	if err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.deps.Store.DeletePriorityRule(ctx, tx, admin.OrgID, req.GetRuleId()); err != nil {
			return err
		}
		return s.changed(ctx, tx, &schedulerv1.PriorityRuleChanged{RuleId: req.GetRuleId(), OrgId: admin.OrgID, Deleted: true})
	})
	if err != nil {
		return nil, err
	}
	return &schedulerv1.DeletePriorityRuleResponse{RuleId: req.GetRuleId()}, nil
}

// changed tells of a rule. Schedules have said beforehand what their runs will get.
func (s *Service) changed(ctx context.Context, tx *sqldb.Tx, news *schedulerv1.PriorityRuleChanged) error {
	if err := s.deps.Store.LookAgain(ctx, tx, news.GetOrgId()); err != nil {
		return err
	}
	tx.AfterCommit(s.known.Forget)
	return bus.Put(ctx, tx, news)
}

func toProto(r store.PriorityRule) *schedulerv1.PriorityRule {
	return &schedulerv1.PriorityRule{
		RuleId: r.ID, OrgId: r.OrgID, AppId: r.AppID, Caller: r.Caller, Highest: r.Highest, Weight: r.Weight,
		CreatedAt: timestamppb.New(r.CreatedAt), UpdatedAt: timestamppb.New(r.UpdatedAt),
	}
}

// User is the caller, when it is a user.
func User(ctx context.Context) (principal.Principal, error) {
	caller := principal.From(ctx)
	if caller.Kind != principal.User || caller.OrgID == "" {
		return caller, fault.Unauthenticated.Errorf("an API key is needed")
	}
	return caller, nil
}

// Administrator is the caller, when it administers its organisation.
func Administrator(ctx context.Context) (principal.Principal, error) {
	caller, err := User(ctx)
	if err == nil && !caller.Admin {
		err = fault.Denied.Errorf("only an administrator of the organisation may change this")
	}
	return caller, err
}
