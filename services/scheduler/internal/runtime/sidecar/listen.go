package sidecar

import (
	"bufio"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

const (
	socketName = "s"
	// longest is what fits into an address of a socket (unix(7)).
	longest = 100
	// helloWithin is how long a client may take to say whom it wants.
	helloWithin = 10 * time.Second
	helloBytes  = 4 << 10
)

// listen opens the socket, in a folder that only we may enter. A path that is too long
// for an address is reached by way of the open folder.
func listen(dir string) (*net.UnixListener, error) {
	path := filepath.Join(dir, socketName)
	if len(path) > longest {
		folder, err := os.Open(dir) //nolint:gosec // our own
		if err != nil {
			return nil, err
		}
		defer folder.Close() //nolint:errcheck // only a way
		path = filepath.Join("/proc/self/fd", strconv.Itoa(int(folder.Fd())), socketName)
	}
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	lis.SetUnlinkOnClose(false) // the folder goes with it
	return lis, nil
}

func (s *Set) accept() {
	for {
		conn, err := s.lis.AcceptUnix()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			select { // out of descriptors, most likely
			case <-s.ctx.Done():
				return
			case <-time.After(helloWithin / 100): //nolint:mnd // a moment
			}
			continue
		}
		select {
		case s.places <- struct{}{}:
			s.wait.Go(func() {
				defer func() { <-s.places }()
				s.serve(conn)
			})
		default:
			_ = conn.Close()
		}
	}
}

// client is a connection after its first line.
type client struct {
	io.Reader
	*net.UnixConn
}

func (c client) Read(p []byte) (int, error) { return c.Reader.Read(p) }

func (s *Set) serve(conn *net.UnixConn) {
	defer conn.Close() //nolint:errcheck // nothing is left to say
	defer context.AfterFunc(s.ctx, func() { _ = conn.Close() })()
	_ = conn.SetDeadline(time.Now().Add(helloWithin))
	reader := bufio.NewReaderSize(conn, helloBytes)
	u, err := s.hello(reader)
	answer := agentenv.SidecarAnswer{}
	if err != nil {
		answer.Error = err.Error()
	}
	if said := json.NewEncoder(conn).Encode(answer); err != nil {
		return
	} else if said == nil {
		_ = conn.SetDeadline(time.Time{})
	}
	if u.server.config.Shared {
		u.attach(client{reader, conn})
		return
	}
	u.alone(client{reader, conn})
}

// hello reads whom a client wants, and whether it may.
func (s *Set) hello(reader *bufio.Reader) (*unit, error) {
	line, err := reader.ReadSlice('\n')
	if err != nil {
		return nil, errors.New("the first line says which server is wanted")
	}
	var hello agentenv.SidecarHello
	if err := json.Unmarshal(line, &hello); err != nil {
		return nil, errors.New("the first line is no JSON object")
	}
	if subtle.ConstantTimeCompare([]byte(hello.Token), []byte(s.token)) != 1 {
		return nil, errors.New("this is not a sidecar of yours")
	}
	server := s.servers[hello.Server]
	if server == nil {
		return nil, errors.New("the settings name no stdio server " + strconv.Quote(hello.Server))
	}
	return server.unitFor()
}
