package sidecar_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/sidecar"
)

const patience = 20 * time.Second

func TestMain(m *testing.M) {
	agentinit.Main() // this program is also the sidecars' first process
	if how := os.Getenv("FAKE_SERVER"); how != "" {
		fake(how)
		return
	}
	os.Exit(m.Run())
}

// fake is a stdio MCP server. Each call is answered with what it is and sees.
func fake(how string) {
	fmt.Println("starting, not a message")
	fmt.Fprintln(os.Stderr, "ERROR: the password is", os.Getenv("PASSWORD"))
	if how == "broken" {
		fmt.Fprintln(os.Stderr, "no paper")
		os.Exit(3)
	}
	dir, _ := os.Getwd()
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		var msg struct {
			ID     json.RawMessage `json:"id"`
			Method string          `json:"method"`
		}
		_ = json.Unmarshal(in.Bytes(), &msg)
		if msg.ID == nil {
			continue
		}
		var files syscall.Rlimit
		_ = syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files)
		result, _ := json.Marshal(map[string]any{"pid": os.Getpid(), "env": os.Environ(), "dir": dir, "method": msg.Method, "files": files.Max, "args": os.Args[1:]})
		if msg.Method == "die" {
			os.Exit(4)
		}
		fmt.Printf(`{"jsonrpc":"2.0","id":%s,"result":%s}`+"\n", msg.ID, result)
	}
}

// plain is a machine that contains nothing, so that the sweep is the first process's.
type plain struct{}

func (plain) Start(_ string, _ sidecar.Limits, cmd sidecar.Command) error {
	if err := cmd.Start(); err != nil {
		return err
	}
	return cmd.Open()
}
func (plain) Usage(string) (int64, float64) { return 7, 0 }
func (plain) Starved(string) bool           { return false }
func (plain) Remove(string)                 {}

// world is the sidecars of one version.
type world struct {
	t   *testing.T
	set *sidecar.Set

	mu       sync.Mutex
	lines    []agentenv.LogLine
	platform []string
}

func newWorld(t *testing.T, servers map[string]sidecar.Server, change func(*sidecar.Options)) *world {
	t.Helper()
	w := &world{t: t}
	o := sidecar.Options{
		Dir: t.TempDir(), Name: "ins_1", Path: os.Getenv("PATH"), AppDir: t.TempDir(), Idle: time.Hour, Machine: plain{}, Now: time.Now,
		Secrets: []string{"very secret"},
		Line: func(line agentenv.LogLine) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.lines = append(w.lines, line)
		},
		Platform: func(_ busv1.LogLevel, text string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.platform = append(w.platform, text)
		},
	}
	if change != nil {
		change(&o)
	}
	for name, s := range servers {
		if s.Command == "" {
			s.Command = os.Args[0]
		}
		s.Env = merged(map[string]string{"FAKE_SERVER": "well"}, s.Env)
		s.Limits.Files = 64
		servers[name] = s
	}
	set, err := sidecar.New(o, servers)
	if err != nil {
		t.Fatal(err)
	}
	w.set = set
	t.Cleanup(set.Close)
	return w
}

func merged(all ...map[string]string) map[string]string {
	out := map[string]string{}
	for _, one := range all {
		for name, value := range one {
			out[name] = value
		}
	}
	return out
}

// conn is a client of a sidecar.
type conn struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

// dial connects to a server and reads the answer to the first line.
func (w *world) dial(token, server string) (*conn, string) {
	w.t.Helper()
	socket, err := net.Dial("unix", w.set.Address().Socket)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = socket.Close() })
	_ = socket.SetDeadline(time.Now().Add(patience))
	c := &conn{w.t, socket, bufio.NewReader(socket)}
	_ = json.NewEncoder(socket).Encode(agentenv.SidecarHello{Token: token, Server: server})
	var answer agentenv.SidecarAnswer
	c.read(&answer)
	return c, answer.Error
}

func (c *conn) read(into any) {
	c.t.Helper()
	line, err := c.in.ReadBytes('\n')
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	if err := json.Unmarshal(line, into); err != nil {
		c.t.Fatalf("read %s: %v", line, err)
	}
}

// answer is what the fake server says of itself.
type answer struct {
	Result struct {
		PID    int
		Env    []string
		Dir    string
		Method string
		Files  int
		Args   []string
	}
	Error struct{ Message string }
}

func (c *conn) call(method string) answer {
	c.t.Helper()
	if _, err := fmt.Fprintf(c, `{"jsonrpc":"2.0","id":1,"method":%q,"params":{}}`+"\n", method); err != nil {
		c.t.Fatal(err)
	}
	var a answer
	c.read(&a)
	return a
}

