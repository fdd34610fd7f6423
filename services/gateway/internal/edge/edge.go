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
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/bridge"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/callbacks"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/limits"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/once"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/peers"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/routes"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/sessions"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/tasks"
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
	answers   *once.Answers
	limits    *limits.Limiter
	// limitsKnown says that the registry has told its limits once.
	limitsKnown atomic.Bool
}

// New returns an Edge on deps, which must be complete.
func New(deps Deps) *Edge {
	table := routes.New(deps.Log)
	store := sessions.NewStore(table, sessions.Limits{
		Total: deps.Config.Sessions, PerCaller: deps.Config.SessionsPerCaller, Idle: deps.Config.SessionIdle,
		Wait: deps.Config.ReadyWait,
	})
	questions := callbacks.NewQuestions(callbacks.Deps{Log: deps.Log, Runs: deps.Runs, Agents: deps.Scheduler, Sessions: store, Conn: deps.Bus.Conn()})
	store.OnEnd = questions.Ended
	store.Records = sessions.NewRecords(deps.Bus.JetStream(), deps.Config.SessionIdle)
	tools, client, among := workflowtools.New(deps.Runs), sessions.NewClient(), peers.New(deps.Bus.Conn())
	e := &Edge{
		deps: deps, table: table, sessions: store, tools: tools, questions: questions,
		callbacks: callbacks.NewServer(questions), client: client, peers: among,
		bridge: bridge.New(deps.Seal, client, store.Upstream, among), tasks: tasks.New(deps.Runs, tools, deps.Seal),
		limits: limits.New(limits.Deps{Log: deps.Log, NATS: deps.Bus.Conn(), Now: time.Now, Defaults: deps.Config.Limits.policies()}),
	}
	e.answers = once.New(deps.Bus.JetStream())
	among.Handle(postTopic, e.ssePosted)
	return e
}

// Ready says whether the table of apps and the limits have been read.
func (e *Edge) Ready() bool { return e.table.Complete() && e.limitsKnown.Load() }

// Run follows the table, listens where apps and callbacks are, and ends idle
// sessions, until ctx ends.
func (e *Edge) Run(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return e.table.Run(ctx, e.deps.Registry, e.deps.Scheduler) })
	group.Go(func() error { return e.sessions.Run(ctx) })
	group.Go(func() error { return e.sessions.Listen(ctx) })
	group.Go(func() error { return e.peers.Run(ctx) })
	group.Go(func() error { return e.limits.Run(ctx) })
	group.Go(func() error { return e.followLimits(ctx) })
	group.Go(func() error { return e.questions.Listen(ctx) })
	group.Go(func() error { return e.listenPorts(ctx) })
	group.Go(func() error { return e.listenCallbacks(ctx) })
	group.Go(func() error {
		return e.deps.Bus.Listen(ctx, func(event proto.Message) { e.learn(ctx, event) },
			&schedulerv1.QuestionAsked{}, &schedulerv1.QuestionAnswered{})
	})
	return group.Wait()
}

// learn acts on questions that other processes have taken or answered.
func (e *Edge) learn(ctx context.Context, event proto.Message) {
	switch event := event.(type) {
	case *schedulerv1.QuestionAsked:
		e.questions.Asked(ctx, event)
	case *schedulerv1.QuestionAnswered:
		e.sessions.Withdraw(event.GetTargetId(), event.GetQuestionId())
	}
}

// Handler serves the app with that host name; ok is false when there is none.
func (e *Edge) Handler(host string) (handler http.Handler, ok bool) {
	if e.table.Host(host) == nil {
		return nil, false
	}
	return e.app(func(*http.Request) *routes.Route { return e.table.Host(host) }), true
}
