package process

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// A stdio server whose child ignores SIGTERM, holds all pipes and has a session of its own.
const stubbornServer = `
setsid sh -c 'trap "" TERM HUP INT; while :; do sleep 1000; done' &
echo up >&2
while read -r line; do
  id=${line#*\"id\":}; id=${id%%,*}
  case $line in *'"id":'*) printf '{"jsonrpc":"2.0","id":%s,"result":{}}\n' "$id";; esac
done
sleep 1000`

// left is what a runtime could leave behind.
type leftovers struct {
	Processes, Files, Descriptors, Sockets, Groups int
}

func count(t *testing.T, mark, dir string) leftovers {
	t.Helper()
	var l leftovers
	environs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range environs {
		if raw, err := os.ReadFile(file); err == nil && bytes.Contains(raw, []byte("MARK="+mark)) {
			l.Processes++
		}
	}
	_ = filepath.WalkDir(filepath.Join(dir, scratchDir), func(path string, _ os.DirEntry, err error) error {
		if err == nil && path != filepath.Join(dir, scratchDir) {
			l.Files++
		}
		return nil
	})
	descriptors, _ := os.ReadDir("/proc/self/fd")
	l.Descriptors = len(descriptors)
	if raw, err := os.ReadFile("/proc/net/unix"); err == nil {
		l.Sockets = bytes.Count(raw, []byte(dir))
	}
	for _, tree := range []string{"*", ""} { // versions 1 and 2
		groups, _ := filepath.Glob(filepath.Join(cgroupRoot2, tree, cgroupRoot, "*"+short(dir), "*"))
		for _, group := range groups {
			if info, err := os.Stat(group); err == nil && info.IsDir() {
				l.Groups++
			}
		}
	}
	return l
}

// Starts and ends of sidecars in all the ways there are leave nothing behind.
// AGENTCLOUD_SIDECAR_CYCLES says how many.
func TestSidecarsLeaveNothingBehind(t *testing.T) {
	cycles := 100
	if n, err := strconv.Atoi(os.Getenv("AGENTCLOUD_SIDECAR_CYCLES")); err == nil {
		cycles = n
	}
	r := sidecarRuntime(t)
	mark := id.Instance.New()
	lines := newLogs(r.options, deployments.Launch{})
	defer lines.close()
	var running leftovers
	cycle(t, r, lines, mark, 0, func() { running = count(t, mark, r.options.Dir) }) // what is made once
	if running.Processes < 3 || running.Files == 0 || running.Sockets == 0 || running.Groups == 0 && r.box.groups != nil {
		t.Fatalf("while a sidecar runs there are %+v; what is counted must be there", running)
	}
	before, goroutines := count(t, mark, r.options.Dir), goruntime.NumGoroutine()
	begin := time.Now()
	for i := range cycles {
		cycle(t, r, lines, mark, i, func() {})
	}
	t.Logf("%d cycles took %s", cycles, time.Since(begin).Round(time.Millisecond))
	if after := count(t, mark, r.options.Dir); after != before || after.Processes+after.Files+after.Sockets+after.Groups != 0 {
		t.Errorf("after %d cycles there are %+v, before there were %+v", cycles, after, before)
	}
	if n := goruntime.NumGoroutine(); n > goroutines+3 {
		t.Errorf("there are %d goroutines, before there were %d", n, goroutines)
	}
}

