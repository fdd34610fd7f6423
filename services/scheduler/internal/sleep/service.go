// Package sleep decides when agents have nothing to do, so that their processes may end,
// and when they are needed again.
//
// It starts and ends nothing itself: that is the business of package deployments, which
// also writes down what sleeps.
package sleep

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"golang.org/x/sync/singleflight"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// Agents starts and ends the processes of versions.
type Agents interface {
	// State tells how one role of a version is; false when it has no process.
	State(targetID, versionID string, role agentenv.Role) (deployments.Process, bool)
	// Rest ends one role of a live version until Rouse; false when it is needed after
	// all. Still is asked once no new call can come any more.
	Rest(ctx context.Context, v store.Version, role agentenv.Role, still func() bool) (bool, error)
	// Rouse starts one role and waits until it is ready; it fails with fault.Conflict and
	// the reason when it will not be.
	Rouse(ctx context.Context, v store.Version, role agentenv.Role) error
	// RestWarm ends the processes of a version that stays up for a rollback, which starts
	// them again.
	RestWarm(ctx context.Context, versionID string) error
	// Instances are the processes of one role of a version.
	Instances(targetID, versionID string, role agentenv.Role) []deployments.Instance
	// Grow starts processes of one role of a version that is awake, until there are count.
	Grow(ctx context.Context, v store.Version, role agentenv.Role, count int) error
	// Shrink ends one of several processes of a role, and says whether it did; agreed is
	// asked, until ctx ends, once nobody new calls it.
	Shrink(ctx context.Context, v store.Version, role agentenv.Role, one deployments.Instance, agreed func(context.Context) bool) (bool, error)
}

// Limits are the times of sleep.
type Limits struct {
	// After is how long nobody must have needed an agent until it sleeps; 0: it never does.
	After time.Duration
	// Lead is how long before a schedule is due its app does not fall asleep any more.
	Lead time.Duration
	// Start is how long a start may take.
	Start time.Duration
	// Processes bounds those of one role of a version, and Down is how long one of them
	// must have been too many until it ends.
	Processes int
	Down      time.Duration
	// Every is the time between two looks.
	Every time.Duration
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store  *store.Store
	Agents Agents
	// Namespaces gives Temporal clients.
	Namespaces interface {
		Client(ctx context.Context, namespace string) (client.Client, error)
	}
	Bell   *bell.Bell
	Limits Limits
	// Draining is closed when streams should end, for the process does.
	Draining <-chan struct{}
	Log      *slog.Logger
	Now      func() time.Time
}

const (
	// startsAtOnce bounds how many agents wake together, each of which takes a processor
	// for a moment; looksAtOnce bounds how many are looked at or fall asleep.
	startsAtOnce = 8
	looksAtOnce  = 8
)

// Service answers for sleep.
type Service struct {
	schedulerv1.UnimplementedSleepServiceServer
	deps     Deps
	gateways *gateways

	// ctx ends with Run; starts outlive those who asked for them.
	ctx     context.Context //nolint:containedctx // as said
	end     context.CancelFunc
	working sync.WaitGroup
	starts  chan struct{}
	looks   chan struct{}
	waking  singleflight.Group

	mu       sync.Mutex
	over     bool
	versions map[string]version // by id
	roles    map[bell.Key]*role
	// stirring are the targets whose queues are looked at just now.
	stirring map[string]bool
	// resting are the versions that stay up for a rollback and are falling asleep.
	resting map[string]bool
}

// version is what has to be known of a version all the time.
type version struct {
	store.Version // with ids and number only

	idle  time.Duration // 0: it never sleeps
	scale deployments.Scale
	roles []agentenv.Role
}

// standing is what a version is up for.
type standing int

const (
	// drains is what has to end, also when it is not known.
	drains standing = iota
	serves
	tried
)

// role is one role of a version that is live, tried or drains, or of one that sleeps.
type role struct {
	version version
	// standing is what that is up for.
	standing standing
	// asleep says that it sleeps, or is about to.
	asleep bool
	// since is when it was last seen to work, as far as nobody rang for it.
	since time.Time
	// due is when to look again; looking, that somebody does.
	due     time.Time
	looking bool
	// looks counts those since it fell asleep, or since this process began.
	looks int
	// pace is that of its number of processes; scaling, that somebody sees to it.
	pace    pace
	scaling bool
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service {
	ctx, end := context.WithCancel(context.Background())
	return &Service{
		deps: deps, gateways: newGateways(), ctx: ctx, end: end,
		starts: make(chan struct{}, startsAtOnce), looks: make(chan struct{}, looksAtOnce),
		versions: map[string]version{}, roles: map[bell.Key]*role{}, stirring: map[string]bool{}, resting: map[string]bool{},
	}
}

// Run looks after agents until ctx ends.
func (s *Service) Run(ctx context.Context) error {
	defer s.close()
	ticker := time.NewTicker(s.deps.Limits.Every)
	defer ticker.Stop()
	for {
		if err := s.round(ctx); err != nil && ctx.Err() == nil {
			s.deps.Log.WarnContext(ctx, "agents that may sleep or wake are looked at later", "error", err)
		}
		for looked := false; !looked; {
			select {
			case <-ctx.Done():
				return nil
			case <-ticker.C:
				looked = true
			case <-s.deps.Bell.Rung():
				s.answer()
			}
		}
	}
}

func (s *Service) close() {
	s.mu.Lock()
	s.over = true
	s.mu.Unlock()
	s.end()
	s.working.Wait()
}

// work does something that Run waits for; false when it is over.
func (s *Service) work(do func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return false
	}
	s.working.Go(do)
	return true
}

// find tells what has to be known of a version.
func (s *Service) find(ctx context.Context, versionID string) (version, error) {
	s.mu.Lock()
	known, ok := s.versions[versionID]
	s.mu.Unlock()
	if ok {
		return known, nil
	}
	v, err := s.deps.Store.Version(ctx, versionID)
	if err != nil {
		return version{}, err
	}
	known = version{Version: store.Version{ID: v.ID, TargetID: v.TargetID, OrgID: v.OrgID, Number: v.Number}, roles: deployments.Roles(v)}
	known.idle, _ = deployments.IdleOf(v, s.deps.Limits.After)
	known.scale = deployments.ScaleOf(v, s.deps.Limits.Processes)
	if v.Capture.MCPURL != "" {
		known.idle, known.roles = 0, nil // what runs elsewhere is not ours to end
	}
	if v.State == store.Live || v.State == store.Ready || v.State == store.Draining { // its capture does not change any more
		s.mu.Lock()
		s.versions[versionID] = known
		s.mu.Unlock()
	}
	return known, nil
}

// live is the version of a target that serves.
func (s *Service) live(ctx context.Context, t store.Target) (version, error) {
	if t.Live == "" {
		return version{}, fault.Unavailable.Errorf("this app has no live version; deploy it first")
	}
	return s.find(ctx, t.Live)
}
