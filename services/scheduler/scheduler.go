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
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/batches"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/bell"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/calls"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/endpoints"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/health"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/questions"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/queues"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/replays"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/rollouts"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/schedules"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/sleep"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaledge"
)

// rolloutSettle is how long gateways, which tell each second, may go on telling of a
// rollout that has ended: of calls that were under way, too.
const rolloutSettle = 5 * time.Second

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
	rollouts    *rollouts.Service
	runs        *runs.Service
	operations  *runs.Operations
	tools       *runs.ToolWorkers
	questions   *questions.Service
	bell        *bell.Bell
	headroom    *headroom.Headroom
	sleep       *sleep.Service
	health      *health.Service
	replays     *replays.Service
	schedules   *schedules.Service
	calls       *calls.Service
	priorities  *priorities.Service
	queues      *queues.Service
	batches     *batches.Service
	payloads    *payloads.Passage
	values      values
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

// SignalRun answers the question that waits for the signal; no question, and it is a
// signal like others.
func (s runsServer) SignalRun(ctx context.Context, req *schedulerv1.SignalRunRequest) (*schedulerv1.SignalRunResponse, error) {
	if ok, err := s.AnswerBySignal(ctx, req); ok || err != nil {
		return &schedulerv1.SignalRunResponse{Found: ok}, err
	}
	return s.Service.SignalRun(ctx, req)
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
		env: env, db: db, store: store.New(db), namespaces: directory, table: endpoints.NewTable(), agents: a, bell: bell.New(env.Now), headroom: headroom.New(),
		draining: make(chan struct{}),
	}
	if err := r.openPayloads(ctx, cfg.Payloads); err != nil {
		return nil, err
	}
	record := runs.NewRecorder(r.store)
	r.tools = runs.NewToolWorkers(directory, runs.BeginScheduled{Store: r.store, Record: record, Policy: policy(cfg), Now: env.Now}, cfg.Tools.AtOnce, cfg.Tools.Weights, env.Log)
	seen := health.NewWatch(env.Now)
	r.health = health.NewService(health.Deps{
		Store: r.store, Namespaces: directory, Watch: seen, Limits: cfg.Health.limits(), Log: env.Log, Now: env.Now,
	})
	if err := r.openEdge(cfg, record, watch{seen, r.bell}); err != nil {
		return nil, err
	}
	r.answerRuns(cfg, record)
	if err := r.answerDeployments(cfg, record); err != nil {
		return nil, err
	}
	r.rollouts = rollouts.NewService(rollouts.Deps{
		Store: r.store, Deployments: r.deployments, Namespaces: r.namespaces, Patience: patience(cfg), Settle: rolloutSettle,
		Log: r.env.Log, Now: r.env.Now, NewID: id.Rollout.New,
	})
	r.replays = replays.NewService(replays.Deps{
		Store: r.store, Runs: r.runs, Versions: r.deployments, Namespaces: r.namespaces, Payloads: r.payloads, Record: record, Tools: r.tools,
		Log: r.env.Log, Now: r.env.Now, NewUUID: uuid.NewString,
	})
	r.answerBatches(cfg)
	r.answerSleep(cfg)
	return r, nil
}

