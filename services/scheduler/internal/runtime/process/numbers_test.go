package process_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

const (
	startRounds = 5
	// Awake agents whose memory is summed up, unless AGENTCLOUD_BENCH_AGENTS says otherwise.
	awakeAgents = 50
	benchLimit  = 2 * time.Minute
	mostShare   = 0.40
)

const toolApp = `from mcp_agent.app import MCPApp
app = MCPApp(name="bench")

@app.tool
def add(a: int, b: int) -> int:
    return a + b
`

const workflowApp = toolApp + `
from mcp_agent.executor.workflow import Workflow, WorkflowResult

@app.workflow
class Echo(Workflow[str]):
    @app.workflow_run
    async def run(self, text: str) -> WorkflowResult[str]:
        return WorkflowResult(value=text)
`

// bench starts agents of a real environment, that of the public command line.
type bench struct {
	*testing.T
	venv, namespace, address string
	forks, starts            *process.Runtime
	dirs                     map[*process.Runtime]string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	if os.Getenv("AGENTCLOUD_BENCH") == "" {
		t.Skip("AGENTCLOUD_BENCH=1 runs this")
	}
	needRoot(t)
	program, err := filepath.EvalSymlinks("../../../../../.bin/mcp-agent")
	if err != nil {
		t.Skipf("%v: `make setup` installs it", err)
	}
	b := &bench{T: t, venv: filepath.Dir(filepath.Dir(program)), namespace: temporaltest.Org()}
	b.address = temporaltest.Address(t)
	if _, err := temporaltest.Directory(t).Client(t.Context(), b.namespace); err != nil {
		t.Fatal(err)
	}
	of, on := t.TempDir(), t.TempDir()
	for _, dir := range []string{of, on} {
		build := exec.CommandContext(t.Context(), "go", "build", "-o", dir, "../../../cmd/agentinit") //nolint:gosec // a folder of the test's
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build: %v\n%s", err, out)
		}
	}
	b.forks = newRuntimeIn(t, of, &published{}, few, t.Output())
	b.starts = newRuntimeIn(t, on, &published{}, alone, t.Output())
	b.dirs = map[*process.Runtime]string{b.forks: of, b.starts: on}
	return b
}

func (b *bench) launch(code string) deployments.Launch {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "main.py"), []byte(code), 0o600); err != nil {
		b.Fatal(err)
	}
	target, version := id.App.New(), id.Version.New()
	return deployments.Launch{
		TargetID: target, AppID: target, VersionID: version,
		Artifact: &builderv1.Artifact{AppPath: dir, EnvironmentPath: b.venv, Entry: "main.py"},
		Document: agentenv.Launch{
			AppDir: dir, TargetID: target, VersionID: version, InstanceID: id.Instance.New(), AppName: "bench", DrainSeconds: 1,
			Temporal: &agentenv.Temporal{
				Address: b.address, Namespace: b.namespace, TaskQueue: agentenv.TaskQueue(target), ToolsQueue: agentenv.ToolsQueue(target, version),
				DeploymentName: target, BuildID: version,
			},
		},
	}
}

// start applies a version and returns how long its server and its worker took.
func (b *bench) start(r *process.Runtime, l deployments.Launch) (server, worker time.Duration) {
	began := time.Now()
	if err := r.Apply(b.Context(), l); err != nil {
		b.Fatal(err)
	}
	for {
		look, _ := r.Look(l.TargetID, l.VersionID)
		took := time.Since(began)
		if server == 0 && look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY {
			server = took
			b.answers(look.ServerURL)
		}
		if worker == 0 && (look.Worker.State == schedulerv1.AgentState_AGENT_STATE_READY || look.Worker.NotNeeded) {
			worker = took
		}
		if server > 0 && worker > 0 {
			return server, worker
		}
		if look.Server.Failed || look.Worker.Failed || took > benchLimit {
			b.Fatalf("not up after %s: %+v", took, look)
		}
		time.Sleep(time.Millisecond)
	}
}

