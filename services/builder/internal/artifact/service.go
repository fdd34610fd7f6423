// Package artifact builds bundles into artifacts: it plans, has the engine install,
// tells every listener what happens, and takes away what nobody needs any more.
//
// It knows no apps and starts none; a target is where lines go.
package artifact

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/disk"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/engine"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/recipe"
	"github.com/mcpagentcloud/agentcloud/services/builder/internal/store"
)

// A Store remembers bundles and builds. *store.Store is one.
type Store interface {
	FindBundle(ctx context.Context, org, bundleID string) (store.Bundle, error)
	TouchBundle(ctx context.Context, bundleID string, now time.Time) error
	Bundles(ctx context.Context, before time.Time) ([]store.Bundle, error)
	RemoveBundle(ctx context.Context, b store.Bundle, before time.Time) (gone, last bool, err error)
	HasContent(ctx context.Context, org, digest string) (bool, error)
	SaveBuild(ctx context.Context, b store.Build) error
	FindBuild(ctx context.Context, bundleID, rules string) (store.Build, bool, error)
	Builds(ctx context.Context) ([]store.Build, error)
	Environments(ctx context.Context, before time.Time) ([]store.Environment, error)
	RemoveEnvironment(ctx context.Context, digest string, before time.Time) (bool, error)
	PruneResolutions(ctx context.Context, before time.Time) error
}

// An Engine installs packages. *engine.Engine is one.
type Engine interface {
	Interpreters(ctx context.Context) ([]recipe.Interpreter, error)
	LookAround(ctx context.Context) ([]recipe.Interpreter, error)
	Environment(ctx context.Context, w engine.Wishes, sink engine.Sink) (string, error)
	Compile(ctx context.Context, environment, dir string) error
	NodeVersion(ctx context.Context) (string, error)
	NodeApp(ctx context.Context, a engine.NodeApp, sink engine.Sink) (app, modules string, err error)
	NodeProgram() (string, error)
	NodeWorker(app string, n recipe.Node) (*builderv1.Worker, error)
	Image(ctx context.Context, image engine.Image, sink engine.Sink) (string, error)
	ImageSays(digest string) (engine.ImageSays, error)
	Executable(name string) error
	NodeTool(ctx context.Context, packages []string, sink engine.Sink) (string, error)
	Claim(ctx context.Context, digest, kind string) (bool, error)
	PythonCommand(digest, program string) (string, []string, error)
	NodeCommand(digest string, packages []string, program string) (string, []string, error)
	PruneCaches(ctx context.Context) (int64, error)
}

// Options bound builds.
type Options struct {
	// Prefer lists minor versions of Python, the best first.
	Prefer []string
	// NodeScripts lets packages of npm run scripts, for projects that want it.
	NodeScripts bool
	// Deadline bounds one build.
	Deadline time.Duration
	// Parallel is how many builds run at a time; others wait.
	Parallel int
	// Abandon is how long a build goes on after its last listener has left.
	Abandon time.Duration
	// Grace is how old a thing must be before it is garbage, whatever the caller says.
	Grace time.Duration
	// ResolutionAge is how long resolutions are remembered.
	ResolutionAge time.Duration
}

// Deps is everything a Service needs from outside.
type Deps struct {
	Store   Store
	Disk    *disk.Disk
	Engine  Engine
	Publish func(ctx context.Context, batch *busv1.LogBatch) error
	Log     *slog.Logger
	Now     func() time.Time
	NewID   func() string // of a build, for its lines
	Options Options
}

// Service answers Build and CollectGarbage.
type Service struct {
	builderv1.UnimplementedBuildsServiceServer
	deps   Deps
	places chan struct{}

	// Builds outlive the call that starts them, so they end with the service instead.
	stopped context.Context //nolint:containedctx // see above
	stop    context.CancelCauseFunc
	work    sync.WaitGroup

	mu      sync.Mutex
	closing bool
	jobs    map[string]*job // by bundle
}

// NewService returns a Service on deps, which must be complete.
func NewService(deps Deps) *Service {
	stopped, stop := context.WithCancelCause(context.Background())
	return &Service{deps: deps, places: make(chan struct{}, deps.Options.Parallel), stopped: stopped, stop: stop, jobs: map[string]*job{}}
}

var errStopping = fault.Unavailable.Errorf("the builder is stopping; the build begins again when it is back")

// Run waits for the end, and then for the builds to be killed.
func (s *Service) Run(ctx context.Context) error {
	// The first build should not wait for a look around the machine.
	if _, err := s.deps.Engine.LookAround(ctx); err != nil && ctx.Err() == nil {
		s.deps.Log.WarnContext(ctx, "no builds until this is mended", "error", err)
	}
	<-ctx.Done()
	s.close()
	s.stop(errStopping)
	s.work.Wait()
	return nil
}

// close lets no build begin any more.
func (s *Service) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closing = true
}

// drainMargin is what killing takes, of the time to drain.
const drainMargin = 3 * time.Second

// Drain lets builds finish as long as there is time, and stops the rest.
func (s *Service) Drain(ctx context.Context) error {
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-drainMargin))
		defer cancel()
	}
	s.close()
	finished := make(chan struct{})
	go func() {
		s.work.Wait()
		close(finished)
	}()
	select {
	case <-finished:
	case <-ctx.Done():
		s.stop(errStopping)
		<-finished
	}
	return nil
}

// Build makes the artifact of a bundle, or finds it made.
func (s *Service) Build(req *builderv1.BuildRequest, stream grpc.ServerStreamingServer[builderv1.BuildResponse]) error {
	ctx := stream.Context()
	bundle, err := s.deps.Store.FindBundle(ctx, req.GetOrgId(), req.GetBundleId())
	if err != nil {
		return err
	}
	j, err := s.join(bundle, audience{target: req.GetTargetId(), org: bundle.OrgID, version: req.GetVersionId()})
	if err != nil {
		return err
	}
	defer j.leave()
	for next := 0; ; {
		lines, after, done, err := j.wait(ctx, next)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if err := stream.Send(&builderv1.BuildResponse{Event: &builderv1.BuildResponse_Line{Line: line.proto(req.GetVersionId())}}); err != nil {
				return err
			}
		}
		if next = after; done {
			return j.answer(stream)
		}
	}
}

// join returns the running build of the bundle, or starts one, and lets the
// audience hear of it.
func (s *Service) join(b store.Bundle, a audience) (*job, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, errStopping
	}
	j := s.jobs[b.ID]
	if j == nil || !j.enter() {
		j = s.start(b)
	}
	if a.target != "" && j.addresses(a) {
		s.work.Go(func() { s.publish(j, a) })
	}
	return j, nil
}

// start runs a new build; s.mu is held.
func (s *Service) start(b store.Bundle) *job {
	ctx, cancel := context.WithCancelCause(s.stopped)
	j := newJob(s.deps.NewID(), s.deps.Now, cancel, s.deps.Options.Abandon)
	s.jobs[b.ID] = j
	s.work.Go(func() {
		defer cancel(nil)
		j.run(func() outcome { return s.make(ctx, b, j) })
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.jobs[b.ID] == j {
			delete(s.jobs, b.ID)
		}
	})
	return j
}

// running says whether a bundle is being built.
func (s *Service) running(bundleID string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.jobs[bundleID] != nil
}
