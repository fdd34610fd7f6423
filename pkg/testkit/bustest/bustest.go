// Package bustest gives tests a bus on a real NATS server, which ends with the test.
package bustest

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/mcpagentcloud/agentcloud/pkg/bus"
	"github.com/mcpagentcloud/agentcloud/pkg/testkit/grpctest"
)

const startLimit = 20 * time.Second

// New returns a Bus on a server of the test's own.
func New(t testing.TB) *bus.Bus {
	t.Helper()
	return Start(t).Bus(t)
}

// Server is a nats-server process with JetStream. What it has acknowledged is on disk.
type Server struct {
	// URL stays the same when the server is killed and started again.
	URL string

	program, dir string
	cmd          *exec.Cmd
}

// Start runs a server until the test ends. Without the program the test is skipped,
// unless AGENTCLOUD_REQUIRE_NATS is set.
func Start(t testing.TB) *Server {
	t.Helper()
	program, err := find()
	if err != nil && os.Getenv("AGENTCLOUD_REQUIRE_NATS") == "" {
		t.Skipf("no nats-server here (%v); `make setup` makes it", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{program: program, dir: t.TempDir()}
	t.Cleanup(func() { s.Kill() })
	s.run(t, "-1") // any free port
	s.streams(t)
	return s
}

// streams makes those that the rooms make: a subject that one of them takes behaves
// otherwise than one that nobody keeps.
func (s *Server) streams(t testing.TB) {
	t.Helper()
	if err := s.Bus(t).EnsureStreams(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server as a power cut would. It is no mistake to kill it twice.
func (s *Server) Kill() {
	_ = s.cmd.Process.Kill()
	_ = s.cmd.Wait()
}

// Lose kills the server and takes all that it has stored.
func (s *Server) Lose() {
	s.Kill()
	_ = os.RemoveAll(s.store())
}

func (s *Server) store() string { return filepath.Join(s.dir, "store") }

// Restart starts a killed server at the same address with the same streams.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	address, err := url.Parse(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	s.run(t, address.Port())
}

// Bus returns a connection to the server.
func (s *Server) Bus(t testing.TB) *bus.Bus {
	t.Helper()
	b, err := bus.Connect(bus.Options{URL: s.URL, Name: t.Name(), Log: grpctest.Logger(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Conn().Close) // not Close, which waits for a server that may be gone
	return b
}

func (s *Server) run(t testing.TB, port string) {
	t.Helper()
	config := filepath.Join(s.dir, "nats.conf")
	text := fmt.Sprintf("max_payload: 8MB\njetstream { store_dir: %q, sync_interval: always }\n", s.store())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(s.program, "-c", config, "-a", "127.0.0.1", "-p", port, "--ports_file_dir", s.dir, "-l", filepath.Join(s.dir, "log"))
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	deadline := time.Now().Add(startLimit)
	for {
		err := s.answers()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			t.Fatalf("nats-server does not start: %v\n%s", err, log)
		}
		time.Sleep(5 * time.Millisecond) // until another process is ready
	}
}

// answers reads where the server listens, which it writes down once it does.
func (s *Server) answers() error {
	file := filepath.Join(s.dir, fmt.Sprintf("%s_%d.ports", filepath.Base(s.program), s.cmd.Process.Pid))
	raw, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var ports struct {
		NATS []string `json:"nats"`
	}
	if err := json.Unmarshal(raw, &ports); err != nil || len(ports.NATS) == 0 {
		return fmt.Errorf("%s is not written yet", file)
	}
	s.URL = ports.NATS[0]
	conn, err := nats.Connect(s.URL)
	if err == nil {
		conn.Close()
	}
	return err
}

// find looks where the variable says, then in the tree's .bin.
func find() (string, error) {
	if path := os.Getenv("AGENTCLOUD_NATS_SERVER"); path != "" {
		return path, runs(path)
	}
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for ; filepath.Dir(dir) != dir; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			path := filepath.Join(dir, ".bin", "nats-server")
			return path, runs(path)
		}
	}
	return exec.LookPath("nats-server")
}

func runs(path string) error {
	_, err := os.Stat(path)
	return err
}
