package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

const (
	startLimit = 60 * time.Second
	stopLimit  = 90 * time.Second
	appPorts   = 200
)

// soon lets a cloud look after workflows more often than people need.
var soon = []string{"--set", "scheduler.health.every=1s", "--set", "scheduler.health.patience=3s", "--set", "scheduler.health.settle=2s", "--set", "scheduler.scale.down=4s"}

// cloud is a running `agentcloud up`.
type cloud struct {
	tools tools
	mode  []string
	data  string
	url   string
	key   string
	ports string
	cache string
	model string
	extra []string // of the environment
	// front is before the replicas of the gateway, where there are two.
	front *front
	// second is the second of them.
	second *replica
	// all runs scripts that usually run in another mode.
	all bool

	cmd   *exec.Cmd
	out   *bytes.Buffer
	done  chan error
	users atomic.Int64
}

func startCloud(t *testing.T, tools tools, flags ...string) *cloud {
	t.Helper()
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	c := &cloud{
		tools: tools, mode: flags, data: filepath.Join(shortDir(t), "cloud"),
		ports: freeRange(t), cache: filepath.Join(cache, "agentcloud", "wrangler"),
		model: startModel(t),
	}
	if err := os.MkdirAll(c.cache, 0o755); err != nil {
		t.Fatal(err)
	}
	c.start(t)
	t.Cleanup(func() { c.kill() })
	return c
}

// shortDir is a temporary folder whose name leaves room for sockets.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e2e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the cloud's folder is kept: %s", dir)
			return
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func (c *cloud) start(t *testing.T) {
	t.Helper()
	note := filepath.Join(c.data, "cloud.json")
	_ = os.Remove(note)
	args := append([]string{"up", "--data", c.data, "--http", "127.0.0.1:0", "--temporal-ui", "", "--app-ports", c.ports, "--log-level", "debug"}, slices.Concat(soon, c.mode)...)
	c.cmd, c.out, c.done = exec.Command(filepath.Join(c.tools.bin, "agentcloud"), args...), &bytes.Buffer{}, make(chan error, 1)
	c.cmd.Stdout, c.cmd.Stderr = c.out, c.out
	c.cmd.Env = append(os.Environ(), c.extra...)
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { c.done <- c.cmd.Wait() }()
	eventually(t, startLimit, func() error {
		select {
		case err := <-c.done:
			t.Fatalf("agentcloud up ended: %v\n%s", err, c.out)
		default:
		}
		_, err := os.Stat(note)
		return err
	})
	c.url = c.noted(t, note, "url")
	c.key = c.noted(t, filepath.Join(c.data, "admin-key.json"), "api_key")
}

func (c *cloud) noted(t *testing.T, file, key string) string {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var note map[string]any
	if err := json.Unmarshal(raw, &note); err != nil {
		t.Fatal(err)
	}
	value, _ := note[key].(string)
	return value
}

// stop is Ctrl-C. The cloud must drain, say nothing bad and leave no process.
func (c *cloud) stop(t *testing.T) {
	t.Helper()
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-c.done:
		if err != nil {
			t.Errorf("agentcloud up ended with %v\n%s", err, c.out)
		}
	case <-time.After(stopLimit):
		t.Errorf("agentcloud up does not stop\n%s", c.out)
		c.kill()
	}
	eventually(t, 10*time.Second, func() error { return c.orphans() })
}

// kill is kill -9 of the whole process, as at a power cut.
func (c *cloud) kill() {
	if c.cmd.ProcessState == nil {
		_ = c.cmd.Process.Kill()
	}
}

// orphans finds processes that speak of this cloud's folder.
func (c *cloud) orphans() error {
	processes, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	var left []string
	for _, file := range processes {
		raw, err := os.ReadFile(file)
		if err == nil && bytes.Contains(raw, []byte(c.data)) && !strings.Contains(file, "/"+strconv.Itoa(os.Getpid())+"/") {
			left = append(left, strings.ReplaceAll(string(raw), "\x00", " "))
		}
	}
	if len(left) > 0 {
		return fmt.Errorf("processes are left behind:\n%s", strings.Join(left, "\n"))
	}
	return nil
}

