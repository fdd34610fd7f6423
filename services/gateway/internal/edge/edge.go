// Package edge serves the addresses of apps: who calls, may they, and which of the
// app's ways in they use. It reads the envelope of a message and passes the bytes on.
//
// Sessions, workflow tools, limits and callbacks have packages of their own.
package edge

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/awake"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/bridge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/callbacks"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/once"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/outcomes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/tasks"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/updates"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/workflowtools"
)

// Authenticator finds the principal behind a key.
type Authenticator interface {
	Authenticate(ctx context.Context, key string) (principal.Principal, error)
}

// Edge serves all apps.
type Edge struct {
	deps      Deps
	table     *routes.Table
	sessions  *sessions.Store
	tools     *workflowtools.Tools
	questions *callbacks.Questions
	callbacks *callbacks.Server
	client    *http.Client
	bridge    *bridge.Bridge
	tasks     *tasks.Tasks
	peers     *peers.Peers
	awake     *awake.Keeper
	answers   *once.Answers
	updates   *updates.Hub
	limits    *limits.Limiter
	// atPort and atHost serve all apps: at ports of their own, and by their host names.
	atPort, atHost http.Handler
	outcomes       *outcomes.Counter
	// limitsKnown says that the registry has told its limits once.
	limitsKnown atomic.Bool
}

// New returns an Edge on deps, which must be complete.
func New(deps Deps) *Edge {
	table := routes.New(deps.Log)
	keeper := awake.New(awake.Deps{Table: table, Scheduler: deps.Sleep, Waiters: deps.Config.WakeWaiters, Log: deps.Log, Now: time.Now})
	table.Waker = keeper
	client := sessions.NewClient(keeper.Transport)
	store := sessions.NewStore(table, client, sessions.Limits{
		Total: deps.Config.Sessions, PerCaller: deps.Config.SessionsPerCaller, Idle: deps.Config.SessionIdle,
		Wait: deps.Config.ReadyWait,
	})
	questions := callbacks.NewQuestions(callbacks.Deps{Log: deps.Log, Runs: deps.Runs, Agents: deps.Scheduler, Sessions: store, Conn: deps.Bus.Conn()})
	store.OnEnd = questions.Ended
	store.Records = sessions.NewRecords(deps.Bus.JetStream(), deps.Config.SessionIdle)
	tools, among := workflowtools.New(deps.Runs), peers.New(deps.Bus.Conn())
	e := &Edge{
		deps: deps, table: table, sessions: store, tools: tools, questions: questions,
		callbacks: callbacks.NewServer(questions), client: client, peers: among, awake: keeper,
		tasks: tasks.New(deps.Runs, tools, deps.Seal),
		bridge: bridge.New(bridge.Deps{
			Log: deps.Log, Seal: deps.Seal, Client: client, Woken: table.Woken, Now: func(target string, pick routes.Pick) *routes.Route { return table.Target(target).For(pick) }, Hold: table.Hold, Choose: table.Choose, Open: store.Upstream, Peers: among, Calls: deps.Calls, Wait: deps.Config.QuestionWait,
		}),
		limits: limits.New(limits.Deps{Log: deps.Log, NATS: deps.Bus.Conn(), Now: time.Now, Defaults: deps.Config.Limits.policies()}),
	}
	e.outcomes = outcomes.New(outcomes.Deps{Scheduler: deps.Outcomes, GatewayID: among.Name(), Every: deps.Config.Outcomes, Log: deps.Log, Now: time.Now})
	e.answers = once.New(deps.Bus.JetStream())
	e.updates = updates.New(table, store.Upstream, e.bridge.Stream)
	among.Handle(postTopic, e.ssePosted)
	among.Handle(againTopic, e.madeAgain)
	among.Handle(replyTopic, e.replied)
	store.CallsAt(among.Name())
	e.atPort, e.atHost = e.app(e.byPort), e.app(e.byHost)
	return e
}

// Ready says whether the table of apps and the limits have been read.
func (e *Edge) Ready() bool { return e.table.Complete() && e.limitsKnown.Load() }

// Run follows the table, listens where apps and callbacks are, and ends idle
// sessions, until ctx ends.
func (e *Edge) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.table.Run(ctx, e.deps.Registry, e.deps.Scheduler) })
	group.Go(func() error { return e.awake.Run(ctx) })
	group.Go(func() error { return e.sessions.Run(ctx) })
	group.Go(func() error { return e.sessions.Listen(ctx) })
	group.Go(func() error { return e.bridge.Run(ctx) })
	group.Go(func() error { return e.peers.Run(ctx) })
	group.Go(func() error { return e.updates.Run(ctx) })
	group.Go(func() error { return e.limits.Run(ctx) })
	group.Go(func() error { return e.followLimits(ctx) })
	group.Go(func() error { return e.outcomes.Run(ctx) })
	group.Go(func() error { return e.questions.Listen(ctx) })
	group.Go(func() error { return e.listenPorts(ctx) })
	group.Go(func() error { return e.listenCallbacks(ctx) })
	group.Go(func() error {
		return e.deps.Bus.Listen(ctx, func(event proto.Message) { e.learn(ctx, event) },
			&schedulerv1.QuestionAsked{}, &schedulerv1.QuestionAnswered{}, &schedulerv1.QuestionExpired{}, &schedulerv1.QuestionWithdrawn{})
	})
	return group.Wait()
}

// learn acts on questions that other processes have taken, and on those that need no
// answer any more.
func (e *Edge) learn(ctx context.Context, event proto.Message) {
	switch event := event.(type) {
	case *schedulerv1.QuestionAsked:
		e.questions.Asked(ctx, event)
	case *schedulerv1.QuestionAnswered:
		e.sessions.Withdraw(event.GetTargetId(), event.GetQuestionId())
	case *schedulerv1.QuestionExpired:
		e.sessions.Withdraw(event.GetTargetId(), event.GetQuestionId())
	case *schedulerv1.QuestionWithdrawn:
		e.sessions.Withdraw(event.GetTargetId(), event.GetQuestionId())
	}
}

// Handler serves the app with that host name; ok is false when there is none.
func (e *Edge) Handler(host string) (handler http.Handler, ok bool) {
	return e.atHost, e.table.Host(host) != nil
}
