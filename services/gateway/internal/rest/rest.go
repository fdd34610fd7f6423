// Package rest is the REST face of the rooms: paths and JSON on the outside, gRPC on
// the inside, by grpc-gateway. What it serves is described by OpenAPI at /api/openapi.json.
package rest

import (
	"context"
	"net/http"

	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	registryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/registry/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	secretsv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/secrets/v1"
	telemetryv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/telemetry/v1"
	"github.com/mcpagentcloud/agentcloud/proto/openapi"
	"github.com/mcpagentcloud/agentcloud/services/gateway/internal/auth"
)

// Prefix is where the API begins; the public command line's base address ends in it.
const Prefix = "/api"

// maxBody bounds a request's JSON, maxArguments that of one with arguments of a run,
// which have at most 16 MiB and are text in JSON here.
const (
	maxBody      = 1 << 20
	maxArguments = 20 << 20
)

// Conns are connections to the rooms behind the API.
type Conns struct {
	Registry, Scheduler, Secrets, Telemetry *grpc.ClientConn
}

// Authenticator finds the principal behind a key.
type Authenticator interface {
	Authenticate(ctx context.Context, key string) (principal.Principal, error)
}

// New returns the handler of everything under Prefix.
func New(ctx context.Context, conns Conns, who Authenticator) (http.Handler, error) {
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption(runtime.MIMEWildcard, newMarshaler()),
		runtime.WithErrorHandler(writeFault),
		runtime.WithRoutingErrorHandler(writeRoutingFault),
		runtime.WithIncomingHeaderMatcher(func(string) (string, bool) { return "", false }),
		runtime.WithOutgoingHeaderMatcher(func(string) (string, bool) { return "", false }),
	)
	if err := register(ctx, mux, conns); err != nil {
		return nil, err
	}
	root := http.NewServeMux()
	root.HandleFunc("GET "+Prefix+"/openapi.json", serveOpenAPI)
	(&batches{who: who, client: schedulerv1.NewBatchesServiceClient(conns.Scheduler)}).routes(root)
	root.Handle(Prefix+"/", http.StripPrefix(Prefix, authenticated(who, mux)))
	return root, nil
}

func register(ctx context.Context, mux *runtime.ServeMux, conns Conns) error {
	handlers := []struct {
		register func(context.Context, *runtime.ServeMux, *grpc.ClientConn) error
		conn     *grpc.ClientConn
	}{
		{registryv1.RegisterAppsServiceHandler, conns.Registry},
		{registryv1.RegisterVersionsServiceHandler, conns.Registry},
		{registryv1.RegisterRolloutsServiceHandler, conns.Registry},
		{registryv1.RegisterAccountsServiceHandler, conns.Registry},
		{registryv1.RegisterAccessServiceHandler, conns.Registry},
		{registryv1.RegisterLimitsServiceHandler, conns.Registry},
		{secretsv1.RegisterSecretsServiceHandler, conns.Secrets},
		{schedulerv1.RegisterDeploymentsServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterRunsServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterHealthServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterReplaysServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterRunOperationsServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterSchedulesServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterPrioritiesServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterQueuesServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterBatchesServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterDeploymentsServiceHandler, conns.Scheduler},
		{schedulerv1.RegisterSleepServiceHandler, conns.Scheduler},
	}
	for _, h := range handlers {
		if err := h.register(ctx, mux, h.conn); err != nil {
			return err
		}
	}
	guard := &logGuard{
		registry:  registryv1.NewAppsServiceClient(conns.Registry),
		telemetry: telemetryv1.NewLogsServiceClient(conns.Telemetry),
	}
	return telemetryv1.RegisterLogsServiceHandlerServer(ctx, mux, guard)
}

// authenticated lets only known callers through and bounds what they send.
func authenticated(who Authenticator, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		caller, err := who.Authenticate(r.Context(), auth.Key(r))
		if err != nil {
			WriteFault(w, err)
			return
		}
		if err := bounded(w, r); err != nil {
			WriteFault(w, err)
			return
		}
		next.ServeHTTP(w, r.WithContext(principal.With(r.Context(), caller)))
	})
}

// logGuard asks the registry whether the caller may see a target before telemetry is
// asked about its lines.
type logGuard struct {
	telemetryv1.UnimplementedLogsServiceServer
	registry  registryv1.AppsServiceClient
	telemetry telemetryv1.LogsServiceClient
}

func (g *logGuard) GetAppLogs(ctx context.Context, req *telemetryv1.GetAppLogsRequest) (*telemetryv1.GetAppLogsResponse, error) {
	target := req.GetAppId()
	if target == "" {
		target = req.GetAppConfigurationId()
	}
	if target == "" {
		return nil, fault.Invalid.Errorf("say which app: appId or appConfigurationId")
	}
	if _, err := g.registry.ResolveTarget(ctx, &registryv1.ResolveTargetRequest{TargetId: target}); err != nil {
		return nil, err
	}
	return g.telemetry.GetAppLogs(ctx, req)
}

func serveOpenAPI(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(openapi.JSON)
}