func sidecarRuntime(t *testing.T) *Runtime {
	t.Helper()
	r, err := New(Options{
		Dir: t.TempDir(), Processes: 100, NewLineID: id.Line.New, Log: slog.New(slog.DiscardHandler), Now: time.Now,
		Publish:  func(context.Context, *busv1.LogBatch) error { return nil },
		Sidecars: SidecarOptions{MemoryBytes: 256 << 20, Files: 64, Idle: time.Hour},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

// cycle starts a version's two sidecars by their first calls, and ends them.
func cycle(t *testing.T, r *Runtime, lines *logs, mark string, i int, running func()) {
	t.Helper()
	v := &version{key: key{"app", "ver"}, logs: lines, launch: deployments.Launch{
		Artifact: &builderv1.Artifact{AppPath: "/"}, Document: agentenv.Launch{InstanceID: fmt.Sprintf("ins-%d", i)},
		Sidecars: map[string]deployments.Sidecar{
			"shared": {Shared: true, Command: agentenv.Command{Command: "/bin/sh", Args: []string{"-c", stubbornServer}, Env: map[string]string{"MARK": mark}}},
		},
	}}
	if err := r.openSidecars(v); err != nil {
		t.Fatal(err)
	}
	c := dial(t, v.launch.Document.Sidecars, "shared")
	c.call(1, "initialize")
	c.call(2, "tools/call")
	running()
	switch i % 4 {
	case 1: // the client goes first
		_ = c.Close()
	case 2: // the machine kills the server
		if pid := int(v.describeSidecars()[0].GetPid()); pid > 0 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	case 3: // all rest, and begin again
		v.sidecars.Rest()
		again := dial(t, v.launch.Document.Sidecars, "shared")
		again.call(1, "initialize")
		_ = again.Close()
	}
	v.sidecars.Close()
	_ = c.Close()
}

type sidecarClient struct {
	t *testing.T
	net.Conn
	in *bufio.Reader
}

func dial(t *testing.T, to *agentenv.Sidecars, server string) *sidecarClient {
	t.Helper()
	folder, err := os.Open(filepath.Dir(to.Socket)) // the path may be too long
	if err != nil {
		t.Fatal(err)
	}
	defer folder.Close() //nolint:errcheck // only a way
	socket, err := net.Dial("unix", fmt.Sprintf("/proc/self/fd/%d/%s", folder.Fd(), filepath.Base(to.Socket)))
	if err != nil {
		t.Fatal(err)
	}
	_ = socket.SetDeadline(time.Now().Add(20 * time.Second))
	c := &sidecarClient{t, socket, bufio.NewReader(socket)}
	_ = json.NewEncoder(socket).Encode(agentenv.SidecarHello{Token: to.Token, Server: server})
	if answer := c.read(); strings.Contains(answer, "error") {
		t.Fatal(answer)
	}
	return c
}

func (c *sidecarClient) read() string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("read: %v", err)
	}
	return line
}

func (c *sidecarClient) call(n int, method string) {
	c.t.Helper()
	_, _ = fmt.Fprintf(c, `{"jsonrpc":"2.0","id":%d,"method":%q}`+"\n", n, method)
	if got, want := c.read(), fmt.Sprintf(`"id":%d,"result"`, n); !strings.Contains(got, want) {
		c.t.Fatalf("%s = %s", method, got)
	}
}

// Sidecars live as long as a process of their version is kept, through its restarts.
func TestSidecarsEndWithTheLastProcessOfTheirVersion(t *testing.T) {
	t.Parallel()
	r := sidecarRuntime(t)
	environment := t.TempDir()
	script, err := filepath.Abs("testdata/python")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(environment, "bin"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(script, filepath.Join(environment, "bin", "python")); err != nil {
		t.Fatal(err)
	}
	mark := id.Instance.New()
	launch := deployments.Launch{
		TargetID: "app", VersionID: "ver", Artifact: &builderv1.Artifact{AppPath: t.TempDir(), EnvironmentPath: environment, Entry: "main.py"},
		Document: agentenv.Launch{TargetID: "app", VersionID: "ver", InstanceID: mark, DrainSeconds: 1, Settings: map[string]any{"behaviour": "well"}},
		Sidecars: map[string]deployments.Sidecar{
			"box": {Shared: true, Command: agentenv.Command{Command: "/bin/sh", Args: []string{"-c", stubbornServer}, Env: map[string]string{"MARK": mark}}},
		},
	}
	if err := r.Apply(t.Context(), launch); err != nil {
		t.Fatal(err)
	}
	ready(t, r)
	to := r.find("app", "ver").launch.Document.Sidecars
	c := dial(t, to, "box")
	c.call(1, "initialize")
	agents := r.Agents("app")
	box := agents[len(agents)-1]
	if box.GetRole() != "sidecar" || box.GetServer() != "box" || box.GetInstanceId() != mark || box.GetVersionId() != "ver" || box.GetPid() == 0 {
		t.Fatalf("Agents() ends with %v", box)
	}
	for _, a := range agents {
		if a.GetRole() == string(agentenv.RoleServer) && a.GetPid() > 0 {
			_ = syscall.Kill(int(a.GetPid()), syscall.SIGKILL)
		}
	}
	for deadline := time.Now().Add(20 * time.Second); restarts(r) == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server was not started again")
		}
	}
	ready(t, r)
	c.call(2, "tools/call")
	for _, role := range []agentenv.Role{agentenv.RoleWorker, agentenv.RoleServer} {
		if err := r.Stop(t.Context(), "app", "ver", role); err != nil {
			t.Fatal(err)
		}
	}
	if l := count(t, mark, r.options.Dir); l.Processes != 0 {
		t.Errorf("after the end of both processes there are %+v", l)
	}
	if err := r.Remove(t.Context(), "app", "ver"); err != nil {
		t.Fatal(err)
	}
	if l := count(t, mark, r.options.Dir); l.Processes != 0 || l.Files != 0 || l.Sockets != 0 || l.Groups != 0 {
		t.Errorf("after Remove() there are %+v", l)
	}
}

