// Package scheduler is the room that makes it so and keeps the time: it deploys
// versions, runs agents, and is the only room that speaks Temporal.
package scheduler

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/service"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentclient"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/endpoints"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/questions"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaledge"
)

// consumer is the durable name under which this room hears of the registry's news.
const consumer = "scheduler"

// agents is the runtime and who shakes hands with what it runs.
type agents struct {
	runtime deployments.Runtime
	prober  deployments.Prober
	// stop drains and ends all agents.
	stop func(ctx context.Context) error
}

type room struct {
	env         service.Env
	db          *sqldb.DB
	store       *store.Store
	namespaces  *namespaces.Directory
	table       *endpoints.Table
	agents      agents
	deployments *deployments.Service
	runs        *runs.Service
	tools       *runs.ToolWorkers
	questions   *questions.Service
	edge        *temporaledge.Edge
	edgeOn      net.Listener
	draining    chan struct{}
}

// asked keeps the two halves of a runsServer apart by name.
type asked = questions.Service

// runsServer answers for runs and for their questions.
type runsServer struct {
	*runs.Service
	*asked
}

// New builds the room.
func New(ctx context.Context, cfg Config, env service.Env) (service.Service, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	a, err := newAgents(cfg, env)
	if err != nil {
		return nil, err
	}
	return build(ctx, cfg, env, a)
}

// build puts the room together around its agents.
func build(ctx context.Context, cfg Config, env service.Env, a agents) (*room, error) {
	db, err := env.OpenDB(ctx, store.Migrations())
	if err != nil {
		return nil, err
	}
	directory, err := namespaces.New(namespaces.Config{Address: cfg.Temporal.Address, Retention: cfg.Temporal.Retention, Log: env.Log})
	if err != nil {
		return nil, err
	}
	r := &room{
		env: env, db: db, store: store.New(db), namespaces: directory, table: endpoints.NewTable(), agents: a,
		tools: runs.NewToolWorkers(directory, env.Log), draining: make(chan struct{}),
	}
	record := runs.NewRecorder(r.store)
	if err := r.openEdge(cfg, record); err != nil {
		return nil, err
	}
	r.answerRuns(cfg, record)
	return r, r.answerDeployments(cfg, record)
}

// openEdge listens at once, since agents are told the address.
func (r *room) openEdge(cfg Config, record *runs.Recorder) error {
	edge, err := temporaledge.New(temporaledge.Deps{
		Upstream: cfg.Temporal.Address, Agents: r.store, Runs: r.store, Facts: record, Log: r.env.Log, Now: r.env.Now,
	})
	if err != nil {
		return fmt.Errorf("prepare the edge before Temporal: %w", err)
	}
	lis, err := net.Listen("tcp", cfg.Edge.Listen)
	if err != nil {
		return fmt.Errorf("listen for agents' workers (edge.listen): %w", err)
	}
	r.edge, r.edgeOn = edge, lis
	return nil
}

func (r *room) answerRuns(cfg Config, record *runs.Recorder) {
	r.runs = runs.NewService(runs.Deps{
		Store: r.store, Namespaces: r.namespaces, Record: record, Tools: r.tools,
		Policy: flow.ActivityPolicy{
			StartToClose: cfg.Tools.Timeout, Heartbeat: cfg.Tools.Heartbeat, MaxTries: int32(cfg.Tools.Tries), //nolint:gosec // a small number
		},
		Retention: cfg.Temporal.Retention, Draining: r.draining, Log: r.env.Log, Now: r.env.Now, NewUUID: uuid.NewString,
	})
	r.questions = questions.NewService(questions.Deps{
		Store: r.store, Runs: r.runs, Namespaces: r.namespaces, Draining: r.draining, Log: r.env.Log, Now: r.env.Now, NewID: id.Question.New,
	})
}

func (r *room) answerDeployments(cfg Config, record *runs.Recorder) error {
	builder, err := r.env.Mesh.Dial("builder")
	if err != nil {
		return err
	}
	broker, err := r.env.Mesh.Dial("secretsbroker")
	if err != nil {
		return err
	}
	r.deployments = deployments.NewService(deployments.Deps{
		Store: r.store, Table: r.table, Runtime: r.agents.runtime, Prober: r.agents.prober,
		Remote: agentclient.Remote{Addresses: cfg.Deploy.RemoteAddresses},
		Builds: builderv1.NewBuildsServiceClient(builder), Secrets: secretsv1.NewSecretsServiceClient(broker),
		Namespaces: r.namespaces, Record: record, Failpoints: failpoint.New(r.env.DataDir),
		Options:  options(cfg, r.edgeOn.Addr().String()),
		Patience: flow.Patience{Build: cfg.Deploy.Build, Outage: cfg.Deploy.Outage, Health: cfg.Deploy.Health},
		Garbage:  deployments.Garbage{Every: cfg.Deploy.Garbage, Keep: cfg.Deploy.KeepVersions},
		Draining: r.draining, Log: r.env.Log, Now: r.env.Now, NewID: id.Instance.New,
	})
	return nil
}

func options(cfg Config, edge string) deployments.Options {
	if cfg.Edge.Advertise != "" {
		edge = cfg.Edge.Advertise
	}
	return deployments.Options{
		EdgeAddress: edge, CallbackURL: cfg.CallbackURL, DrainSeconds: int(cfg.Agents.Drain / time.Second), LogLevel: cfg.Agents.LogLevel,
		Activity: agentenv.Activity{
			StartToCloseSeconds: cfg.Tools.Timeout.Seconds(), HeartbeatSeconds: cfg.Tools.Heartbeat.Seconds(), MaxErrorAttempts: cfg.Tools.Errors,
		},
	}
}

// Register serves the contracts.
func (r *room) Register(s grpc.ServiceRegistrar) {
	schedulerv1.RegisterDeploymentsServiceServer(s, r.deployments)
	schedulerv1.RegisterRunsServiceServer(s, runsServer{r.runs, r.questions})
}

// Ready fails while Temporal does not answer.
func (r *room) Ready(ctx context.Context) error { return r.namespaces.Check(ctx) }

// Drain ends the calls that only wait, whoever made them asks again, and then the
// agents, which still reach Temporal through the edge.
func (r *room) Drain(ctx context.Context) error {
	close(r.draining)
	r.table.Close()
	return r.agents.stop(ctx)
}

// Run keeps agents up, polls for flows and tools, and passes news on.
func (r *room) Run(ctx context.Context) error {
	defer r.namespaces.Close()
	orgs, err := r.store.Orgs(ctx)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return r.edge.Serve(ctx, r.edgeOn) })
	group.Go(func() error { return r.deployments.Run(ctx) })
	group.Go(func() error { return r.runs.Run(ctx) })
	group.Go(func() error { return r.tools.Run(ctx, orgs) })
	group.Go(func() error { return r.questions.Run(ctx) })
	group.Go(func() error { return r.env.Bus.Relay(ctx, r.db) })
	group.Go(func() error {
		return r.env.Bus.Consume(ctx, consumer, r.deployments.Handle, &registryv1.AppDeleted{}, &registryv1.ConfigurationDeleted{})
	})
	return group.Wait()
}
