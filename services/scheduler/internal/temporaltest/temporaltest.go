// Package temporaltest gives tests a real Temporal server, the program that `make
// build` puts in .bin. The tests of one package share it and use a namespace each.
package temporaltest

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/id"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
)

const (
	startWithin = 60 * time.Second
	startTries  = 3
)

var server struct {
	once    sync.Once
	address string
	err     error
	cmd     *exec.Cmd
	dir     string
}

// Main runs the tests of a package and ends its server after them.
func Main(m *testing.M) {
	code := m.Run()
	if server.cmd != nil {
		_ = server.cmd.Process.Kill()
		_ = server.cmd.Wait()
	}
	if server.dir != "" {
		_ = os.RemoveAll(server.dir)
	}
	os.Exit(code)
}

// Address is where the server answers. Without the program the test is skipped,
// unless AGENTCLOUD_REQUIRE_TEMPORAL is set.
func Address(t *testing.T) string {
	t.Helper()
	server.once.Do(func() { server.address, server.err = start() })
	switch {
	case server.err == nil:
		return server.address
	case os.Getenv("AGENTCLOUD_REQUIRE_TEMPORAL") != "":
		t.Fatal(server.err)
	}
	t.Skipf("no Temporal here (%v); `make build` makes it", server.err)
	return ""
}

// Database is the file of the server's SQLite database, for tests that need more rows in
// it than runs could make.
func Database(t *testing.T) string {
	t.Helper()
	Address(t)
	return databaseIn(server.dir)
}

func databaseIn(dir string) string { return filepath.Join(dir, "temporal.db") }

// Directory is a namespace directory on the server.
func Directory(t *testing.T) *namespaces.Directory {
	t.Helper()
	return directory(t, Address(t))
}

// A Victim is a server of a test's own, which it may kill.
type Victim struct {
	dir, address string
	cmd          *exec.Cmd
}

// NewVictim starts a server that ends with the test.
func NewVictim(t *testing.T) *Victim {
	t.Helper()
	Address(t) // skips where there is no program
	v := &Victim{dir: t.TempDir(), address: "127.0.0.1:0"}
	v.Start(t)
	t.Cleanup(v.Kill)
	return v
}

// Start starts it, or starts it again on the same data at the same address.
func (v *Victim) Start(t *testing.T) {
	t.Helper()
	var err error
	if v.cmd, v.address, err = launch(v.dir, v.address); err != nil {
		t.Fatal(err)
	}
}

// Kill is kill -9.
func (v *Victim) Kill() {
	_ = v.cmd.Process.Kill()
	_ = v.cmd.Wait()
}

// Directory is a namespace directory on it.
func (v *Victim) Directory(t *testing.T) *namespaces.Directory {
	t.Helper()
	return directory(t, v.address)
}

func directory(t *testing.T, address string) *namespaces.Directory {
	t.Helper()
	d, err := namespaces.New(namespaces.Config{Address: address, Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// Org is an organisation of the test's own.
func Org() string { return id.Org.New() }

func start() (address string, err error) {
	if server.dir, err = os.MkdirTemp("", "temporal"); err != nil {
		return "", err
	}
	for range startTries { // a port that is free when it is chosen may be taken when it is used
		if server.cmd, address, err = launch(server.dir, "127.0.0.1:0"); err == nil {
			break
		}
	}
	return address, err
}

// launch starts the program on the data in a folder and waits until it is ready.
func launch(dir, address string) (*exec.Cmd, string, error) {
	program, err := find()
	if err != nil {
		return nil, "", err
	}
	ready := filepath.Join(dir, "ready.json")
	_ = os.Remove(ready)
	cmd := exec.Command(program, "--db", databaseIn(dir), "--grpc", address, "--http-ui", "", "--ready-file", ready, "--log-level", "error")
	if err := cmd.Start(); err != nil {
		return nil, "", err
	}
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var told struct{ GRPC string }
		text, err := os.ReadFile(ready)
		if err == nil && json.Unmarshal(text, &told) == nil && told.GRPC != "" {
			return cmd, told.GRPC, nil
		}
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	return nil, "", fmt.Errorf("%s was not ready within %s", program, startWithin)
}

// find looks for the program from the working directory upwards.
func find() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		program := filepath.Join(dir, ".bin", "temporald")
		if _, err := os.Stat(program); err == nil {
			return program, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", fmt.Errorf("no .bin/temporald above the working directory")
		}
		dir = parent
	}
}
