// Package queues shows the task queues of apps and bounds how fast and how much at once
// is taken from them. The counting is Temporal's and the workers' own.
package queues

import (
	"cmp"
	"context"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/errgroup"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	usualPage = 50
	mostPage  = 100
	// atOnce bounds the targets that Temporal is asked about at the same time.
	atOnce = 8
)

// Namespaces gives Temporal clients.
type Namespaces interface {
	Client(ctx context.Context, namespace string) (client.Client, error)
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store      *store.Store
	Namespaces Namespaces
	Now        func() time.Time
}

// Service answers for queues.
type Service struct {
	schedulerv1.UnimplementedQueuesServiceServer
	deps Deps
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service { return &Service{deps: deps} }

// ListQueues tells how busy the queues of the caller's organisation are.
func (s *Service) ListQueues(ctx context.Context, req *schedulerv1.ListQueuesRequest) (*schedulerv1.ListQueuesResponse, error) {
	caller, err := priorities.User(ctx)
	if err != nil {
		return nil, err
	}
	token, err := page.Decode(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	afterName, afterID, _ := strings.Cut(token, "\x00")
	size := page.Size(int(req.GetPageSize()), usualPage, mostPage)
	targets, err := s.deps.Store.TargetsOfOrg(ctx, caller.OrgID, afterName, afterID, size+1)
	if err != nil {
		return nil, err
	}
	res := &schedulerv1.ListQueuesResponse{}
	if len(targets) > size {
		targets = targets[:size]
		last := targets[size-1]
		res.NextPageToken = page.Encode(last.AppName + "\x00" + last.ID)
	}
	res.Targets, err = s.tellAll(ctx, targets)
	return res, err
}

func (s *Service) tellAll(ctx context.Context, targets []store.Target) ([]*schedulerv1.TargetQueues, error) {
	all := make([]*schedulerv1.TargetQueues, len(targets))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, t := range targets {
		group.Go(func() (err error) {
			all[i], err = s.tell(ctx, t)
			return err
		})
	}
	return all, group.Wait()
}

// GetQueues tells how the queues of one target are.
func (s *Service) GetQueues(ctx context.Context, req *schedulerv1.GetQueuesRequest) (*schedulerv1.GetQueuesResponse, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	told, err := s.tell(ctx, t)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetQueuesResponse{Target: told}, nil
}

// SetQueueLimits bounds the queues of a target. They are written down first, so that a
// start of a version brings what Temporal was not told.
func (s *Service) SetQueueLimits(ctx context.Context, req *schedulerv1.SetQueueLimitsRequest) (*schedulerv1.SetQueueLimitsResponse, error) {
	if _, err := priorities.Administrator(ctx); err != nil {
		return nil, err
	}
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	limits := fromProto(req.GetLimits())
	if err := check(limits); err != nil {
		return nil, err
	}
	err = s.deps.Store.Tx(ctx, func(tx *sqldb.Tx) error {
		if err := s.deps.Store.SetQueueLimits(ctx, tx, t.ID, limits, s.deps.Now()); err != nil {
			return err
		}
		return bus.Put(ctx, tx, &schedulerv1.QueueLimitsChanged{TargetId: t.ID, OrgId: t.OrgID, Limits: toProto(limits)})
	})
	if err != nil {
		return nil, err
	}
	if err := s.apply(ctx, t, limits); err != nil {
		return nil, fault.Unavailable.Wrap(err, "the limits are written down, but Temporal was not told; set them again")
	}
	return &schedulerv1.SetQueueLimitsResponse{Limits: toProto(limits)}, nil
}

func (s *Service) apply(ctx context.Context, t store.Target, limits store.QueueLimits) error {
	c, err := s.deps.Namespaces.Client(ctx, t.OrgID)
	if err != nil {
		return err
	}
	versions, err := s.deps.Store.VersionsOf(ctx, t.ID)
	if err != nil {
		return err
	}
	for _, queue := range Bounded(t.ID, versions...) {
		if err := Bound(ctx, c, t.OrgID, queue, limits); err != nil {
			return err
		}
	}
	return nil
}

// tell asks Temporal about each queue of a target.
func (s *Service) tell(ctx context.Context, t store.Target) (*schedulerv1.TargetQueues, error) {
	c, err := s.deps.Namespaces.Client(ctx, t.OrgID)
	if err != nil {
		return nil, away(err)
	}
	limits, _, err := s.deps.Store.QueueLimits(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	versions, err := s.deps.Store.VersionsOf(ctx, t.ID)
	if err != nil {
		return nil, err
	}
	told := &schedulerv1.TargetQueues{
		TargetId: t.ID, AppId: cmp.Or(t.AppID, t.ID), AppName: t.AppName, Limits: toProto(limits), Queues: queuesOf(t.ID, versions),
	}
	for _, q := range told.GetQueues() {
		if err := describe(ctx, c, t.OrgID, q); err != nil {
			return nil, away(err)
		}
	}
	return told, nil
}