// ready waits until the version's server is.
func ready(t *testing.T, r *Runtime) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		look, _ := r.Look("app", "ver")
		if look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("the server is %+v", look.Server)
		}
	}
}

// restarts is how often the server was started again.
func restarts(r *Runtime) (n int32) {
	for _, a := range r.Agents("app") {
		if a.GetRole() == string(agentenv.RoleServer) {
			n = a.GetRestarts()
		}
	}
	return n
}

func TestGranted(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ asked, usual, most, want int64 }{
		"nothing said":              {0, 0, 0, 0},
		"the usual":                 {0, 5, 9, 5},
		"asked for":                 {7, 5, 9, 7},
		"more than an agent has":    {11, 5, 9, 9},
		"no bound but the agent's":  {0, 0, 9, 9},
		"the usual is too much":     {0, 10, 9, 9},
		"agents have no bound":      {11, 5, 0, 11},
		"nor has what was asked of": {0, 5, 0, 5},
	}
	for desc, tt := range tests {
		if got := granted(tt.asked, tt.usual, tt.most); got != tt.want {
			t.Errorf("%s: granted(%d, %d, %d) = %d, want %d", desc, tt.asked, tt.usual, tt.most, got, tt.want)
		}
	}
}

func TestASidecarHasBoundsOfItsOwn(t *testing.T) {
	t.Parallel()
	r := sidecarRuntime(t)
	if r.box.groups == nil {
		t.Skip("this machine has no cgroups for us")
	}
	lines := newLogs(r.options, deployments.Launch{})
	defer lines.close()
	v := &version{key: key{"app", "ver"}, logs: lines, launch: deployments.Launch{
		Artifact: &builderv1.Artifact{AppPath: "/"}, Document: agentenv.Launch{InstanceID: "ins-bounds"},
		Sidecars: map[string]deployments.Sidecar{
			"greedy": {Shared: true, MemoryBytes: 64 << 20, Command: agentenv.Command{Command: "/bin/sh", Args: []string{"-c", "read -r line; exec tail /dev/zero"}}},
		},
	}}
	if err := r.openSidecars(v); err != nil {
		t.Fatal(err)
	}
	defer v.sidecars.Close()
	c := dial(t, v.launch.Document.Sidecars, "greedy")
	_, _ = fmt.Fprintln(c, `{"jsonrpc":"2.0","id":1,"method":"initialize"}`)
	if got := c.read(); !strings.Contains(got, "the MCP server greedy does not start: it used more than 64 MiB of memory (memory_mb of sidecars.greedy in agentcloud.yaml") {
		t.Errorf("initialize = %s", got)
	}
}
