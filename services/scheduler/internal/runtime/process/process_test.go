package process_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	builderv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/builder/v1"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/agentinit"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/commandhost"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/runtimetest"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) {
	agentinit.Main() // this program is also the agents' first process
	commandhost.Main()
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir, os.Getenv(victimEnvironment))
	}
	temporaltest.Main(m)
}

const memory = 256 << 20

// published are the log lines that came through.
type published struct {
	mu    sync.Mutex
	lines []*busv1.LogLine
}

func (p *published) take(_ context.Context, batch *busv1.LogBatch) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lines = append(p.lines, batch.GetLines()...)
	return nil
}

func (p *published) all() []*busv1.LogLine {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]*busv1.LogLine{}, p.lines...)
}

// alone starts each agent as a process of its own.
var alone process.ZygoteOptions

func newRuntime(t *testing.T, lines *published, zygotes process.ZygoteOptions, log io.Writer) *process.Runtime {
	t.Helper()
	return newRuntimeIn(t, t.TempDir(), lines, zygotes, log)
}

func newRuntimeIn(t *testing.T, dir string, lines *published, zygotes process.ZygoteOptions, log io.Writer) *process.Runtime {
	t.Helper()
	r, err := process.New(process.Options{
		Dir: dir, Init: initOf(t, dir), MemoryBytes: memory, Processes: 200, Publish: lines.take, NewLineID: id.Line.New,
		Log: slog.New(slog.NewTextHandler(log, nil)), Now: time.Now, Zygotes: zygotes,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), runtimetest.Patience)
		defer cancel()
		if err := r.Close(ctx); err != nil {
			t.Errorf("Close() = %v", err)
		}
	})
	return r
}

// initOf is the small program, in the folder of a test that has it there.
func initOf(t *testing.T, dir string) string {
	t.Helper()
	program := filepath.Join(dir, "agentinit")
	if _, err := os.Stat(program); err != nil {
		return ""
	}
	return program
}

// launch makes a version whose interpreter is the fake agent itself.
func launch(t *testing.T, behaviour string) deployments.Launch {
	t.Helper()
	return launchIn(t, newEnvironment(t), behaviour)
}

func newEnvironment(t *testing.T) string {
	t.Helper()
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
	return environment
}

func launchIn(t *testing.T, environment, behaviour string) deployments.Launch {
	t.Helper()
	target, version := id.App.New(), id.Version.New()
	return deployments.Launch{
		TargetID: target, AppID: target, OrgID: id.Org.New(), VersionID: version,
		Artifact: &builderv1.Artifact{AppPath: t.TempDir(), EnvironmentPath: environment, Entry: "main.py"},
		Document: agentenv.Launch{
			TargetID: target, VersionID: version, InstanceID: id.Instance.New(), DrainSeconds: 1,
			Settings: map[string]any{"behaviour": behaviour, "secret": "hidden"},
		},
	}
}

func TestProcesses(t *testing.T) {
	t.Parallel()
	for name, zygotes := range map[string]process.ZygoteOptions{"started": alone, "forked": {Max: 2, Idle: time.Minute}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			runtimetest.Run(t, func(t *testing.T) runtimetest.Subject {
				lines := &published{}
				r := newRuntime(t, lines, zygotes, t.Output())
				return runtimetest.Subject{
					Runtime: r, Launch: func(behaviour string) deployments.Launch { return launch(t, behaviour) },
					Kill: func(l deployments.Launch) { kill(t, r, l) }, Left: left, Lines: lines.all, Limited: os.Geteuid() == 0,
				}
			})
		})
	}
}

// kill returns when the process is gone: one that is dying may still take a caller
// from the socket, and down with it.
func kill(t *testing.T, r *process.Runtime, l deployments.Launch) {
	t.Helper()
	for _, a := range r.Agents(l.TargetID) {
		if a.GetRole() != string(agentenv.RoleServer) {
			continue
		}
		pid := int(a.GetPid())
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(runtimetest.Patience); syscall.Kill(pid, 0) == nil; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("a killed process is there still")
			}
		}
	}
}

// left are the processes whose arguments name the target: only the grandchild's do.
func left(targetID string) []string {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []string
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err == nil && bytes.Contains(raw, []byte(targetID)) && !strings.Contains(file, "/"+strconv.Itoa(os.Getpid())+"/") {
			found = append(found, file)
		}
	}
	return found
}

func TestAClosedRuntimeStartsNothing(t *testing.T) {
	t.Parallel()
	r := newRuntime(t, &published{}, alone, t.Output())
	if err := r.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Apply(t.Context(), launch(t, "well")); err == nil {
		t.Error("Apply() after Close() = nil")
	}
}
