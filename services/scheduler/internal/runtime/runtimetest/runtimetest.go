// Package runtimetest is what every runtime must do, as a suite. A driver's own test
// calls Run with a Subject that starts agents of its kind.
package runtimetest

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
)

// Patience is how long anything may take.
const Patience = 30 * time.Second

// Subject is a runtime under test.
type Subject struct {
	Runtime deployments.Runtime
	// Launch makes a version whose agent behaves in a named way: "well", "exits",
	// "fails", "stubborn", "greedy", "children", "chatty", "replays". It answers a history
	// of type "Hangs" never, and ends at one of type "Ends".
	Launch func(behaviour string) deployments.Launch
	// Kill ends the server of a version as the machine would, and returns when it is gone.
	Kill func(l deployments.Launch)
	// Left lists what still runs of a target.
	Left func(targetID string) []string
	// Lines are the log lines that were published.
	Lines func() []*busv1.LogLine
	// Limited says that agents have bounds of memory.
	Limited bool
}

const ready = schedulerv1.AgentState_AGENT_STATE_READY

// Run is the suite; fresh makes a Subject for each test.
func Run(t *testing.T, fresh func(t *testing.T) Subject) {
	for name, test := range map[string]func(*testing.T, Subject){
		"starts once and answers":            answers,
		"the same address after a crash":     crash,
		"ends again and again":               crashLoop,
		"a start that fails is told":         failure,
		"stop ends one role":                 stop,
		"roles start one by one":             oneByOne,
		"several processes of a role":        several,
		"one that ignores its end is killed": stubborn,
		"grandchildren end too":              grandchildren,
		"lines are kept and bounded":         chatty,
		"too much memory":                    greedy,
		"news are told":                      watch,
		"a replay answers and ends":          replay,
		"a replay that hangs or ends early":  badReplay,
		"a worker replays beside its work":   workerReplays,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
		})
	}
}

// report is what the fake agent says of itself.
type report struct {
	PID       int               `json:"pid"`
	Env       map[string]string `json:"env"`
	Argv      []string          `json:"argv"`
	Home      bool              `json:"home"`
	Secret    string            `json:"secret"`
	Processes []string          `json:"processes"`
}

func ask(t *testing.T, url string) report {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("the agent does not answer: %v", err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	raw, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	var r report
	if err := json.Unmarshal(raw, &r); err != nil {
		t.Fatalf("the agent answers %s", raw)
	}
	return r
}

// start applies a version and waits until its server is so.
func start(t *testing.T, s Subject, behaviour string, want func(deployments.Look) bool) (deployments.Launch, deployments.Look) {
	t.Helper()
	l := s.Launch(behaviour)
	if err := s.Runtime.Apply(t.Context(), l); err != nil {
		t.Fatalf("Apply() = %v", err)
	}
	return l, await(t, s, l, want)
}

func await(t *testing.T, s Subject, l deployments.Launch, want func(deployments.Look) bool) deployments.Look {
	t.Helper()
	var look deployments.Look
	eventually(t, func() bool {
		var known bool
		look, known = s.Runtime.Look(l.TargetID, l.VersionID)
		return known && want(look)
	}, func() any { return look })
	return look
}

func isReady(l deployments.Look) bool { return l.Server.State == ready && l.Worker.NotNeeded }

func eventually(t *testing.T, check func() bool, last func() any) {
	t.Helper()
	for deadline := time.Now().Add(Patience); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s; at last: %+v", Patience, last())
		}
	}
}

func remove(t *testing.T, s Subject, l deployments.Launch) {
	t.Helper()
	if err := s.Runtime.Remove(t.Context(), l.TargetID, l.VersionID); err != nil {
		t.Errorf("Remove() = %v", err)
	}
	eventually(t, func() bool { return len(s.Left(l.TargetID)) == 0 }, func() any { return s.Left(l.TargetID) })
	if _, known := s.Runtime.Look(l.TargetID, l.VersionID); known {
		t.Error("a removed version is known still")
	}
}