// processes finds the ids of a room, of Temporal, or of agents' servers or workers.
func (c *cloud) processes(name string) []int {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return nil
	}
	var found []int
	for _, file := range files {
		raw, err := os.ReadFile(file)
		args := strings.Split(strings.TrimSuffix(string(raw), "\x00"), "\x00")
		if err != nil || !bytes.Contains(raw, []byte(c.data)) {
			continue
		}
		isAgent := strings.HasSuffix(args[0], "/python") && args[len(args)-1] == name
		if isAgent || filepath.Base(args[0]) == name {
			pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			if err == nil {
				found = append(found, pid)
			}
		}
	}
	return found
}

// setup makes a user in an organisation of its own and the environment of the CLI.
func (c *cloud) setup(env *testscript.Env) error {
	email := fmt.Sprintf("user%d-%s@example.com", c.users.Add(1), strings.ToLower(filepath.Base(env.WorkDir)))
	out, err := exec.Command(filepath.Join(c.tools.bin, "agentcloud"), "users", "create", email, "--new-org", email, "--data", c.data).Output() //nolint:gosec // our own binary
	if err != nil {
		return fmt.Errorf("create user: %w", err)
	}
	home := filepath.Join(env.WorkDir, "home")
	if err := os.MkdirAll(home, 0o755); err != nil {
		return err
	}
	env.Vars = append(env.Vars, machine()...)
	env.Vars = append(env.Vars,
		"HOME="+home, "PATH="+c.tools.bin+":"+os.Getenv("PATH"), "COLUMNS=400", "NO_COLOR=1", "TERM=dumb",
		"MCP_API_BASE_URL="+c.url+"/api", "MCP_API_KEY="+strings.TrimSpace(string(out)), "MCP_DEPLOYMENTS_UPLOAD_API_BASE_URL="+c.url,
		"MCP_DEPLOYMENT_CACHE_DIR="+c.cache, "MCP_AGENT_DISABLE_VERSION_CHECK=1",
		"DATA="+c.data, "BIN="+c.tools.bin, "URL="+c.url, "EMAIL="+email, "EXAMPLES="+c.tools.examples, "PYTHON="+c.tools.python, "CANARY="+canary,
		"MODEL="+c.model, "CLIENTS="+filepath.Join(c.tools.bin, "clients"),
	)
	env.Values[frontKey{}] = c.front
	return nil
}

// machine are the variables that say where packages come from.
func machine() []string {
	var kept []string
	for _, entry := range os.Environ() {
		for _, prefix := range []string{"UV_", "PIP_", "NPM_CONFIG_", "npm_config_", "SSL_CERT_", "NODE_EXTRA_", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"} {
			if strings.HasPrefix(entry, prefix) {
				kept = append(kept, entry)
			}
		}
	}
	return kept
}

func (c *cloud) condition(name string) (bool, error) {
	switch name {
	case "six":
		return len(c.mode) > 0, nil
	case "two": // gateways
		return c.front != nil, nil
	case "all": // scripts in all modes
		return c.all || os.Getenv("AGENTCLOUD_E2E_ALL") != "", nil
	}
	return false, fmt.Errorf("there is no condition %q", name)
}

// ranges counts the ranges of ports that this process has given: tests run in parallel,
// and a cloud binds its range only when apps come.
var ranges atomic.Int64

func freeRange(t *testing.T) string {
	t.Helper()
	const all = (32000 - 20000) / appPorts
	for range all {
		first := 20000 + (os.Getpid()%20*3+int(ranges.Add(1)))%all*appPorts
		if rangeFree(first) {
			return fmt.Sprintf("%d-%d", first, first+appPorts-1)
		}
	}
	t.Fatal("no range of free ports")
	return ""
}

func rangeFree(first int) bool {
	for port := first; port < first+appPorts; port++ {
		lis, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if err != nil {
			return false
		}
		_ = lis.Close()
	}
	return true
}

// eventually asks until check is content.
func eventually(t *testing.T, limit time.Duration, check func() error) {
	t.Helper()
	deadline := time.Now().Add(limit)
	for {
		err := check()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %v", limit, err)
		}
		time.Sleep(20 * time.Millisecond) // between two questions
	}
}
