package rpc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
)

// room answers with what its fields say.
type room struct {
	grpc_testing.UnimplementedTestServiceServer
	unary  func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error)
	stream func(context.Context) error
}

func (r *room) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return r.unary(ctx, req)
}

func (r *room) StreamingOutputCall(_ *grpc_testing.StreamingOutputCallRequest, stream grpc.ServerStreamingServer[grpc_testing.StreamingOutputCallResponse]) error {
	if err := stream.Send(&grpc_testing.StreamingOutputCallResponse{}); err != nil {
		return err
	}
	return r.stream(stream.Context())
}

func (r *room) StreamingInputCall(stream grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	return r.stream(stream.Context())
}

func client(t *testing.T, r *room) grpc_testing.TestServiceClient {
	t.Helper()
	return grpc_testing.NewTestServiceClient(grpctest.Serve(t, func(s grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(s, r) }))
}

func empty() (*grpc_testing.SimpleResponse, error) { return &grpc_testing.SimpleResponse{}, nil }

var ada = principal.Principal{Kind: principal.User, UserID: "u_1", OrgID: "org_1", Name: "Ada"}

// errorCases hold for unary calls and for streams alike.
var errorCases = map[string]struct {
	err  error
	want fault.Kind
	says string
}{
	"no error":                         {nil, fault.None, ""},
	"a fault keeps kind and sentence":  {fault.Denied.Wrap(io.ErrUnexpectedEOF, "not yours"), fault.Denied, "not yours"},
	"a plain error leaks nothing":      {errors.New("password is hunter2"), fault.Internal, "internal error (ref "},
	"a neighbour's unavailable passes": {status.Error(codes.Unavailable, "gone"), fault.Unavailable, "gone"},
	"the handler ran out of time":      {context.DeadlineExceeded, fault.Deadline, "the call took too long"},
}

func checkError(t *testing.T, err error, want fault.Kind, says string) {
	t.Helper()
	if !strings.HasPrefix(fault.Message(err), says) || fault.KindOf(err) != want {
		t.Fatalf("the call = %v %q, want %v %q", fault.KindOf(err), fault.Message(err), want, says)
	}
	if err != nil && strings.Contains(err.Error(), "hunter2") {
		t.Fatalf("the cause left the process: %v", err)
	}
}

func TestUnaryCallCarriesPrincipalAndFault(t *testing.T) {
	t.Parallel()
	for name, tt := range errorCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var caller principal.Principal
			c := client(t, &room{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
				caller = principal.From(ctx)
				return &grpc_testing.SimpleResponse{}, tt.err
			}})
			_, err := c.UnaryCall(principal.With(t.Context(), ada), &grpc_testing.SimpleRequest{})
			checkError(t, err, tt.want, tt.says)
			if caller != ada {
				t.Fatalf("the room saw %+v", caller)
			}
		})
	}
}

func TestStreamsCarryPrincipalAndFault(t *testing.T) {
	t.Parallel()
	for name, tt := range errorCases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var caller principal.Principal
			c := client(t, &room{stream: func(ctx context.Context) error { caller = principal.From(ctx); return tt.err }})
			stream, err := c.StreamingOutputCall(principal.With(t.Context(), ada), &grpc_testing.StreamingOutputCallRequest{})
			if err != nil {
				t.Fatal(err)
			}
			for err == nil {
				_, err = stream.Recv()
			}
			if tt.err == nil && !errors.Is(err, io.EOF) {
				t.Fatalf("the stream ended with %v, want io.EOF", err)
			}
			if tt.err != nil {
				checkError(t, err, tt.want, tt.says)
			}
			if caller != ada {
				t.Fatalf("the room saw %+v", caller)
			}
		})
	}
}

func TestAnUploadThatIsRefusedTellsWhy(t *testing.T) {
	t.Parallel()
	c := client(t, &room{stream: func(context.Context) error { return fault.TooLarge.Errorf("the bundle is too big") }})
	stream, err := c.StreamingInputCall(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		err = stream.Send(&grpc_testing.StreamingInputCallRequest{})
	}
	if !errors.Is(err, io.EOF) {
		t.Fatalf("Send() = %v, want io.EOF", err)
	}
	_, err = stream.CloseAndRecv()
	checkError(t, err, fault.TooLarge, "the bundle is too big")
}

func TestAPanicIsAnInternalError(t *testing.T) {
	t.Parallel()
	c := client(t, &room{
		unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
			panic("boom")
		},
		stream: func(context.Context) error { panic("boom") },
	})
	_, err := c.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	checkError(t, err, fault.Internal, "internal error (ref ")
	stream, err := c.StreamingOutputCall(t.Context(), &grpc_testing.StreamingOutputCallRequest{})
	for err == nil {
		_, err = stream.Recv()
	}
	checkError(t, err, fault.Internal, "internal error (ref ")
}

