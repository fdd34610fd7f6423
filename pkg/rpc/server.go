// Package rpc is the one chain of interceptors that every call between rooms passes,
// in one order: recover, trace (a stats handler), principal, deadline, log, fault.
//
// Services neither log, translate errors nor make spans themselves.
package rpc

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
)

const (
	// MaxMessage bounds a message in both directions, in bytes: an argument or result of
	// 16 MiB, and what is around it.
	MaxMessage = 20 << 20
	// DefaultDeadline bounds a unary call whose caller set no deadline; it is above
	// the longest call we promise, a deploy of 300 s.
	DefaultDeadline = 330 * time.Second
	// workersPerCPU is how many goroutines of a server wait for calls: a new one begins each
	// call with a small stack, which SQLite and Temporal's client make it copy again and
	// again. More of them keep more memory than they save time.
	workersPerCPU = 4
)

// ServerOptions are what every room's server is made with.
func ServerOptions(log *slog.Logger) []grpc.ServerOption {
	c := chain{log: log, deadline: DefaultDeadline}
	return []grpc.ServerOption{
		grpc.StatsHandler(otelgrpc.NewServerHandler()),
		grpc.NumStreamWorkers(workersPerCPU * uint32(runtime.GOMAXPROCS(0))), //nolint:gosec // a number of processors
		grpc.ChainUnaryInterceptor(c.unary),
		grpc.ChainStreamInterceptor(c.stream),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
}

// UnaryInterceptor is that of ServerOptions, for calls that come without a socket.
func UnaryInterceptor(log *slog.Logger) grpc.UnaryServerInterceptor {
	return chain{log: log, deadline: DefaultDeadline}.unary
}

type chain struct {
	log      *slog.Logger
	deadline time.Duration
}

func (c chain) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (res any, err error) {
	start := time.Now()
	err = guard(func() error {
		ctx, err := withPrincipal(ctx)
		if err != nil {
			return err
		}
		ctx, cancel := bounded(ctx, c.deadline)
		defer cancel()
		res, err = handler(ctx, req)
		return err
	})
	return res, c.close(ctx, info.FullMethod, start, err)
}

// stream sets no deadline: a watch or a tail lasts as long as its reader, and
// keepalive notices a reader that is gone.
func (c chain) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	start := time.Now()
	err := guard(func() error {
		ctx, err := withPrincipal(stream.Context())
		if err != nil {
			return err
		}
		return handler(srv, &contextStream{ServerStream: stream, ctx: ctx})
	})
	return c.close(stream.Context(), info.FullMethod, start, err)
}

// close writes the call's one log line and turns its error into a status.
func (c chain) close(ctx context.Context, method string, start time.Time, err error) error {
	took := slog.Duration("took", time.Since(start))
	if err == nil {
		c.log.DebugContext(ctx, "call", "method", method, took)
		return nil
	}
	referred, ref := fault.Refer(err)
	attrs := []any{"method", method, took, "kind", fault.KindOf(err).String(), "error", err}
	if ref != "" {
		attrs = append(attrs, "ref", ref)
	}
	c.log.Log(ctx, loudness(err), "call ended with an error", attrs...)
	return fault.Status(referred).Err()
}

// loudness of a call's line: our mistakes are errors, parts that are away warnings,
// and refusals are the caller's business.
func loudness(err error) slog.Level {
	switch fault.KindOf(err) {
	case fault.Internal:
		return slog.LevelError
	case fault.Unavailable, fault.Deadline:
		return slog.LevelWarn
	default:
		return slog.LevelDebug
	}
}

// guard turns a panic into an error with the stack.
func guard(call func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return call()
}

// bounded gives ctx a deadline when it has none.
func bounded(ctx context.Context, limit time.Duration) (context.Context, context.CancelFunc) {
	if _, ok := ctx.Deadline(); ok {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, limit)
}

// withPrincipal refuses a header that is damaged or there twice, rather than to take
// the caller for somebody else.
func withPrincipal(ctx context.Context) (context.Context, error) {
	values := metadata.ValueFromIncomingContext(ctx, principal.Header)
	if len(values) == 0 {
		return ctx, nil
	}
	if len(values) > 1 {
		return nil, fault.Unauthenticated.Errorf("the call names %d callers", len(values))
	}
	p, err := principal.Decode(values[0])
	if err != nil {
		return nil, fault.Unauthenticated.Wrap(err, "the call's principal is damaged")
	}
	return principal.With(ctx, p), nil
}

type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc hands a stream's context over this way
}

func (s *contextStream) Context() context.Context { return s.ctx }
