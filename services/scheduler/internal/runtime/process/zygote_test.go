package process_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
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
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/runtimetest"
)

var few = process.ZygoteOptions{Max: 2, Idle: time.Minute}

// told is what the fake agent says of itself.
type told struct {
	PID    int               `json:"pid"`
	Env    map[string]string `json:"env"`
	Argv   []string          `json:"argv"`
	Secret string            `json:"secret"`
	Forked bool              `json:"forked"`
	Drawn  []any             `json:"drawn"`
	Files  map[string]string `json:"files"`
}

// journal is a log that can be read meanwhile.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(p)
}

func (j *journal) count(text string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return strings.Count(j.text.String(), text)
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root may give agents namespaces, into which they are forked")
	}
}

func eventually(t *testing.T, what string, check func() bool) {
	t.Helper()
	for deadline := time.Now().Add(runtimetest.Patience); !check(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", runtimetest.Patience, what)
		}
	}
}

// up applies a version, waits for its server and asks it.
func up(t *testing.T, r *process.Runtime, l deployments.Launch) told {
	t.Helper()
	if err := r.Apply(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	return asked(t, r, l)
}

func asked(t *testing.T, r *process.Runtime, l deployments.Launch) told {
	t.Helper()
	eventually(t, "the agent is ready", func() bool {
		look, _ := r.Look(l.TargetID, l.VersionID)
		return look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY && look.Worker.NotNeeded
	})
	look, _ := r.Look(l.TargetID, l.VersionID)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, look.ServerURL, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	var answer told
	if err := json.NewDecoder(res.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	return answer
}

// zygotesOf are the zygotes of an environment that live.
func zygotesOf(environment string) []int {
	var found []int
	for _, pid := range processesOf(environment) {
		arguments, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err == nil && bytes.HasSuffix(arguments, []byte("zygote\x00")) {
			found = append(found, pid)
		}
	}
	return found
}

// theZygote is the one of an environment; who delivers a fork has its name for a moment.
func theZygote(t *testing.T, environment string) int {
	t.Helper()
	var found []int
	eventually(t, "there is one zygote", func() bool {
		found = zygotesOf(environment)
		return len(found) == 1
	})
	return found[0]
}

// processesOf are those that were started with an environment's interpreter.
func processesOf(environment string) []int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	var found []int
	for _, file := range files {
		raw, err := os.ReadFile(file)
		pid, _ := strconv.Atoi(strings.Split(file, "/")[2])
		if err == nil && bytes.Contains(raw, []byte(environment)) && pid != os.Getpid() {
			found = append(found, pid)
		}
	}
	return found
}

func TestForksShareNothing(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newRuntime(t, &published{}, few, t.Output())
	environment := newEnvironment(t)
	one, two := launchIn(t, environment, "well"), launchIn(t, environment, "well")
	one.Document.Settings["secret"], two.Document.Settings["secret"] = "first", "second"
	a, b := up(t, r, one), up(t, r, two)
	plain := up(t, newRuntime(t, &published{}, alone, t.Output()), launchIn(t, environment, "well"))
	if !a.Forked || !b.Forked || plain.Forked {
		t.Fatalf("forked: %t, %t, and without zygotes %t", a.Forked, b.Forked, plain.Forked)
	}
	if a.Secret != "first" || b.Secret != "second" {
		t.Errorf("secrets = %q, %q", a.Secret, b.Secret)
	}
	for i := range a.Drawn {
		if a.Drawn[i] == b.Drawn[i] {
			t.Errorf("both drew %v", a.Drawn[i])
		}
	}
	for _, l := range []struct {
		told
		home string
	}{{a, one.Document.InstanceID + "-server"}, {b, two.Document.InstanceID + "-server"}} {
		if !strings.HasSuffix(l.Env["HOME"], filepath.Join(l.home, "home")) {
			t.Errorf("HOME = %q, want that of %s", l.Env["HOME"], l.home)
		}
		if len(l.Env) != len(plain.Env) {
			t.Errorf("environment = %v, without a zygote %v", l.Env, plain.Env)
		}
		// Standard ones, those of the contract but for the document that it has read, and the connection that asks.
		if len(l.Files) != 7 {
			t.Errorf("descriptors = %v", l.Files)
		}
		if got, want := l.Argv[len(l.Argv)-1], "server"; got != want {
			t.Errorf("argv = %v", l.Argv)
		}
	}
	zygote := theZygote(t, environment)
	for _, file := range []string{"environ", "cmdline"} {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", zygote, file))
		if err != nil || bytes.Contains(raw, []byte("first")) || bytes.Contains(raw, []byte(one.Document.InstanceID)) {
			t.Errorf("the zygote's %s tells of its forks: %q, %v", file, raw, err)
		}
	}
	eventually(t, "the zygote has no children", func() bool {
		raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", zygote, zygote))
		return err == nil && len(raw) == 0
	})
}

func TestAgentsOutliveTheirZygote(t *testing.T) {
	t.Parallel()
	needRoot(t)
	log := &journal{}
	r := newRuntime(t, &published{}, few, io.MultiWriter(log, t.Output()))
	environment := newEnvironment(t)
	one, two := launchIn(t, environment, "well"), launchIn(t, environment, "well")
	before := up(t, r, one)
	zygote := theZygote(t, environment)
	if err := syscall.Kill(zygote, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the zygote's end is noticed", func() bool { return log.count("a zygote ended by itself") == 1 })
	if after := asked(t, r, one); after.PID != before.PID {
		t.Error("the agent was started again")
	}
	if !up(t, r, two).Forked || theZygote(t, environment) == zygote {
		t.Error("there is no new zygote")
	}
	kill(t, r, one)
	if !asked(t, r, one).Forked {
		t.Error("an agent that ended was not forked again")
	}
}

func TestWithoutAZygoteAgentsAreStarted(t *testing.T) {
	t.Parallel()
	needRoot(t)
	for name, spoil := range map[string]func(environment string) (process.ZygoteOptions, error){
		"imports fail": func(environment string) (process.ZygoteOptions, error) {
			return few, os.WriteFile(filepath.Join(environment, "barren"), nil, 0o600)
		},
		"too much memory": func(string) (process.ZygoteOptions, error) {
			return process.ZygoteOptions{Max: 1, MemoryBytes: 1 << 20, Idle: time.Minute}, nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			environment := newEnvironment(t)
			zygotes, err := spoil(environment)
			if err != nil {
				t.Fatal(err)
			}
			log := &journal{}
			r := newRuntime(t, &published{}, zygotes, io.MultiWriter(log, t.Output()))
			for range 2 {
				if up(t, r, launchIn(t, environment, "well")).Forked {
					t.Error("the agent was forked")
				}
			}
			if n := log.count("are started one by one"); n != 1 {
				t.Errorf("said %d times", n)
			}
			if left := zygotesOf(environment); len(left) > 0 {
				t.Errorf("a zygote is left: %v", left)
			}
		})
	}
}

func TestCodeThatCannotBeForkedIsStarted(t *testing.T) {
	t.Parallel()
	needRoot(t)
	lines := &published{}
	r := newRuntime(t, lines, few, t.Output())
	if up(t, r, launch(t, "unforkable")).Forked {
		t.Error("the agent was forked")
	}
	lines.saidOnce(t, "the database is away")
}

// saidOnce waits until a line of the server is in the log and looks whether it is there once.
func (p *published) saidOnce(t *testing.T, text string) {
	t.Helper()
	count := func() (n int) {
		for _, line := range p.all() {
			if line.GetMessage() == text && line.GetSource() == busv1.LogSource_LOG_SOURCE_SERVER {
				n++
			}
		}
		return n
	}
	eventually(t, "the line is in the log", func() bool { return count() > 0 })
	if n := count(); n != 1 {
		t.Errorf("%q is in the log %d times", text, n)
	}
}

func TestAStartThatFailsTwiceIsToldOnce(t *testing.T) {
	t.Parallel()
	needRoot(t)
	lines := &published{}
	r := newRuntime(t, lines, few, t.Output())
	l := launch(t, "fails")
	if err := r.Apply(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the start has failed", func() bool {
		look, _ := r.Look(l.TargetID, l.VersionID)
		return look.Server.Failed
	})
	if err := r.Remove(t.Context(), l.TargetID, l.VersionID); err != nil { // all lines are in the log then
		t.Fatal(err)
	}
	lines.saidOnce(t, "the database is away")
}

