// Package mesh finds the neighbours: a unix socket per room in one folder, or an
// address per room. Connections are lazy and wait, so rooms start in any order.
//
// It authenticates nobody: whoever reaches the folder or the network of the rooms is
// one of them.
package mesh

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
)

// Dialer knows where the rooms are. It keeps one connection to each.
type Dialer struct {
	target  func(room string) (string, error)
	process *Process // nil: every room is elsewhere

	mu     sync.Mutex
	conns  map[string]*grpc.ClientConn
	closed bool
}

// Sockets finds each room at dir/room.sock.
func Sockets(dir string) *Dialer {
	return newDialer(func(room string) (string, error) {
		path, err := filepath.Abs(socket(dir, room))
		if err != nil {
			return "", err
		}
		if len(path) > maxSocketPath {
			return "", fmt.Errorf("the socket path %s has %d characters and may have %d: use a shorter folder", path, len(path), maxSocketPath)
		}
		return "unix:" + path, nil
	})
}

// Within has d call rooms that process serves there.
func (d *Dialer) Within(process *Process) *Dialer {
	d.process = process
	return d
}

// Addresses finds each room at its host:port.
func Addresses(rooms map[string]string) *Dialer {
	return newDialer(func(room string) (string, error) {
		if address, ok := rooms[room]; ok {
			return "dns:///" + address, nil
		}
		return "", fmt.Errorf("no address is configured for the room %q; there is one for: %s",
			room, strings.Join(slices.Sorted(maps.Keys(rooms)), ", "))
	})
}

func newDialer(target func(string) (string, error)) *Dialer {
	return &Dialer{target: target, conns: map[string]*grpc.ClientConn{}}
}

// Dial returns the connection to a room; it connects at the first call.
func (d *Dialer) Dial(room string) (*grpc.ClientConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return nil, errors.New("the mesh is closed")
	}
	if conn, ok := d.conns[room]; ok {
		return conn, nil
	}
	target, err := d.target(room)
	if err != nil {
		return nil, err
	}
	opts := append(rpc.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if d.process != nil {
		opts = append(opts, grpc.WithChainUnaryInterceptor(d.process.caller(room)))
	}
	conn, err := grpc.NewClient(target, opts...)
	if err != nil {
		return nil, fmt.Errorf("dial %s: %w", room, err)
	}
	d.conns[room] = conn
	return conn, nil
}

// Close ends all connections.
func (d *Dialer) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	var errs []error
	for _, conn := range d.conns {
		errs = append(errs, conn.Close())
	}
	clear(d.conns)
	return errors.Join(errs...)
}
