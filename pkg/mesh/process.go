package mesh

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
)

// Process is the rooms that one process serves. A call from one to another passes the
// same interceptors as over a socket, and gets copies of its messages, but takes no
// HTTP/2, no system call and no goroutine of its own. Streams take the socket, and so do
// calls to a room that does not serve now: they wait there. A caller waits for the answer
// even when its time is over; rooms heed the context of a call.
type Process struct {
	mu    sync.RWMutex
	rooms map[string]*Room
}

// NewProcess returns one without rooms.
func NewProcess() *Process { return &Process{rooms: map[string]*Room{}} }

// Join has the others call a room here, whose contracts are registered, until it leaves.
func (p *Process) Join(name string, room *Room) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.rooms[name] = room
}

func (p *Process) room(name string) *Room {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.rooms[name]
}

// caller is the interceptor of a connection to a room.
func (p *Process) caller(name string) grpc.UnaryClientInterceptor {
	return func(ctx context.Context, method string, req, reply any, conn *grpc.ClientConn, next grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		room := p.room(name)
		if room == nil || !room.enter() {
			return next(ctx, method, req, reply, conn, opts...)
		}
		defer room.calls.Done()
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(room.over, cancel)()
		return room.call(ctx, method, req, reply)
	}
}

// Room is what a room serves, over its server and to the others of its process.
type Room struct {
	server    grpc.ServiceRegistrar
	intercept grpc.UnaryServerInterceptor
	methods   map[string]method

	mu    sync.Mutex
	left  bool
	calls sync.WaitGroup
	over  context.Context //nolint:containedctx // of all calls, beside each caller's own
	end   context.CancelFunc
}

type method struct {
	desc grpc.MethodDesc
	impl any
}

// NewRoom returns a room that serves what is registered with it over server, too, whose
// interceptor of unary calls is intercept.
func NewRoom(server grpc.ServiceRegistrar, intercept grpc.UnaryServerInterceptor) *Room {
	r := &Room{server: server, intercept: intercept, methods: map[string]method{}}
	r.over, r.end = context.WithCancel(context.Background())
	return r
}

// RegisterService implements grpc.ServiceRegistrar.
func (r *Room) RegisterService(desc *grpc.ServiceDesc, impl any) {
	r.server.RegisterService(desc, impl)
	for _, m := range desc.Methods {
		r.methods["/"+desc.ServiceName+"/"+m.MethodName] = method{m, impl}
	}
}

// Leave sends further calls to the socket, waits for those that are under way as long as
// ctx allows, and ends the contexts of the others.
func (r *Room) Leave(ctx context.Context) {
	r.mu.Lock()
	r.left = true
	r.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); r.calls.Wait() }()
	select {
	case <-done:
	case <-ctx.Done():
	}
	r.end()
}

func (r *Room) enter() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.left {
		return false
	}
	r.calls.Add(1)
	return true
}

// call has the room answer. The caller's trace goes on by its context.
func (r *Room) call(ctx context.Context, name string, req, reply any) error {
	m, ok := r.methods[name]
	if !ok {
		return status.Errorf(codes.Unimplemented, "there is no method %s", name)
	}
	res, err := m.desc.Handler(m.impl, received(ctx), func(into any) error { return handOver(into, req) }, r.intercept)
	if err != nil {
		return err
	}
	return handOver(reply, res)
}

// received is the context of a call on the side of its server: what the caller sends has
// come in, and is not sent on.
func received(ctx context.Context) context.Context {
	md, _ := metadata.FromOutgoingContext(ctx)
	return metadata.NewIncomingContext(metadata.NewOutgoingContext(ctx, metadata.MD{}), md)
}

// handOver copies a message as it would be sent, so that neither side sees what the other
// does to it, a text that is no UTF-8 is refused, and the bound is that of a socket.
func handOver(into, from any) error {
	message, ok := from.(proto.Message)
	if !ok {
		return fault.Status(fault.Internal.Errorf("%T is no message", from)).Err()
	}
	raw, err := proto.Marshal(message)
	if err == nil && len(raw) > rpc.MaxMessage {
		return fault.Status(fault.TooLarge.Errorf("the message has %d bytes; at most %d are taken", len(raw), rpc.MaxMessage)).Err()
	}
	if err == nil {
		err = proto.Unmarshal(raw, into.(proto.Message))
	}
	if err != nil {
		return status.Errorf(codes.Internal, "hand a message over: %v", err)
	}
	return nil
}
