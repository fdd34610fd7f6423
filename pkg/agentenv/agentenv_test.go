package agentenv_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

func TestLaunchWire(t *testing.T) {
	t.Parallel()
	launch := agentenv.Launch{
		Role: agentenv.RoleWorker, AppDir: "/app", Entry: "main.py", TargetID: "app_1", AppName: "finder",
		Temporal: &agentenv.Temporal{Address: "127.0.0.1:1", Namespace: "org_1", TaskQueue: "app_1", ToolsQueue: "app_1/ver_1/tools"},
		Activity: agentenv.Activity{StartToCloseSeconds: 600, HeartbeatSeconds: 30, MaxErrorAttempts: 3},
	}
	text, err := json.Marshal(launch)
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"role": "worker", "app_dir": "/app", "entry": "main.py", "target_id": "app_1", "app_id": "", "org_id": "", "version_id": "",
		"instance_id": "", "app_name": "finder", "gateway": map[string]any{},
		"temporal": map[string]any{"address": "127.0.0.1:1", "namespace": "org_1", "task_queue": "app_1", "tools_queue": "app_1/ver_1/tools"},
		"activity": map[string]any{"start_to_close_seconds": 600.0, "heartbeat_seconds": 30.0, "max_error_attempts": 3.0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("launch document (-want +got):\n%s", diff)
	}
}

func TestParseStatus(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		line string
		want agentenv.Status
		bad  bool
	}{
		"ready":         {line: `{"state":"ready","kind":"fastmcp","tools":["add"],"host_ms":5}`, want: agentenv.Status{State: agentenv.StateReady, Kind: agentenv.KindFastMCP, Tools: []string{"add"}, HostMS: 5}},
		"failed":        {line: `{"state":"failed","reason":"main.py is missing"}`, want: agentenv.Status{State: agentenv.StateFailed, Reason: "main.py is missing"}},
		"replayed":      {line: `{"state":"replayed","replay":{"run_id":"r","verdict":"non-deterministic","event_id":5,"expected":"timer","got":"activity a"}}`, want: agentenv.Status{State: agentenv.StateReplayed, Replay: &agentenv.Replay{RunID: "r", Verdict: agentenv.VerdictDifferent, EventID: 5, Expected: "timer", Got: "activity a"}}},
		"replayed what": {line: `{"state":"replayed"}`, bad: true},
		"unknown state": {line: `{"state":"odd"}`, bad: true},
		"not JSON":      {line: `hello`, bad: true},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			got, err := agentenv.ParseStatus([]byte(tt.line))
			if (err != nil) != tt.bad {
				t.Fatalf("ParseStatus(%s) = %v, want an error: %v", tt.line, err, tt.bad)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("ParseStatus(%s) (-want +got):\n%s", tt.line, diff)
			}
		})
	}
}

func TestParseLogLine(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	tests := map[string]struct {
		line string
		want agentenv.LogLine
	}{
		"whole":        {line: `{"ts":"2025-01-01T00:00:00.5Z","level":"ERROR","logger":"x","msg":"m","run_id":"r","attempt":2}`, want: agentenv.LogLine{TS: time.Date(2025, 1, 1, 0, 0, 0, 5e8, time.UTC), Level: "ERROR", Logger: "x", Msg: "m", RunID: "r", Attempt: 2}},
		"message only": {line: `{"msg":"m"}`, want: agentenv.LogLine{TS: now, Level: "INFO", Msg: "m"}},
		"other levels": {line: `{"msg":"m","level":"warn"}`, want: agentenv.LogLine{TS: now, Level: "WARNING", Msg: "m"}},
		"empty text":   {line: `{"msg":""}`, want: agentenv.LogLine{TS: now, Level: "INFO"}},
		"not JSON":     {line: "panic: x\n", want: agentenv.LogLine{TS: now, Level: "INFO", Logger: "agent", Msg: "panic: x"}},
		"other JSON":   {line: `{"a":1}`, want: agentenv.LogLine{TS: now, Level: "INFO", Logger: "agent", Msg: `{"a":1}`}},
		"bad UTF-8":    {line: "a\xffb", want: agentenv.LogLine{TS: now, Level: "INFO", Logger: "agent", Msg: "a\uFFFDb"}},
	}
	for desc, tt := range tests {
		t.Run(desc, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(tt.want, agentenv.ParseLogLine([]byte(tt.line), now)); diff != "" {
				t.Errorf("ParseLogLine(%s) (-want +got):\n%s", tt.line, diff)
			}
		})
	}
	want := agentenv.LogLine{TS: now, Level: "ERROR", Logger: "stderr", Msg: "boom"}
	if diff := cmp.Diff(want, agentenv.OutputLine(2, []byte("boom\n"), now)); diff != "" {
		t.Errorf("OutputLine(2, boom) (-want +got):\n%s", diff)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	if got, want := agentenv.ToolsQueue("app_1", "ver_2"), "app_1/ver_2/tools"; got != want {
		t.Errorf("ToolsQueue = %q, want %q", got, want)
	}
	if tool, ok := agentenv.ToolOfWorkflow(agentenv.ToolWorkflow("add")); tool != "add" || !ok {
		t.Errorf("ToolOfWorkflow(ToolWorkflow(add)) = %q, %v, want add, true", tool, ok)
	}
	if tool, ok := agentenv.ToolOfActivity(agentenv.ToolActivity("add")); tool != "add" || !ok {
		t.Errorf("ToolOfActivity(ToolActivity(add)) = %q, %v, want add, true", tool, ok)
	}
	if _, ok := agentenv.ToolOfWorkflow("EchoWorkflow"); ok {
		t.Error("ToolOfWorkflow(EchoWorkflow) = _, true, want false")
	}
}
