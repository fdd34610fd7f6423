// Package deployments turns desired versions into running ones and keeps them so.
//
// It decides what a version is made of and when it serves; processes are the
// runtime's business, order and patience those of package flow.
package deployments

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/pkg/sqldb"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/endpoints"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/failpoint"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/histories"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/locks"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/tokens"
)

// Deps is everything a Service needs from outside.
type Deps struct {
	Store      *store.Store
	Table      *endpoints.Table
	Runtime    Runtime
	Prober     Prober
	Remote     RemoteProber
	Builds     builderv1.BuildsServiceClient
	Secrets    secretsv1.SecretsServiceClient
	Namespaces clients
	Payloads   histories.Passage
	Schedules  schedules
	// Publish puts lines into apps' logs.
	Publish    func(ctx context.Context, batch *busv1.LogBatch) error
	Record     recorder
	Failpoints *failpoint.Points
	Options    Options
	Patience   flow.Patience
	Garbage    Garbage
	// Draining is closed when calls that wait should end, for the process does.
	Draining <-chan struct{}
	Log      *slog.Logger
	Now      func() time.Time
	NewID    func() string
}

// Service answers for deployments.
type Service struct {
	schedulerv1.UnimplementedDeploymentsServiceServer
	schedulerv1.UnimplementedVersionsServiceServer
	deps  Deps
	steps *steps

	// holding makes those who need one version again wait for each other.
	holding locks.Locks
	// replaying has room for the replays that may run at once.
	replaying chan struct{}
}

// NewService returns a Service on deps, which must be complete.
func NewService(d Deps) *Service {
	return &Service{deps: d, replaying: make(chan struct{}, mostReplays), steps: &steps{
		launcher: &launcher{
			store: d.Store, runtime: d.Runtime, builds: d.Builds, secrets: d.Secrets, clients: d.Namespaces, passage: d.Payloads,
			options: d.Options, log: d.Log, now: d.Now, newID: d.NewID,
		},
		schedules: d.Schedules, prober: d.Prober, remote: d.Remote, publishLog: d.Publish, table: d.Table, record: d.Record, failpoints: d.Failpoints, health: d.Patience.Health,
	}}
}

// WatchEndpoints streams the live endpoints.
func (s *Service) WatchEndpoints(_ *schedulerv1.WatchEndpointsRequest, stream schedulerv1.DeploymentsService_WatchEndpointsServer) error {
	return s.deps.Table.Watch(stream.Context(), stream.Send)
}

// IdentifyAgent says which agent a callback token belongs to.
func (s *Service) IdentifyAgent(ctx context.Context, req *schedulerv1.IdentifyAgentRequest) (*schedulerv1.IdentifyAgentResponse, error) {
	i, err := s.deps.Store.InstanceByCallback(ctx, tokens.Hash(req.GetToken()))
	if fault.NotFound.Is(err) {
		return nil, fault.Unauthenticated.Wrap(err, "no running agent holds this token")
	}
	if err != nil {
		return nil, err
	}
	return &schedulerv1.IdentifyAgentResponse{TargetId: i.TargetID, AppId: i.AppID, OrgId: i.OrgID, VersionId: i.VersionID, InstanceId: i.ID}, nil
}

// ListAgents tells what runs for a target, and what sleeps.
func (s *Service) ListAgents(ctx context.Context, req *schedulerv1.ListAgentsRequest) (*schedulerv1.ListAgentsResponse, error) {
	t, err := s.deps.Store.VisibleTarget(ctx, req.GetTargetId())
	if err != nil {
		return nil, err
	}
	policy, sleepers, err := s.sleepPolicy(ctx, t)
	if err != nil {
		return nil, err
	}
	scale, err := s.scalePolicy(ctx, t)
	if err != nil {
		return nil, err
	}
	return &schedulerv1.ListAgentsResponse{Agents: withSleepers(s.deps.Runtime.Agents(t.ID), sleepers), Sleep: policy, Scale: scale}, nil
}

// publish puts the live version in the table of endpoints, with the one that is tried.
func (s *steps) publish(ctx context.Context, v store.Version) error {
	defer s.publishing.Take(v.TargetID)()
	v, err := s.store.Version(ctx, v.ID) // with the capture, which was recorded meanwhile
	if err != nil {
		return err
	}
	asleep, err := s.asleep(ctx, v.ID)
	if err != nil {
		return err
	}
	e := s.endpoint(v, s.look(v.TargetID, v.ID), asleep)
	if e.Canary, err = s.canary(ctx, v.TargetID); err != nil {
		return err
	}
	s.table.Put(e)
	return s.tell(ctx, e.GetTargetId(), e.GetReady())
}

// changed takes over what the runtime says of a version.
func (s *steps) changed(ctx context.Context, targetID, versionID string) error {
	look := s.look(targetID, versionID)
	up := look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY
	if !s.table.SetServer(targetID, versionID, look.ServerURL, up, look.callable()...) {
		return nil
	}
	return s.tell(ctx, targetID, up)
}

// tell puts the news of an endpoint on the bus.
func (s *steps) tell(ctx context.Context, targetID string, up bool) error {
	return s.store.Tx(ctx, func(tx *sqldb.Tx) error {
		return bus.Put(ctx, tx, &schedulerv1.EndpointChanged{TargetId: targetID, Ready: up})
	})
}

func (s *steps) endpoint(v store.Version, look Look, asleep []agentenv.Role) *schedulerv1.Endpoint {
	c, sleeps := v.Capture, slices.Contains(asleep, agentenv.RoleServer)
	e := &schedulerv1.Endpoint{
		TargetId: v.TargetID, AppId: v.AppID, OrgId: v.OrgID, VersionId: v.ID,
		ServerUrl: look.ServerURL, Ready: c.MCPURL != "" || !sleeps && look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY, Asleep: sleeps,
		McpUrl: c.MCPURL, Modern: c.Modern, DiscoverJson: c.DiscoverJSON, ModernOnly: c.ModernOnly,
		AppName: c.AppName, InitializeJson: c.InitializeJSON, ToolsJson: c.ToolsJSON, PromptsJson: c.PromptsJSON,
		ResourcesJson: c.ResourcesJSON, ResourceTemplatesJson: c.ResourceTemplatesJSON, WorkflowsJson: c.WorkflowsJSON,
		SyncTools: c.SyncTools, AsyncTools: c.AsyncTools, Workflows: c.Workflows, Kind: c.Kind,
		Concurrency: int32(ScaleOf(v, s.options.MostProcesses).Concurrency), //nolint:gosec // bounded by the schema
	}
	if !sleeps {
		e.Servers = look.callable()
	}
	return e
}

func checkDeploy(req *schedulerv1.DeployRequest) error {
	for _, part := range []struct {
		what, text string
		ok         bool
	}{
		{"target_id", req.GetTargetId(), validTarget(req.GetTargetId())},
		{"app_id", req.GetAppId(), id.App.Valid(req.GetAppId())},
		{"org_id", req.GetOrgId(), id.Org.Valid(req.GetOrgId())},
		{"version_id", req.GetVersionId(), id.Version.Valid(req.GetVersionId())},
		{"bundle_id", req.GetBundleId(), id.Bundle.Valid(req.GetBundleId())},
	} {
		if !part.ok {
			return fault.Invalid.Errorf("%s %q is not a valid id", part.what, part.text)
		}
	}
	return nil
}

func validTarget(targetID string) bool {
	return id.App.Valid(targetID) || id.AppConfiguration.Valid(targetID)
}
