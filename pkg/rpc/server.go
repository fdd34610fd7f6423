// Package rpc is the one chain of interceptors that every call between rooms passes,
// in one order: recover, trace (a stats handler), principal, deadline, log, fault.
//
// Services neither log, translate errors nor make spans themselves.
package rpc

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
)

const (
	// MaxMessage bounds a message in both directions, in bytes.
	MaxMessage = 16 << 20
	// defaultDeadline bounds a unary call whose caller set no deadline; it is above
	// the longest call we promise, a deploy of 300 s.
	defaultDeadline = 330 * time.Second
)

// ServerOptions are what every room's server is made with.
func ServerOptions(log *slog.Logger) []grpc.ServerOption {
	c := chain{log: log}
	return []grpc.ServerOption{
		grpc.StatsHandler(otelgrpc.NewServerHandler()),
		grpc.ChainUnaryInterceptor(c.unary),
		grpc.ChainStreamInterceptor(c.stream),
		grpc.MaxRecvMsgSize(MaxMessage),
		grpc.MaxSendMsgSize(MaxMessage),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: 5 * time.Second, PermitWithoutStream: true}),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
	}
}

type chain struct{ log *slog.Logger }

func (c chain) unary(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (res any, err error) {
	start := time.Now()
	ctx = withPrincipal(ctx)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultDeadline)
		defer cancel()
	}
	err = guard(func() error {
		res, err = handler(ctx, req)
		return err
	})
	return res, c.close(ctx, info.FullMethod, start, err)
}

func (c chain) stream(srv any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	start := time.Now()
	ctx := withPrincipal(stream.Context())
	err := guard(func() error { return handler(srv, &contextStream{ServerStream: stream, ctx: ctx}) })
	return c.close(ctx, info.FullMethod, start, err)
}

// close writes the call's one log line and turns its error into a status.
func (c chain) close(ctx context.Context, method string, start time.Time, err error) error {
	log := c.log.With("method", method, "took", time.Since(start))
	if err == nil {
		log.DebugContext(ctx, "call")
		return nil
	}
	if !fault.Internal.Is(err) {
		log.DebugContext(ctx, "call refused", "error", err)
		return fault.Status(err).Err()
	}
	ref := rand.Text()[:10]
	log.ErrorContext(ctx, "call broke", "error", err, "ref", ref)
	return status.Error(fault.Internal.Code(), fmt.Sprintf("internal error (ref %s)", ref))
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

func withPrincipal(ctx context.Context) context.Context {
	values := metadata.ValueFromIncomingContext(ctx, principal.Header)
	if len(values) != 1 {
		return ctx
	}
	p, err := principal.Decode(values[0])
	if err != nil {
		return ctx // nobody
	}
	return principal.With(ctx, p)
}

type contextStream struct {
	grpc.ServerStream
	ctx context.Context //nolint:containedctx // grpc hands a stream's context over this way
}

func (s *contextStream) Context() context.Context { return s.ctx }