func answers(t *testing.T, s Subject) {
	l, look := start(t, s, "well", isReady)
	if err := s.Runtime.Apply(t.Context(), l); err != nil {
		t.Errorf("second Apply() = %v", err)
	}
	first := ask(t, look.ServerURL)
	if again := ask(t, look.ServerURL); again.PID != first.PID {
		t.Error("a second Apply started it again")
	}
	if first.Secret != "hidden" || !first.Home {
		t.Errorf("the agent was not told all: %+v", first)
	}
	for name, value := range first.Env {
		if strings.Contains(value, "hidden") {
			t.Errorf("the variable %s has a secret in it", name)
		}
	}
	if strings.Contains(strings.Join(first.Argv, " "), "hidden") {
		t.Error("an argument has a secret in it")
	}
	if look.Server.Report.AppName != "fake" {
		t.Errorf("report = %+v", look.Server.Report)
	}
	agents := s.Runtime.Agents(l.TargetID)
	if len(agents) != 2 || agents[0].GetInstanceId() != l.Document.InstanceID {
		t.Errorf("Agents() = %v", agents)
	}
	remove(t, s, l)
}

func crash(t *testing.T, s Subject) {
	l, look := start(t, s, "well", isReady)
	target := l.TargetID
	_ = ask(t, look.ServerURL)
	s.Kill(l)
	// Callers wait at the socket while nobody is there to answer.
	_ = ask(t, look.ServerURL)
	// The answer may be here before the news of the crash.
	await(t, s, l, func(l deployments.Look) bool { return isReady(l) && restarts(s, target) == 1 })
	remove(t, s, l)
}

func restarts(s Subject, target string) (n int32) {
	for _, agent := range s.Runtime.Agents(target) {
		n += agent.GetRestarts()
	}
	return n
}

func crashLoop(t *testing.T, s Subject) {
	l, look := start(t, s, "exits", func(l deployments.Look) bool { return l.Server.Failed })
	if !strings.Contains(look.Server.Reason, "exit code 3") || !strings.Contains(look.Server.Detail, "out of paper") {
		t.Errorf("reason = %q, detail = %q", look.Server.Reason, look.Server.Detail)
	}
	if look.Server.Exit != "exit code 3" || look.Server.PeakMemory <= 0 || !strings.Contains(look.Server.Output, "out of paper") {
		t.Errorf("exit %q, memory %d, output %q", look.Server.Exit, look.Server.PeakMemory, look.Server.Output)
	}
	remove(t, s, l)
}

func failure(t *testing.T, s Subject) {
	l, look := start(t, s, "fails", func(l deployments.Look) bool { return l.Server.Failed })
	if look.Server.Reason != "main.py raised ValueError: no" || look.Server.Detail != "Traceback: no" {
		t.Errorf("reason = %q, detail = %q", look.Server.Reason, look.Server.Detail)
	}
	remove(t, s, l)
}

func stop(t *testing.T, s Subject) {
	l, _ := start(t, s, "well", isReady)
	if err := s.Runtime.Stop(t.Context(), l.TargetID, l.VersionID, agentenv.RoleServer); err != nil {
		t.Errorf("Stop() = %v", err)
	}
	look, known := s.Runtime.Look(l.TargetID, l.VersionID)
	if !known || look.Server.State != schedulerv1.AgentState_AGENT_STATE_STOPPED {
		t.Errorf("Look() = %+v, %t", look, known)
	}
	eventually(t, func() bool { return said(s, "drained") }, func() any { return "the drain was not said" })
	remove(t, s, l)
}

func stubborn(t *testing.T, s Subject) {
	l, _ := start(t, s, "stubborn", isReady)
	remove(t, s, l)
}

func grandchildren(t *testing.T, s Subject) {
	l, _ := start(t, s, "children", isReady)
	eventually(t, func() bool { return len(s.Left(l.TargetID)) > 0 }, func() any { return "the grandchild does not run" })
	remove(t, s, l)
}

func chatty(t *testing.T, s Subject) {
	l, _ := start(t, s, "chatty", isReady)
	eventually(t, func() bool { return said(s, "hello") }, func() any { return len(s.Lines()) })
	remove(t, s, l)
	var lines, dropped int64
	for _, line := range s.Lines() {
		lines, dropped = lines+1, dropped+line.GetDroppedBefore()
		if len(line.GetMessage()) > agentenv.MaxLine+100 {
			t.Errorf("a line has %d bytes", len(line.GetMessage()))
		}
		if line.GetMessage() == "hello" && (line.GetRunId() != "r1" || line.GetLevel() != busv1.LogLevel_LOG_LEVEL_WARNING || line.GetFieldsJson() != `{"a":1}`) {
			t.Errorf("line = %v", line)
		}
	}
	if lines+dropped < 50_000 {
		t.Errorf("%d lines and %d dropped: some are not accounted for", lines, dropped)
	}
}

