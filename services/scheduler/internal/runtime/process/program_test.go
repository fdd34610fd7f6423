package process_test

import (
	"context"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	busv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/bus/v1"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/deployments"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/process"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runtime/runtimetest"
)

// launchProgram makes a version that is no Python app.
func launchProgram(t *testing.T, args ...string) deployments.Launch {
	t.Helper()
	l := launch(t, "")
	l.Artifact.EnvironmentPath = ""
	l.Document.Program = &agentenv.Program{Kind: agentenv.KindCommand, Args: args, Transport: agentenv.TransportStdio}
	return l
}

func lookUntil(t *testing.T, r *process.Runtime, l deployments.Launch, ok func(deployments.Look) bool) deployments.Look {
	t.Helper()
	for deadline := time.Now().Add(runtimetest.Patience); ; time.Sleep(5 * time.Millisecond) {
		look, _ := r.Look(l.TargetID, l.VersionID)
		if ok(look) {
			return look
		}
		if time.Now().After(deadline) {
			t.Fatalf("it never came: %+v", look)
		}
	}
}

func TestAProgramThatIsNoPythonApp(t *testing.T) {
	t.Parallel()
	server, err := filepath.Abs("../../../../../examples/command/server.py")
	if err != nil {
		t.Fatal(err)
	}
	lines := &published{}
	r := newRuntime(t, lines, alone, t.Output())
	l := launchProgram(t, "python3", server, "made-for-"+launch(t, "").TargetID)
	if err := r.Apply(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	look := lookUntil(t, r, l, func(look deployments.Look) bool {
		return look.Server.State == schedulerv1.AgentState_AGENT_STATE_READY && look.Worker.NotNeeded
	})
	if look.Server.Report.Kind != agentenv.KindCommand || look.Server.Report.AppName != "command" {
		t.Errorf("it says of itself %+v", look.Server.Report)
	}
	ctx, cancel := context.WithTimeout(t.Context(), runtimetest.Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, look.ServerURL+"/mcp", strings.NewReader(`{"jsonrpc":"2.0","id":1,"method":"initialize","params":{}}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close() //nolint:errcheck // read only
	if said, err := io.ReadAll(res.Body); err != nil || !strings.Contains(string(said), `"serverInfo"`) {
		t.Errorf("it answers %s, %v", said, err)
	}
	mark := l.Document.Program.Args[2]
	if len(left(mark)) == 0 {
		t.Error("there is no process of the session")
	}
	if err := r.Remove(t.Context(), l.TargetID, l.VersionID); err != nil {
		t.Fatal(err)
	}
	if still := left(mark); len(still) > 0 {
		t.Errorf("processes stay behind: %v", still)
	}
}

func TestAProgramThatDoesNotStart(t *testing.T) {
	t.Parallel()
	lines := &published{}
	r := newRuntime(t, lines, alone, t.Output())
	l := launchProgram(t, "/bin/sh", "-c", "echo no data base >&2; exit 3")
	if err := r.Apply(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	look := lookUntil(t, r, l, func(look deployments.Look) bool { return look.Server.Failed })
	if !strings.Contains(look.Server.Reason, "exit code 3") || !strings.Contains(look.Server.Detail, "no data base") {
		t.Errorf("it failed with %q and %q", look.Server.Reason, look.Server.Detail)
	}
	for deadline := time.Now().Add(runtimetest.Patience); ; time.Sleep(5 * time.Millisecond) {
		for _, line := range lines.all() {
			if line.GetMessage() == "no data base" && line.GetLevel() == busv1.LogLevel_LOG_LEVEL_INFO && line.GetLogger() == "stderr" {
				return
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("its words are not in the log: %v", lines.all())
		}
	}
}
