package rpc

import (
	"context"
	"errors"
	"io"
	"time"

	"go.opentelemetry.io/contrib/instrumentation/google.golang.org/grpc/otelgrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/metadata"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
)

// DialOptions are what every connection to a neighbour is made with: it waits for
// the neighbour, carries the principal, and gives faults back as faults.
//
// No retry policy is set: the library by itself sends a call again when the
// neighbour surely has not begun it, and only the caller knows what else is safe.
func DialOptions() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithStatsHandler(otelgrpc.NewClientHandler()),
		grpc.WithChainUnaryInterceptor(unaryClient),
		grpc.WithChainStreamInterceptor(streamClient),
		grpc.WithDefaultCallOptions(grpc.WaitForReady(true), grpc.MaxCallRecvMsgSize(MaxMessage), grpc.MaxCallSendMsgSize(MaxMessage)),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 30 * time.Second, Timeout: 10 * time.Second}),
		grpc.WithIdleTimeout(0),
		grpc.WithConnectParams(grpc.ConnectParams{
			Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 2 * time.Second},
			MinConnectTimeout: 5 * time.Second,
		}),
	}
}

// unaryClient bounds a call that nobody bounded: a neighbour that never comes must
// not hold its caller for ever.
func unaryClient(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	ctx, cancel := bounded(outgoing(ctx), DefaultDeadline)
	defer cancel()
	return fault.FromStatus(invoke(ctx, method, req, reply, conn, opts...))
}

func streamClient(ctx context.Context, desc *grpc.StreamDesc, conn *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	stream, err := streamer(outgoing(ctx), desc, conn, method, opts...)
	if err != nil {
		return nil, fault.FromStatus(err)
	}
	return &faultStream{ClientStream: stream}, nil
}

// outgoing puts the caller into the metadata, in place of any that is there.
func outgoing(ctx context.Context) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	header := principal.From(ctx).Encode()
	if len(md.Get(principal.Header)) > 0 {
		md = md.Copy()
		md.Delete(principal.Header)
		ctx = metadata.NewOutgoingContext(ctx, md)
	}
	if header == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, principal.Header, header)
}

type faultStream struct{ grpc.ClientStream }

func (s *faultStream) RecvMsg(m any) error { return fromStream(s.ClientStream.RecvMsg(m)) }
func (s *faultStream) SendMsg(m any) error { return fromStream(s.ClientStream.SendMsg(m)) }

func (s *faultStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	return md, fault.FromStatus(err)
}

func fromStream(err error) error {
	if errors.Is(err, io.EOF) {
		return err // the end of a stream is no fault
	}
	return fault.FromStatus(err)
}
