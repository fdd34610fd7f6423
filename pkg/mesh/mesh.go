// Package mesh finds the neighbours: a unix socket per room in one folder, or an
// address per room. Connections are lazy and wait, so rooms start in any order.
package mesh

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/mcpagentcloud/agentcloud/pkg/rpc"
)

// maxSocketPath is what sockaddr_un holds on Linux and macOS, less the final NUL.
const maxSocketPath = 103

// Dialer knows where the rooms are. It keeps one connection to each.
type Dialer struct {
	target func(room string) (string, error)

	mu    sync.Mutex
	conns map[string]*grpc.ClientConn
}

// Sockets finds each room at dir/room.sock.
func Sockets(dir string) *Dialer {
	return newDialer(func(room string) (string, error) { return "unix:" + socket(dir, room), nil })
}

// Addresses finds each room at its host:port.
func Addresses(rooms map[string]string) *Dialer {
	return newDialer(func(room string) (string, error) {
		if address, ok := rooms[room]; ok {
			return "dns:///" + address, nil
		}
		return "", fmt.Errorf("no address is configured for the room %q", room)
	})
}

func newDialer(target func(string) (string, error)) *Dialer {
	return &Dialer{target: target, conns: map[string]*grpc.ClientConn{}}
}

// Dial returns the connection to a room; it connects at the first call.
func (d *Dialer) Dial(room string) (*grpc.ClientConn, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if conn, ok := d.conns[room]; ok {
		return conn, nil
	}
	target, err := d.target(room)
	if err != nil {
		return nil, err
	}
	opts := append(rpc.DialOptions(), grpc.WithTransportCredentials(insecure.NewCredentials()))
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
	var errs []error
	for _, conn := range d.conns {
		errs = append(errs, conn.Close())
	}
	clear(d.conns)
	return errors.Join(errs...)
}

// Listen opens the socket of a room in dir, in place of one a crash left behind.
// Whoever calls it must own dir: two processes would take each other's place.
func Listen(dir, room string) (net.Listener, error) {
	path := socket(dir, room)
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the socket path %s has %d characters and may have %d: use a shorter folder", path, len(path), maxSocketPath)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return net.Listen("unix", path)
}

func socket(dir, room string) string { return filepath.Join(dir, room+".sock") }
