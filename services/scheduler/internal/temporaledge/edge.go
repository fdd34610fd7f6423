// Package temporaledge stands between agents' workers and Temporal: it knows which
// agent calls, keeps it inside its own namespace, queue and runs, and reports what
// passes as facts.
//
// It holds no state, so it may die and come back at any time, and it does not
// interpret payloads: what large ones become is the business of package payloads.
package temporaledge

import (
	"context"
	"log/slog"
	"net"
	"path"
	"time"

	"go.temporal.io/api/proxy"
	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/headroom"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const (
	// maxMessage bounds one message between here and Temporal, in which large values are
	// claims.
	maxMessage = 16 << 20
	// maxFromAgent and maxToAgent bound messages with large values in them: several of
	// payloads.Most, and all that a run still works with.
	maxFromAgent = 64 << 20
	maxToAgent   = 128 << 20
	// longestCall is more than a long poll's minute.
	longestCall = 90 * time.Second
	// pingEvery is the fastest that a worker may ping; SDKs do every 30 s.
	pingEvery  = 10 * time.Second
	stopWithin = 2 * time.Second
)

// Deps is everything an Edge needs from outside.
type Deps struct {
	// Upstream is the address of Temporal's frontend.
	Upstream string
	// Agents says who holds a token, by its hash; it fails with fault.NotFound.
	Agents interface {
		InstanceByEdge(ctx context.Context, hash string) (store.Instance, error)
	}
	// Runs knows where runs belong; it fails with fault.NotFound.
	Runs interface {
		Run(ctx context.Context, runID string) (store.Run, error)
	}
	// Facts are told what Temporal has accepted, each perhaps more than once.
	Facts interface {
		Started(ctx context.Context, run store.Run) error
		// Resumed tells of a run that a reset made of another.
		Resumed(ctx context.Context, run store.Run, baseRunID string) error
		Closed(ctx context.Context, run store.Run, outcome string, at time.Time) error
	}
	// Watch looks after the health of workers and runs.
	Watch Watch
	// Headroom says when workers begin runs; nil: at once.
	Headroom *headroom.Headroom
	// Payloads is what arguments and results pass, between the fence and Temporal.
	Payloads *payloads.Passage
	Log      *slog.Logger
	Now      func() time.Time
}

// Edge is the proxy.
type Edge struct {
	deps     Deps
	upstream *grpc.ClientConn
	client   workflowservice.WorkflowServiceClient
}

// New returns an Edge on deps, which must be complete. It does not connect yet.
func New(deps Deps) (*Edge, error) {
	upstream, err := grpc.NewClient(deps.Upstream,
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessage), grpc.MaxCallSendMsgSize(maxMessage)),
		grpc.WithConnectParams(namespaces.Redial),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 15 * time.Second}),
	)
	if err != nil {
		return nil, err
	}
	return &Edge{deps: deps, upstream: upstream, client: workflowservice.NewWorkflowServiceClient(upstream)}, nil
}

// Serve answers on lis until ctx ends.
func (e *Edge) Serve(ctx context.Context, lis net.Listener) error {
	defer e.upstream.Close() //nolint:errcheck // nothing is left to be told
	server := grpc.NewServer(
		grpc.MaxRecvMsgSize(maxFromAgent), grpc.MaxSendMsgSize(maxToAgent),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: pingEvery, PermitWithoutStream: true}),
		grpc.UnaryInterceptor(e.intercept),
	)
	service, err := proxy.NewWorkflowServiceProxyServer(proxy.WorkflowServiceProxyOptions{Client: e.client, DisableHeaderForwarding: true})
	if err != nil {
		return err
	}
	workflowservice.RegisterWorkflowServiceServer(server, service)
	healthpb.RegisterHealthServer(server, health.NewServer())
	stop := context.AfterFunc(ctx, func() { halt(server) })
	defer stop()
	if err := server.Serve(lis); err != nil && ctx.Err() == nil {
		return err
	}
	return nil
}

// halt lets short calls end; long polls would hold the process for a minute.
func halt(server *grpc.Server) {
	timer := time.AfterFunc(stopWithin, server.Stop)
	defer timer.Stop()
	server.GracefulStop()
}

// intercept sees every call before and after Temporal does.
func (e *Edge) intercept(ctx context.Context, req any, info *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
	if service, _ := path.Split(info.FullMethod); service == "/grpc.health.v1.Health/" {
		return next(ctx, req)
	}
	who, err := e.identify(ctx)
	if err != nil {
		return nil, err
	}
	message, _ := req.(proto.Message)
	rule, ok := rules[path.Base(info.FullMethod)]
	if !ok || message == nil {
		return nil, status.Errorf(codes.PermissionDenied, "agents may not call %s", path.Base(info.FullMethod))
	}
	pass := &passage{edge: e, who: who, keepsRoom: keepsRoom(ctx)}
	ctx, cancel := context.WithTimeout(forward(ctx), longestCall)
	defer cancel()
	if err := pass.enter(ctx, rule, message); err != nil {
		return nil, err
	}
	if answer, err := pass.out(ctx, message); answer != nil || err != nil {
		return answer, err
	}
	pass.wait(message)
	answer, err := pass.ask(ctx, message, next)
	pass.waited()
	if err != nil {
		return nil, err
	}
	pass.seen(message, answer)
	if answer, err = pass.in(ctx, answer); err != nil {
		return nil, err
	}
	pass.leave(ctx, message, answer)
	return answer, nil
}

// forward keeps of the caller's headers only what tells its SDK; above all not its
// token.
func forward(ctx context.Context) context.Context {
	incoming, _ := metadata.FromIncomingContext(ctx)
	outgoing := metadata.MD{}
	for _, name := range []string{"client-name", "client-version", "supported-server-versions"} {
		if values := incoming.Get(name); len(values) > 0 {
			outgoing.Set(name, values...)
		}
	}
	return metadata.NewOutgoingContext(ctx, outgoing)
}