func (b *bench) answers(url string) {
	res, err := http.Get(url + agentenv.HealthPath) //nolint:noctx // a benchmark
	if err != nil || res.StatusCode != http.StatusOK {
		b.Fatalf("GET %s = %v, %v", agentenv.HealthPath, res, err)
	}
	_ = res.Body.Close()
}

func (b *bench) remove(r *process.Runtime, l deployments.Launch) {
	if err := r.Remove(context.WithoutCancel(b.Context()), l.TargetID, l.VersionID); err != nil {
		b.Error(err)
	}
}

// TestStartNumbers measures a fork beside a start, by turns.
func TestStartNumbers(t *testing.T) {
	b := newBench(t)
	first := b.launch(toolApp)
	took, _ := b.start(b.forks, first)
	b.remove(b.forks, first)
	t.Logf("the first of its environment, whose zygote is started for it: %s", took.Round(time.Millisecond))
	servers, workers, spent := map[string][]time.Duration{}, map[string][]time.Duration{}, map[string]float64{}
	for range startRounds {
		for name, r := range map[string]*process.Runtime{"fork": b.forks, "start": b.starts} {
			l := b.launch(toolApp)
			server, _ := b.start(r, l)
			b.remove(r, l)
			l = b.launch(workflowApp)
			_, worker := b.start(r, l)
			for _, a := range r.Agents(l.TargetID) {
				spent[name] += a.GetCpuSeconds() / startRounds
			}
			b.remove(r, l)
			servers[name], workers[name] = append(servers[name], server), append(workers[name], worker)
		}
	}
	t.Logf("processor time of a server and a worker until both are up: forked %.2f s, started %.2f s", spent["fork"], spent["start"])
	for what, took := range map[string]map[string][]time.Duration{"to MCP's answer": servers, "to polling (its server beside it)": workers} {
		fork, start := took["fork"], took["start"]
		slices.Sort(fork)
		slices.Sort(start)
		t.Logf("%s: fork %s, at most %s; start %s, at most %s", what, middle(fork), fork[len(fork)-1].Round(time.Millisecond), middle(start), start[len(start)-1].Round(time.Millisecond))
		if 2*middle(fork) > middle(start) {
			t.Errorf("%s: a fork takes more than half of a start", what)
		}
	}
}

func middle(sorted []time.Duration) time.Duration {
	return sorted[len(sorted)/2].Round(time.Millisecond)
}

// TestMemoryNumbers sums the proportional memory of agents that are awake, zygote and
// first processes of namespaces included.
func TestMemoryNumbers(t *testing.T) {
	b := newBench(t)
	agents := awakeAgents
	if n, err := strconv.Atoi(os.Getenv("AGENTCLOUD_BENCH_AGENTS")); err == nil {
		agents = n
	}
	sum := func(r *process.Runtime) int64 {
		var all []deployments.Launch
		for range agents {
			l := b.launch(toolApp)
			b.start(r, l)
			all = append(all, l)
		}
		bytes := b.memory(b.dirs[r])
		for _, l := range all {
			b.remove(r, l)
		}
		return bytes
	}
	starts := sum(b.starts)
	forks := sum(b.forks)
	share := float64(forks) / float64(starts)
	t.Logf("%d agents awake: forked %d MB, started %d MB: %.0f %%", agents, forks>>20, starts>>20, 100*share)
	if share > mostShare {
		t.Errorf("%.0f %% of separate starts; the aim is %.0f %%", 100*share, 100*mostShare)
	}
}

// memory is the proportional set size of all processes of a runtime; their arguments name
// its folder.
func (b *bench) memory(dir string) (sum int64) {
	for _, pid := range processesOf(dir) {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if err != nil {
			continue // it has just ended
		}
		for lines := bufio.NewScanner(bytes.NewReader(raw)); lines.Scan(); {
			if rest, ok := strings.CutPrefix(lines.Text(), "Pss:"); ok {
				kib, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
				if err != nil {
					b.Fatal(err)
				}
				sum += kib << 10
			}
		}
	}
	return sum
}
