package mesh_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/interop/grpc_testing"
	"google.golang.org/grpc/metadata"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/mesh"
	"github.com/mcpagentcloud/agentcloud/pkg/principal"
	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
)

var ada = principal.Principal{Kind: principal.User, UserID: "u_1", OrgID: "org_1", Name: "Ada"}

// answer is a contract whose one call does what it says.
type answer struct {
	grpc_testing.UnimplementedTestServiceServer
	unary func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error)
}

func (a *answer) UnaryCall(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
	return a.unary(ctx, req)
}

func (a *answer) StreamingInputCall(grpc.ClientStreamingServer[grpc_testing.StreamingInputCallRequest, grpc_testing.StreamingInputCallResponse]) error {
	return fault.Denied.Errorf("by the socket")
}

// here serves a in this process, and over a socket only if it is asked to.
func here(t *testing.T, a *answer, socket bool) (grpc_testing.TestServiceClient, *mesh.Room) {
	t.Helper()
	dir, process := grpctest.SocketDir(t), mesh.NewProcess()
	if socket {
		grpctest.ServeAt(t, dir, "room", func(s grpc.ServiceRegistrar) { grpc_testing.RegisterTestServiceServer(s, a) })
	}
	room := mesh.NewRoom(grpc.NewServer(), rpc.UnaryInterceptor(grpctest.Logger(t)))
	grpc_testing.RegisterTestServiceServer(room, a)
	process.Join("room", room)
	dialer := mesh.Sockets(dir).Within(process)
	t.Cleanup(func() { _ = dialer.Close() })
	conn, err := dialer.Dial("room")
	if err != nil {
		t.Fatal(err)
	}
	return grpc_testing.NewTestServiceClient(conn), room
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(principal.With(t.Context(), ada), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestRoomsOfOneProcessNeedNoSocket(t *testing.T) {
	t.Parallel()
	var caller principal.Principal
	sent := &grpc_testing.SimpleRequest{Payload: &grpc_testing.Payload{Body: []byte("mine")}}
	kept := &grpc_testing.SimpleResponse{Username: "room"}
	c, _ := here(t, &answer{unary: func(ctx context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		caller = principal.From(ctx)
		if out, _ := metadata.FromOutgoingContext(ctx); len(out) > 0 {
			t.Errorf("the room would send on %v", out)
		}
		if in, _ := metadata.FromIncomingContext(ctx); len(in.Get("x-word")) != 1 {
			t.Errorf("the room received %v", in)
		}
		req.Payload.Body[0] = 'X'
		return kept, nil
	}}, false)
	res, err := c.UnaryCall(metadata.AppendToOutgoingContext(soon(t), "X-Word", "hello"), sent)
	if err != nil || res.GetUsername() != "room" || caller != ada {
		t.Fatalf("UnaryCall() = %v, %v; the room saw %+v", res, err, caller)
	}
	if res.Username = "caller"; kept.GetUsername() != "room" || string(sent.GetPayload().GetBody()) != "mine" {
		t.Fatalf("one side sees what the other does: %v, %v", kept, sent)
	}
}

func TestFaultsAndPanicsStayWhatTheyAreInOneProcess(t *testing.T) {
	t.Parallel()
	for desc, tt := range map[string]struct {
		fail func() error
		want fault.Kind
	}{
		"a fault":     {func() error { return fault.Denied.Errorf("not yours") }, fault.Denied},
		"plain":       {func() error { return errors.New("password is hunter2") }, fault.Internal},
		"a panic":     {func() error { panic("boom") }, fault.Internal},
		"out of time": {func() error { return context.DeadlineExceeded }, fault.Deadline},
	} {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			c, _ := here(t, &answer{unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
				return nil, tt.fail()
			}}, false)
			_, err := c.UnaryCall(soon(t), &grpc_testing.SimpleRequest{})
			if fault.KindOf(err) != tt.want || fault.Message(err) == "password is hunter2" {
				t.Fatalf("UnaryCall() = %v %q, want %v", fault.KindOf(err), fault.Message(err), tt.want)
			}
		})
	}
}

func TestMessagesAreBoundedInOneProcess(t *testing.T) {
	t.Parallel()
	c, _ := here(t, &answer{unary: func(_ context.Context, req *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		return &grpc_testing.SimpleResponse{Payload: &grpc_testing.Payload{Body: make([]byte, req.GetResponseSize())}}, nil
	}}, false)
	large := &grpc_testing.Payload{Body: make([]byte, rpc.MaxMessage)}
	for desc, req := range map[string]*grpc_testing.SimpleRequest{"request": {Payload: large}, "answer": {ResponseSize: rpc.MaxMessage}} {
		if _, err := c.UnaryCall(soon(t), req); !fault.TooLarge.Is(err) {
			t.Errorf("a large %s: %v, want too large", desc, err)
		}
	}
}

func TestTextsAreUTF8InOneProcess(t *testing.T) {
	t.Parallel()
	c, _ := here(t, &answer{unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		return &grpc_testing.SimpleResponse{Username: "\xff"}, nil
	}}, false)
	if res, err := c.UnaryCall(soon(t), &grpc_testing.SimpleRequest{}); !fault.Internal.Is(err) {
		t.Fatalf("UnaryCall() = %v, %v; want an internal error, as a server's", res, err)
	}
}

func TestStreamsTakeTheSocket(t *testing.T) {
	t.Parallel()
	c, _ := here(t, &answer{}, true)
	stream, err := c.StreamingInputCall(soon(t))
	if err == nil {
		_, err = stream.CloseAndRecv()
	}
	if fault.Message(err) != "by the socket" {
		t.Fatalf("StreamingInputCall() = %v", err)
	}
}

func TestARoomThatLeavesEndsItsCallsFirst(t *testing.T) {
	t.Parallel()
	inside, goOn := make(chan struct{}), make(chan struct{})
	calls := 0
	c, room := here(t, &answer{unary: func(context.Context, *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		if calls++; calls == 1 {
			close(inside)
			<-goOn
		}
		return &grpc_testing.SimpleResponse{}, nil
	}}, true)
	first, left := make(chan error, 1), make(chan struct{})
	ctx := soon(t)
	go func() { _, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); first <- err }()
	<-inside
	go func() { room.Leave(ctx); close(left) }()
	select {
	case <-left:
		t.Fatal("the room has left while a call was under way")
	case <-time.After(20 * time.Millisecond):
	}
	close(goOn)
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	<-left
	if _, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); err != nil || calls != 2 {
		t.Fatalf("a call after that: %v, %d calls; want it to take the socket", err, calls)
	}
}

func TestARoomThatMustLeaveCancelsItsCalls(t *testing.T) {
	t.Parallel()
	inside := make(chan struct{})
	c, room := here(t, &answer{unary: func(ctx context.Context, _ *grpc_testing.SimpleRequest) (*grpc_testing.SimpleResponse, error) {
		close(inside)
		<-ctx.Done()
		return nil, ctx.Err()
	}}, false)
	call, ctx := make(chan error, 1), soon(t)
	go func() { _, err := c.UnaryCall(ctx, &grpc_testing.SimpleRequest{}); call <- err }()
	<-inside
	over, cancel := context.WithCancel(ctx)
	cancel()
	room.Leave(over)
	if err := <-call; err == nil || ctx.Err() != nil {
		t.Fatalf("the call = %v after %v; want it cancelled before its time is over", err, ctx.Err())
	}
}
