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

const startWithin = 60 * time.Second

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

// Directory is a namespace directory on the server.
func Directory(t *testing.T) *namespaces.Directory {
	t.Helper()
	d, err := namespaces.New(namespaces.Config{Address: Address(t), Retention: 24 * time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// Org is an organisation of the test's own.
func Org() string { return id.Org.New() }

func start() (string, error) {
	program, err := find()
	if err != nil {
		return "", err
	}
	if server.dir, err = os.MkdirTemp("", "temporal"); err != nil {
		return "", err
	}
	ready := filepath.Join(server.dir, "ready.json")
	cmd := exec.Command(program, "--db", filepath.Join(server.dir, "temporal.db"), "--grpc", "127.0.0.1:0", "--http-ui", "", "--ready-file", ready, "--log-level", "error")
	if err := cmd.Start(); err != nil {
		return "", err
	}
	server.cmd = cmd
	for deadline := time.Now().Add(startWithin); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var told struct{ GRPC string }
		text, err := os.ReadFile(ready)
		if err == nil && json.Unmarshal(text, &told) == nil && told.GRPC != "" {
			return told.GRPC, nil
		}
	}
	return "", fmt.Errorf("%s was not ready within %s", program, startWithin)
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
