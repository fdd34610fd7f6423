package health

import (
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"go.temporal.io/sdk/client"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/page"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	usualPage = 100
	mostRows  = 1000
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store *store.Store
	// Namespaces gives Temporal clients.
	Namespaces interface {
		Client(ctx context.Context, namespace string) (client.Client, error)
	}
	// Watch is told what passes the edge.
	Watch  *Watch
	Limits Limits
	Log    *slog.Logger
	Now    func() time.Time
}

// Service looks after the health of workflows, and tells of it.
type Service struct {
	schedulerv1.UnimplementedHealthServiceServer

	deps Deps
	// told are the conditions of the last look, for the metrics.
	told atomic.Pointer[[]store.Condition]

	// What follows belongs to the goroutine that looks.

	gauges map[lane]*gauge
	// next is where the look at kinds goes on.
	next store.Kind
	// asked is when Temporal was last asked for runs with problems, nextOrg whose are next.
	asked   time.Time
	nextOrg int
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service {
	return &Service{deps: deps, gauges: map[lane]*gauge{}}
}

// GetAppHealth tells what is wrong with an app.
func (s *Service) GetAppHealth(ctx context.Context, req *schedulerv1.GetAppHealthRequest) (*schedulerv1.GetAppHealthResponse, error) {
	if principal.From(ctx).Kind == principal.Anonymous {
		return nil, fault.Denied.Errorf("show a key of the app's organisation")
	}
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	conditions, err := s.deps.Store.ConditionsOfTarget(ctx, t.ID, mostRows)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.GetAppHealthResponse{Healthy: len(conditions) == 0, Conditions: toProtos(conditions)}, nil
}

// ListHealth tells what is wrong with the apps of the caller's organisation.
func (s *Service) ListHealth(ctx context.Context, req *schedulerv1.ListHealthRequest) (*schedulerv1.ListHealthResponse, error) {
	who := principal.From(ctx)
	if who.OrgID == "" || who.Kind == principal.Anonymous {
		return nil, fault.Denied.Errorf("say whose apps: the caller has no organisation")
	}
	after, err := place(req.GetPageToken())
	if err != nil {
		return nil, err
	}
	size := page.Size(int(req.GetPageSize()), usualPage, mostRows)
	conditions, err := s.deps.Store.ConditionsOfOrg(ctx, who.OrgID, after, size+1)
	if err != nil {
		return nil, err
	}
	answer := &schedulerv1.ListHealthResponse{Healthy: len(conditions) == 0 && req.GetPageToken() == ""}
	if len(conditions) > size {
		conditions = conditions[:size]
		last := conditions[size-1].ConditionKey
		answer.NextPageToken = page.Encode(strings.Join([]string{last.TargetID, last.Type, last.Reason, last.Subject}, "\n"))
	}
	answer.Conditions = toProtos(conditions)
	return answer, nil
}

// place reads a page token. It fails with fault.Invalid.
func place(token string) (store.ConditionKey, error) {
	text, err := page.Decode(token)
	if err != nil || text == "" {
		return store.ConditionKey{}, err
	}
	const fields = 4
	parts := strings.SplitN(text, "\n", fields)
	if len(parts) != fields {
		return store.ConditionKey{}, fault.Invalid.Errorf("the page token is damaged; start again without it")
	}
	return store.ConditionKey{TargetID: parts[0], Type: parts[1], Reason: parts[2], Subject: parts[3]}, nil
}

func toProtos(conditions []store.Condition) []*schedulerv1.HealthCondition {
	all := make([]*schedulerv1.HealthCondition, 0, len(conditions))
	for _, c := range conditions {
		status := "active"
		if c.Settling {
			status = "settling"
		}
		all = append(all, &schedulerv1.HealthCondition{
			TargetId: c.TargetID, AppName: c.AppName, Type: c.Type, Reason: c.Reason, Subject: subject(c), Status: status, Message: c.Message,
			RunIds: c.RunIDs, Runs: int32(c.Runs), Since: timestamppb.New(c.Since), LastSeen: timestamppb.New(c.SeenAt), //nolint:gosec // bounded by what is looked at
		})
	}
	return all
}

// subject is what has a condition, by the name that people know.
func subject(c store.Condition) string {
	if c.Type == NoWorker || c.Type == QueueGrowing {
		return c.Subject
	}
	return nameOf(c.Subject)
}