// connect shakes hands.
func (w *world) connect(server string) *conn {
	w.t.Helper()
	c, refused := w.dial(w.set.Address().Token, server)
	if refused != "" {
		w.t.Fatalf("the connection was refused: %s", refused)
	}
	if a := c.call("initialize"); a.Error.Message != "" {
		w.t.Fatalf("initialize = %s", a.Error.Message)
	}
	return c
}

// until waits for a condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !holds(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

func gone(pid int) bool { return syscall.Kill(pid, 0) != nil }

func TestClientsShareAProcess(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]sidecar.Server{"one": {Shared: true, Args: []string{"--x"}}, "each": {}, "other": {Shared: true}}, nil)
	if all := w.set.Look(); len(all) != 3 || all[1].GetServer() != "one" || all[1].GetState() != schedulerv1.AgentState_AGENT_STATE_STOPPED {
		t.Errorf("Look() before the first client = %v", all)
	}
	first, second := w.connect("one").call("x"), w.connect("one").call("y")
	if first.Result.PID != second.Result.PID || first.Result.PID == 0 || second.Result.Method != "y" || fmt.Sprint(first.Result.Args) != "[--x]" {
		t.Errorf("two clients see %+v and %+v, want one process", first.Result, second.Result)
	}
	if first.Result.Files != 64 {
		t.Errorf("the process may have %d files open, want 64", first.Result.Files)
	}
	found := w.set.Look()[1]
	if found.GetState() != schedulerv1.AgentState_AGENT_STATE_READY || found.GetClients() != 2 || found.GetRole() != "sidecar" || found.GetMemoryBytes() != 7 || found.GetPid() == 0 {
		t.Errorf("Look() = %v", found)
	}
	a, b := w.connect("each"), w.connect("each")
	x, y := a.call("x").Result.PID, b.call("x").Result.PID
	if x == y {
		t.Errorf("two clients of a server that is not shared have one process")
	}
	_ = a.Close()
	until(t, "the process of a client ends with it", func() bool { return gone(x) })
	if gone(y) {
		t.Error("the process of another client has ended")
	}
	w.set.Close()
	if !gone(y) || !gone(first.Result.PID) {
		t.Error("processes are left after Close")
	}
}

func TestASidecarSeesItsOwnEnvironmentOnly(t *testing.T) {
	t.Setenv("INHERITED", "of the cloud")
	var app string
	w := newWorld(t, map[string]sidecar.Server{
		"one": {Shared: true, Env: map[string]string{"PASSWORD": "of one only"}},
		"two": {Shared: true, Env: map[string]string{"MINE": "2"}, Dir: "sub"},
	}, func(o *sidecar.Options) {
		app = o.AppDir
		if err := os.Mkdir(filepath.Join(app, "sub"), 0o755); err != nil {
			t.Fatal(err)
		}
	})
	one, two := w.connect("one").call("x").Result, w.connect("two").call("x").Result
	names := func(env []string) string {
		var all []string
		for _, e := range env {
			name, _, _ := strings.Cut(e, "=")
			all = append(all, name)
		}
		return strings.Join(all, " ")
	}
	if got, want := names(one.Env), "FAKE_SERVER HOME LANG PASSWORD PATH PYTHONDONTWRITEBYTECODE TMPDIR"; got != want {
		t.Errorf("a sidecar sees %s, want %s", got, want)
	}
	if got, want := names(two.Env), "FAKE_SERVER HOME LANG MINE PATH PYTHONDONTWRITEBYTECODE TMPDIR"; got != want {
		t.Errorf("another sees %s, want %s", got, want)
	}
	if one.Dir != app || two.Dir != filepath.Join(app, "sub") {
		t.Errorf("they are in %s and %s, want %s and sub", one.Dir, two.Dir, app)
	}
}

func TestLinesHaveTheServersNameAndNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]sidecar.Server{"one": {Shared: true, Env: map[string]string{"PASSWORD": "pass \"word\""}}}, nil)
	w.connect("one")
	var out, err agentenv.LogLine
	until(t, "two lines", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, line := range w.lines {
			if line.Fields["stream"] == "stdout" {
				out = line
			} else {
				err = line
			}
		}
		return len(w.lines) == 2
	})
	if out.Msg != "[one] starting, not a message" || out.Logger != "one" || out.Level != agentenv.LevelInfo || out.Fields["mcp_server"] != "one" {
		t.Errorf("standard output became %+v", out)
	}
	if err.Msg != "[one] ERROR: the password is [secret]" || err.Level != agentenv.LevelError {
		t.Errorf("standard error became %+v", err)
	}
}

func TestAKilledSidecarComesBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]sidecar.Server{"one": {Shared: true}}, nil)
	c, other := w.connect("one"), w.connect("one")
	first := c.call("x").Result.PID
	if got := c.call("die").Error.Message; got != "the MCP server one ended while this call was under way: exit code 4: ERROR: the password is" {
		t.Errorf("a call that its server died in got %q", got)
	}
	second := other.call("x").Result.PID
	if second == first || second == 0 {
		t.Errorf("after the end of process %d a call was answered by %d", first, second)
	}
	found := w.set.Look()[0]
	if found.GetRestarts() != 1 || !strings.Contains(found.GetLastError(), "exit code 4") {
		t.Errorf("Look() = %v", found)
	}
}

func TestASidecarThatDoesNotStart(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]sidecar.Server{
		"broken": {Shared: true, Env: map[string]string{"FAKE_SERVER": "broken"}}, "alone": {Env: map[string]string{"FAKE_SERVER": "broken"}},
		"missing": {Shared: true, Command: "no-such-program"}, "elsewhere": {Shared: true, Dir: "no-such-folder"},
	}, nil)
	for server, want := range map[string]string{
		"broken": "the MCP server broken does not start: exit code 3: no paper", "alone": "the MCP server alone does not start: exit code 3: no paper",
		"missing": "no-such-program", "elsewhere": "no such file or directory",
	} {
		c, refused := w.dial(w.set.Address().Token, server)
		if refused != "" {
			t.Fatal(refused)
		}
		if got := c.call("initialize").Error.Message; !strings.Contains(got, want) {
			t.Errorf("initialize of %s = %q, want %q", server, got, want)
		}
	}
}

func TestStrangersAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]sidecar.Server{"one": {Shared: true}}, nil)
	if _, refused := w.dial("guessed", "one"); refused != "this is not a sidecar of yours" {
		t.Errorf("a wrong token got %q", refused)
	}
	if _, refused := w.dial(w.set.Address().Token, "two"); refused != `the settings name no stdio server "two"` {
		t.Errorf("an unknown name got %q", refused)
	}
	info, err := os.Stat(filepath.Dir(w.set.Address().Socket))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the socket's folder is %v, %v; want 0700", info.Mode(), err)
	}
}

func TestWhoIsNotUsedEnds(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]sidecar.Server{"one": {Shared: true}}, func(o *sidecar.Options) { o.Idle = 20 * time.Millisecond })
	c := w.connect("one")
	pid := c.call("x").Result.PID
	_ = c.Close()
	until(t, "a process without clients ends", func() bool { return gone(pid) })
	if next := w.connect("one").call("x").Result.PID; next == pid || next == 0 {
		t.Errorf("the next client has process %d", next)
	}
	if n := w.set.Look()[0].GetRestarts(); n != 0 {
		t.Errorf("an end that was wanted counts as %d restarts", n)
	}
	w.set.Rest()
	if state := w.set.Look()[0].GetState(); state != schedulerv1.AgentState_AGENT_STATE_STOPPED {
		t.Errorf("after Rest() it is %v", state)
	}
	w.connect("one")
}

func TestALongPath(t *testing.T) {
	t.Parallel()
	w := newWorld(t, map[string]sidecar.Server{"one": {Shared: true}}, func(o *sidecar.Options) {
		o.Dir = filepath.Join(o.Dir, strings.Repeat("long", 30))
	})
	folder, err := os.Open(filepath.Dir(w.set.Address().Socket))
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close() //nolint:errcheck // only a way
	socket, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(w.set.Address().Socket)))
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.Close()
}

// A grandchild in a session of its own, which ignores signals and holds standard output.
func TestGrandchildrenAreSweptUp(t *testing.T) {
	t.Parallel()
	mark := filepath.Join(t.TempDir(), "pid")
	script := `setsid sh -c 'trap "" TERM; echo $$ > ` + mark + `; while :; do sleep 100; done' & while [ ! -s ` + mark + ` ]; do sleep 0.01; done; exec "$0"`
	w := newWorld(t, map[string]sidecar.Server{"one": {Shared: true, Command: "/bin/sh", Args: []string{"-c", script, os.Args[0]}}}, nil)
	w.connect("one").call("x")
	raw, err := os.ReadFile(mark)
	if err != nil {
		t.Fatal(err)
	}
	var pid int
	if _, err := fmt.Sscan(string(raw), &pid); err != nil || gone(pid) {
		t.Fatalf("there is no grandchild %d: %v", pid, err)
	}
	begin := time.Now()
	w.set.Close()
	if !gone(pid) {
		_ = exec.Command("kill", "-9", fmt.Sprint(pid)).Run()
		t.Errorf("the grandchild is there still, %s after Close", time.Since(begin))
	}
}