func TestZygotesAreBounded(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newRuntime(t, &published{}, few, t.Output())
	var environments []string
	for range 3 {
		environments = append(environments, newEnvironment(t))
	}
	living := func() (n []int) {
		for _, e := range environments {
			n = append(n, len(zygotesOf(e)))
		}
		return n
	}
	// The second is used last when the third needs a place.
	for _, i := range []int{0, 1, 0, 1, 2} {
		if !up(t, r, launchIn(t, environments[i], "well")).Forked {
			t.Errorf("an agent of environment %d was not forked", i)
		}
	}
	eventually(t, "the zygote used least recently goes, and no other", func() bool { return slices.Equal(living(), []int{0, 1, 1}) })
	if err := r.Close(t.Context()); err != nil {
		t.Errorf("Close() = %v", err)
	}
	for _, e := range environments {
		if left := processesOf(e); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	}
}

func TestIdleZygotesGo(t *testing.T) {
	t.Parallel()
	needRoot(t)
	r := newRuntime(t, &published{}, process.ZygoteOptions{Max: 1, Idle: 100 * time.Millisecond}, t.Output())
	environment := newEnvironment(t)
	l := launchIn(t, environment, "well")
	first := up(t, r, l)
	eventually(t, "an idle zygote goes", func() bool { return len(zygotesOf(environment)) == 0 })
	if again := asked(t, r, l); !first.Forked || again.PID != first.PID {
		t.Error("its agent went, too")
	}
}