func greedy(t *testing.T, s Subject) {
	if !s.Limited {
		t.Skip("this machine gives agents no bound of memory")
	}
	l, look := start(t, s, "greedy", func(l deployments.Look) bool { return l.Server.Failed })
	if !strings.Contains(look.Server.Reason, "memory") {
		t.Errorf("reason = %q", look.Server.Reason)
	}
	remove(t, s, l)
}

func watch(t *testing.T, s Subject) {
	ctx, cancel := context.WithCancel(t.Context())
	told, done := make(chan string, 1000), make(chan error, 1)
	go func() { done <- s.Runtime.Watch(ctx, func(target, version string) { told <- target + "/" + version }) }()
	l, _ := start(t, s, "well", isReady)
	select {
	case got := <-told:
		if got != l.TargetID+"/"+l.VersionID {
			t.Errorf("told of %s", got)
		}
	case <-time.After(Patience):
		t.Error("nothing was told")
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Watch() = %v", err)
	}
	remove(t, s, l)
}

func said(s Subject, text string) bool {
	for _, line := range s.Lines() {
		if line.GetMessage() == text {
			return true
		}
	}
	return false
}

func histories(types ...string) []agentenv.History {
	var all []agentenv.History
	for i, kind := range types {
		all = append(all, agentenv.History{RunID: strconv.Itoa(i), Type: kind, Events: []byte("x")})
	}
	return all
}

func replay(t *testing.T, s Subject) {
	l := s.Launch("well")
	l.Document.Histories = histories("A", "B")
	got, err := s.Runtime.Replay(t.Context(), l)
	want := []agentenv.Replay{{RunID: "0", Verdict: agentenv.VerdictOK}, {RunID: "1", Verdict: agentenv.VerdictOK}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("Replay() = %v (-want +got):\n%s", err, diff)
	}
	if _, known := s.Runtime.Look(l.TargetID, l.VersionID); known {
		t.Error("a replay is taken for a version that runs")
	}
	if left := s.Left(l.TargetID); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

func badReplay(t *testing.T, s Subject) {
	l := s.Launch("well")
	l.Document.Histories = histories("A", "Ends", "B")
	if got, err := s.Runtime.Replay(t.Context(), l); len(got) != 1 || !fault.Conflict.Is(err) {
		t.Errorf("Replay() of one that ends = %v, %v; want one answer and a conflict", got, err)
	}
	l = s.Launch("well")
	l.Document.Histories = histories("A", "Hangs")
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	if got, err := s.Runtime.Replay(ctx, l); len(got) != 1 || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Replay() of one that hangs = %v, %v; want one answer and the end of patience", got, err)
	}
	l = s.Launch("fails")
	l.Document.Histories = histories("A")
	if _, err := s.Runtime.Replay(t.Context(), l); !fault.Conflict.Is(err) || !strings.Contains(fault.Message(err), "main.py raised ValueError: no") {
		t.Errorf("Replay() of code that does not load = %v", err)
	}
}

func workerReplays(t *testing.T, s Subject) {
	for kind, answers := range map[string]int{"B": 2, "Ends": 1} {
		l := s.Launch("replays")
		l.Document.Histories = histories("A", kind)
		if err := s.Runtime.Apply(t.Context(), l); err != nil {
			t.Fatalf("Apply() = %v", err)
		}
		var look deployments.Look
		eventually(t, func() bool {
			look, _ = s.Runtime.Look(l.TargetID, l.VersionID)
			return look.Worker.State == ready && look.Worker.Replaying == 0
		}, func() any { return look.Worker })
		if len(look.Worker.Replays) != answers {
			t.Errorf("histories A and %s: %v, want %d answers", kind, look.Worker.Replays, answers)
		}
		remove(t, s, l)
	}
}
