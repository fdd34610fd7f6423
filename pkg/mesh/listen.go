package mesh

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"time"
)

const (
	// maxSocketPath is what sockaddr_un holds on macOS, less the final NUL; Linux has
	// four more, but a data folder should work on both.
	maxSocketPath = 103
	probeLimit    = time.Second
)

// Listen opens the socket of a room in dir, in place of one that a crash left
// behind. It refuses to take the place of a room that answers.
func Listen(dir, room string) (net.Listener, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of sockets: %w", err)
	}
	return ListenUnix(socket(dir, room))
}

// ListenUnix is Listen for a path of one's own choice.
func ListenUnix(path string) (net.Listener, error) {
	if len(path) > maxSocketPath {
		return nil, fmt.Errorf("the socket path %s has %d characters and may have %d: use a shorter folder", path, len(path), maxSocketPath)
	}
	if err := removeStale(path); err != nil {
		return nil, err
	}
	lis, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(err, lis.Close())
	}
	return lis, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return fmt.Errorf("%s is there and is no socket: remove it or choose another folder", path)
	}
	conn, err := net.DialTimeout("unix", path, probeLimit) //nolint:noctx // bounded, and quick
	if err == nil {
		_ = conn.Close()
		return fmt.Errorf("another process answers at %s already: stop it first", path)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func socket(dir, room string) string { return filepath.Join(dir, room+".sock") }
