package process

import (
	"testing"

	"golang.org/x/sys/unix"
)

// Python's asyncio switches Nagle's algorithm off on sockets of this protocol only.
func TestAgentsListenByPlainTCP(t *testing.T) {
	t.Parallel()
	at, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	defer at.socket.Close() //nolint:errcheck // nothing was written
	protocol, err := unix.GetsockoptInt(int(at.socket.Fd()), unix.SOL_SOCKET, unix.SO_PROTOCOL)
	if err != nil || protocol != unix.IPPROTO_TCP {
		t.Errorf("the protocol is %d, %v; want TCP", protocol, err)
	}
}