// openEdge listens at once, since agents are told the address.
func (r *room) openEdge(cfg Config, record *runs.Recorder, seen temporaledge.Watch) error {
	edge, err := temporaledge.New(temporaledge.Deps{
		Upstream: cfg.Temporal.Address, Agents: r.store, Runs: r.store, Facts: record, Watch: seen, Headroom: r.headroom, Payloads: r.payloads, Log: r.env.Log, Now: r.env.Now,
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
	r.priorities = priorities.NewService(priorities.Deps{Store: r.store, Now: r.env.Now, NewID: id.PriorityRule.New})
	r.queues = queues.NewService(queues.Deps{Store: r.store, Namespaces: r.namespaces, Now: r.env.Now})
	r.runs = runs.NewService(runs.Deps{
		Store: r.store, Namespaces: r.namespaces, Record: record, Tools: r.tools, Priorities: r.priorities, Payloads: r.payloads, Bell: r.bell, Headroom: r.headroom,
		Policy:    policy(cfg),
		Stop:      runs.Patience{Grace: cfg.Cancel.Grace, Longest: cfg.Cancel.Longest},
		Retention: cfg.Temporal.Retention, Draining: r.draining, Log: r.env.Log, Now: r.env.Now, NewUUID: uuid.NewString,
	})
	r.schedules = schedules.NewService(schedules.Deps{Store: r.store, Namespaces: r.namespaces, Runs: r.runs, Priorities: r.priorities, Log: r.env.Log, Now: r.env.Now})
	r.questions = questions.NewService(questions.Deps{
		Store: r.store, Runs: r.runs, Namespaces: r.namespaces, Bell: r.bell, Draining: r.draining, Deadline: cfg.Questions.Deadline,
		Log: r.env.Log, Now: r.env.Now, NewID: id.Question.New,
	})
	r.operations = runs.NewOperations(r.runs, r.questions)
	r.calls = calls.NewService(calls.Deps{Store: r.store, Namespaces: r.namespaces, Log: r.env.Log})
}

// policy is how bodies of tools are run.
func policy(cfg Config) flow.ActivityPolicy {
	return flow.ActivityPolicy{
		Heartbeat: cfg.Tools.Heartbeat, MaxTries: int32(cfg.Tools.Tries), //nolint:gosec // a small number
	}
}

func (r *room) answerBatches(cfg Config) {
	r.batches = batches.NewService(batches.Deps{
		Store: r.store, Runs: r.runs, System: r.namespaces.System, Retention: cfg.Temporal.Retention,
		Bounds: batches.Bounds{
			Items: cfg.Batches.Items, Bytes: cfg.Batches.MiB << 20, Open: cfg.Batches.Open, Concurrency: cfg.Batches.Concurrency, Runs: cfg.Batches.Runs,
		},
		Draining: r.draining, Log: r.env.Log, Now: r.env.Now, NewID: id.Batch.New,
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
		Namespaces: r.namespaces, Payloads: r.payloads, Schedules: r.schedules, Record: record, Failpoints: failpoint.New(r.env.DataDir),
		Publish:  r.env.Bus.PublishLogs,
		Options:  options(cfg, r.edgeOn.Addr().String()),
		Patience: patience(cfg),
		Garbage:  deployments.Garbage{Every: cfg.Deploy.Garbage, Keep: cfg.Deploy.KeepVersions},
		Draining: r.draining, Log: r.env.Log, Now: r.env.Now, NewID: id.Instance.New,
	})
	return nil
}

// patience is how long the steps of a deploy may take.
func patience(cfg Config) flow.Patience {
	return flow.Patience{Build: cfg.Deploy.Build, Outage: cfg.Deploy.Outage, Health: cfg.Deploy.Health}
}

func options(cfg Config, edge string) deployments.Options {
	if cfg.Edge.Advertise != "" {
		edge = cfg.Edge.Advertise
	}
	return deployments.Options{
		KeepWarm: cfg.Deploy.KeepWarm, EdgeAddress: edge, CallbackURL: cfg.CallbackURL, DrainSeconds: int(cfg.Agents.Drain / time.Second), LogLevel: cfg.Agents.LogLevel, SleepAfter: cfg.Sleep.After, MostProcesses: cfg.Scale.Max,
		Replays: deployments.ReplayOptions{Policy: cfg.Deploy.Replay, Runs: cfg.Deploy.ReplayRuns, Within: cfg.Deploy.ReplayWithin},
		Activity: agentenv.Activity{
			StartToCloseSeconds: cfg.Tools.Timeout.Seconds(), HeartbeatSeconds: cfg.Tools.Heartbeat.Seconds(), MaxErrorAttempts: cfg.Tools.Errors,
		},
	}
}

// Register serves the contracts.
func (r *room) Register(s grpc.ServiceRegistrar) {
	schedulerv1.RegisterDeploymentsServiceServer(s, r.deployments)
	schedulerv1.RegisterVersionsServiceServer(s, r.deployments)
	schedulerv1.RegisterRolloutsServiceServer(s, r.rollouts)
	schedulerv1.RegisterRolloutOutcomesServiceServer(s, r.rollouts)
	schedulerv1.RegisterRunsServiceServer(s, runsServer{r.runs, r.questions})
	schedulerv1.RegisterHealthServiceServer(s, r.health)
	schedulerv1.RegisterRunOperationsServiceServer(s, r.operations)
	schedulerv1.RegisterSchedulesServiceServer(s, r.schedules)
	schedulerv1.RegisterCallsServiceServer(s, r.calls)
	schedulerv1.RegisterReplaysServiceServer(s, r.replays)
	schedulerv1.RegisterPrioritiesServiceServer(s, r.priorities)
	schedulerv1.RegisterQueuesServiceServer(s, r.queues)
	schedulerv1.RegisterBatchesServiceServer(s, r.batches)
	schedulerv1.RegisterSleepServiceServer(s, r.sleep)
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
	group.Go(func() error { return r.rollouts.Run(ctx) })
	group.Go(func() error { return r.sleep.Run(ctx) })
	group.Go(func() error { return r.runs.Run(ctx) })
	group.Go(func() error { return r.tools.Run(ctx, orgs) })
	group.Go(func() error { return r.questions.Run(ctx) })
	group.Go(func() error { return r.health.Run(ctx) })
	group.Go(func() error { return r.schedules.Run(ctx) })
	group.Go(func() error { return r.calls.Run(ctx) })
	group.Go(func() error { return r.batches.Run(ctx) })
	group.Go(func() error { return r.values.run(ctx) })
	group.Go(func() error { return r.env.Bus.Relay(ctx, r.db) })
	group.Go(func() error {
		return r.env.Bus.Consume(ctx, consumer, r.deployments.Handle, &registryv1.AppDeleted{}, &registryv1.ConfigurationDeleted{})
	})
	return group.Wait()
}