func TestACallWithoutADeadlineGetsOne(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		caller time.Duration
		atMost time.Duration
	}{
		"the default":  {0, rpc.DefaultDeadline},
		"the caller's": {time.Minute, time.Minute},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var left time.Duration
			c := client(t, &room{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
				end, _ := ctx.Deadline()
				left = time.Until(end)
				return empty()
			}})
			ctx := t.Context()
			if tt.caller > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, tt.caller)
				defer cancel()
			}
			if _, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil {
				t.Fatal(err)
			}
			if left > tt.atMost || left < tt.atMost-30*time.Second {
				t.Fatalf("the room had %v left, want about %v", left, tt.atMost)
			}
		})
	}
}

func TestMessagesAreBounded(t *testing.T) {
	t.Parallel()
	c := client(t, &room{unary: func(_ context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		return &grpc_testing.SimpleResponse{Payload: &grpc_testing.Payload{Body: make([]byte, req.GetResponseSize())}}, nil
	}})
	tests := map[string]struct {
		send, receive int
		want          fault.Kind
	}{
		"large":              {15 << 20, 15 << 20, fault.None},
		"too large to send":  {rpc.MaxMessage + 1, 0, fault.TooLarge},
		"too large a result": {0, rpc.MaxMessage + 1, fault.TooLarge},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := c.UnaryCall(t.Context(), &grpc_testing.SimpleRequest{
				ResponseSize: int32(tt.receive), Payload: &grpc_testing.Payload{Body: make([]byte, tt.send)},
			})
			if fault.KindOf(err) != tt.want {
				t.Fatalf("the call = %v, want %v", err, tt.want)
			}
		})
	}
}

func TestADamagedPrincipalIsRefused(t *testing.T) {
	t.Parallel()
	tests := map[string][]string{
		"damaged": {"%%%"},
		"two":     {ada.Encode(), principal.Principal{Kind: principal.Service}.Encode()},
	}
	for name, headers := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &room{unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
				return empty()
			}}
			dir := grpctest.SocketDir(t)
			grpctest.ServeAt(t, dir, "room", func(s grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(s, r) })
			ctx := t.Context()
			for _, header := range headers {
				ctx = metadata.AppendToOutgoingContext(ctx, principal.Header, header)
			}
			_, err := grpc_testing.NewTestServiceClient(grpctest.DialPlain(t, dir, "room")).UnaryCall(ctx, &grpc_testing.SimpleRequest{})
			if !fault.Unauthenticated.Is(err) {
				t.Fatalf("the call = %v, want unauthenticated", err)
			}
		})
	}
}

func TestAClientReplacesAForwardedPrincipal(t *testing.T) {
	t.Parallel()
	var caller principal.Principal
	c := client(t, &room{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		caller = principal.From(ctx)
		return empty()
	}})
	forged := metadata.AppendToOutgoingContext(t.Context(), principal.Header, principal.Principal{Kind: principal.Service}.Encode())
	if _, err := c.UnaryCall(principal.With(forged, ada), &grpc_testing.SimpleRequest{}); err != nil || caller != ada {
		t.Fatalf("the room saw %+v, %v, want Ada", caller, err)
	}
	if _, err := c.UnaryCall(forged, &grpc_testing.SimpleRequest{}); err != nil || caller != (principal.Principal{}) {
		t.Fatalf("the room saw %+v, %v, want nobody", caller, err)
	}
}

func TestOneLinePerCallWithReferenceAndCause(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	r := &room{unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		return nil, errors.New("the disk is gone")
	}}
	dir := grpctest.SocketDir(t)
	lis, err := mesh.Listen(dir, "room")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(rpc.ServerOptions(slog.New(slog.NewJSONHandler(&lines, nil)))...)
	grpc_testing.RegisterTestServiceServer(server, r)
	done := make(chan error, 1)
	go func() { done <- server.Serve(lis) }()
	_, callErr := grpc_testing.NewTestServiceClient(grpctest.Dial(t, dir, "room")).UnaryCall(t.Context(), &grpc_testing.SimpleRequest{})
	server.GracefulStop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	var line struct{ Level, Method, Error, Ref string }
	if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
		t.Fatalf("want one line of JSON, got %q", lines.String())
	}
	if line.Level != "ERROR" || line.Error != "the disk is gone" || fault.Message(callErr) != "internal error (ref "+line.Ref+")" {
		t.Fatalf("the caller read %q, the log says %+v", fault.Message(callErr), line)
	}
}