// The victim is a program with agents that is killed.
const victimDir, victimEnvironment = "AGENTCLOUD_TEST_VICTIM", "AGENTCLOUD_TEST_VICTIM_ENVIRONMENT"

func victim(dir, environment string) {
	lines := &published{}
	r, err := process.New(process.Options{Dir: dir, Publish: lines.take, NewLineID: id.Line.New, Log: slog.New(slog.DiscardHandler), Now: time.Now, Zygotes: few})
	if err != nil {
		panic(err)
	}
	target, version := id.App.New(), id.Version.New()
	err = r.Apply(context.Background(), deployments.Launch{
		TargetID: target, VersionID: version,
		Artifact: &builderv1.Artifact{AppPath: "/", EnvironmentPath: environment},
		Document: agentenv.Launch{TargetID: target, InstanceID: id.Instance.New(), Settings: map[string]any{"behaviour": "children"}},
	})
	if err != nil {
		panic(err)
	}
	for {
		if look, _ := r.Look(target, version); look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY {
			fmt.Println(target)
			select {}
		}
		time.Sleep(time.Millisecond)
	}
}

func TestNothingOutlivesAKilledRuntime(t *testing.T) {
	t.Parallel()
	needRoot(t)
	environment := newEnvironment(t)
	cmd := exec.Command(os.Args[0]) //nolint:gosec // this test
	cmd.Env = append(os.Environ(), victimDir+"="+t.TempDir(), victimEnvironment+"="+environment)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	target, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Errorf("the victim did not begin: %v", err)
	}
	target = strings.TrimSpace(target)
	_ = theZygote(t, environment)
	if len(left(target)) == 0 {
		t.Error("there is no grandchild")
	}
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	eventually(t, "all of it has ended", func() bool { return len(processesOf(environment)) == 0 && len(left(target)) == 0 })
}

// Without root there are no namespaces; who delivers a fork then stays to keep it.
func TestForksWithoutNamespaces(t *testing.T) {
	t.Parallel()
	needRoot(t) // to become somebody else
	const nobody = 65534
	dir, err := os.MkdirTemp("", "nobody") //nolint:usetesting // t.TempDir is in a folder of root's
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chown(dir, nobody, nobody); err != nil {
		t.Fatal(err)
	}
	// Not its crash: there the agent outlives its first process for the moment until its keeper knows.
	suite := "^(starts_once_and_answers|ends_again_and_again|stop_ends_one_role|one_that_ignores_its_end_is_killed|grandchildren_end_too|a_replay_answers_and_ends)$"
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.v", "-test.run", "^TestProcesses$/^forked$/"+suite) //nolint:gosec // this test
	cmd.Env = append(os.Environ(), "TMPDIR="+dir, "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS: TestProcesses/forked/")) != strings.Count(suite, "|")+1 {
		t.Errorf("as nobody: %v\n%s", err, out)
	}
	if !bytes.Contains(out, []byte("a zygote is ready")) {
		t.Errorf("nothing was forked:\n%s", out)
	}
}
