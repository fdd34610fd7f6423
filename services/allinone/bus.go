package allinone

import (
	"crypto/rand"
	"errors"
	"net"
	"path/filepath"
	"strconv"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/services/cli/localcloud"
)

const (
	busStart = 20 * time.Second
	// busSync is how often NATS writes to the disk what it has acknowledged, and busSettle
	// how long it surely has by then: a sync for each event was a tenth of what rooms take for a
	// start of a run.
	busSync   = 2 * time.Second
	busSettle = 10 * time.Second
)

// natsServer is the bus in this process.
type natsServer struct{ *server.Server }

// startBus runs NATS with JetStream on files. What it has acknowledged outlives a kill, and
// a loss of power after busSync; events stay in their outboxes until then.
// With one process per room it listens on loopback, for whoever has the token, and has on
// disk what it has acknowledged.
func (c *cloud) startBus() error {
	options := &server.Options{
		ServerName: "agentcloud", JetStream: true, StoreDir: c.folder.path("nats"), SyncAlways: c.cfg.Processes, SyncInterval: busSync,
		DontListen: !c.cfg.Processes, NoSigs: true, NoLog: true, MaxPayload: 8 << 20,
	}
	if c.cfg.Processes {
		host, port, err := net.SplitHostPort(c.ports.NATS)
		if err != nil {
			return err
		}
		options.Host, options.Authorization = host, rand.Text()
		if options.Port, err = strconv.Atoi(port); err != nil {
			return err
		}
		if err := localcloud.WriteFile(c.tokenFile(), []byte(options.Authorization)); err != nil {
			return err
		}
	}
	s, err := server.NewServer(options)
	if err != nil {
		return err
	}
	s.Start()
	if !s.ReadyForConnections(busStart) {
		s.Shutdown()
		return errors.New("NATS did not start in time")
	}
	c.bus = &natsServer{s}
	return nil
}

func (c *cloud) tokenFile() string { return filepath.Join(c.folder.run, "nats-token") }

// inProcess connects without a socket.
func (s *natsServer) inProcess() nats.Option { return nats.InProcessServer(s.Server) }

func (s *natsServer) stop() {
	s.Shutdown()
	s.WaitForShutdown()
}
