package deployments_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.temporal.io/api/workflowservice/v1"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/pkg/id"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

const failed = schedulerv1.DeployOutcome_DEPLOY_OUTCOME_FAILED

func TestAWorkerAnswersASignalBeforeItsVersionIsLive(t *testing.T) {
	w := newWorld(t)
	w.agents.workflows, w.agents.roundTrip = []string{"Wait"}, true
	v := id.Version.New()
	w.worker(t, v)
	began := time.Now()
	res, err := w.deployments.Deploy(t.Context(), &schedulerv1.DeployRequest{
		TargetId: w.app, AppId: w.app, OrgId: w.org, VersionId: v, Number: 1, BundleId: id.Bundle.New(), AppName: "demo",
	})
	if err != nil || res.GetOutcome() != live {
		t.Fatalf("Deploy() = %v, %v", res, err)
	}
	t.Logf("live after %s", time.Since(began).Round(time.Millisecond))
	c, err := w.namespaces.Client(t.Context(), w.org)
	if err != nil {
		t.Fatal(err)
	}
	d, err := c.DescribeWorkflowExecution(t.Context(), flow.RoundTripID(v), "")
	if err != nil || d.GetWorkflowExecutionInfo().GetVersioningInfo().GetDeploymentVersion().GetBuildId() != v {
		t.Fatalf("the round trip's run = %v, %v; want it on %s", d, err, v)
	}
	counted, err := c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: flow.TargetAttribute + " = '" + w.app + "'"})
	if err != nil || counted.GetCount() != 0 {
		t.Errorf("the app has %d runs, %v; want none", counted.GetCount(), err)
	}
}

func TestAWorkerThatDoesNotAnswerFailsTheDeploy(t *testing.T) {
	w := newWorldWithin(t, 3*time.Second)
	w.agents.workflows, w.agents.roundTrip, w.agents.output = []string{"Wait"}, true, "out of paper"
	res := w.deploy(t, "")
	want := "the app's worker polls, but a run that waits for a signal did not end within 3s\n" +
		"The last lines of the worker:\nout of paper\nfailing step: signal to the worker and back"
	if diff := cmp.Diff(want, res.GetError()); diff != "" {
		t.Errorf("Deploy() = %v (-want +got):\n%s", res, diff)
	}
}

func TestBothTransportsAreAskedOfPythonServers(t *testing.T) {
	w := newWorld(t)
	w.agents.deaf = errors.New("the stream ended without an answer")
	w.agents.kind = agentenv.KindNode
	if res := w.deploy(t, ""); res.GetOutcome() != live {
		t.Errorf("Deploy() of a Node server = %v", res)
	}
	w.agents.kind = agentenv.KindFastMCP
	want := "did not answer as it should: the stream ended without an answer\nfailing step: handshake with the MCP server by SSE"
	if res := w.deploy(t, ""); !strings.HasSuffix(res.GetError(), want) {
		t.Errorf("Deploy() = %v, want %q", res, want)
	}
}

func TestNamesOfTheCloudAreNoWorkflowsOfAnApp(t *testing.T) {
	w := newWorld(t)
	w.agents.workflows = []string{"Wait", "agentcloud.mine"}
	if res := w.deploy(t, ""); res.GetOutcome() != failed || !strings.Contains(res.GetError(), `"agentcloud.mine" must have another name`) {
		t.Errorf("Deploy() = %v", res)
	}
}

func TestSmokeCalls(t *testing.T) {
	w := newWorld(t)
	w.agents.capture = store.Capture{ToolsJSON: `{"tools":[{"name":"add"},{"name":"grow"}]}`}
	w.agents.answer, w.agents.output = `{"content":[{"type":"text","text":"3"}],"structuredContent":{"result":[3,{"ok":true}]}}`, "adding"
	for _, tt := range []struct {
		name, file, want string // empty: it goes live
	}{
		{"any answer", "smoke:\n- tool: add\n", ""},
		{"all fits", "smoke:\n- tool: add\n  arguments: {a: 1}\n  expect: {contains: '3', equals: 3}\n- tool: add\n  expect: {path: result.1.ok, equals: true}\n", ""},
		{
			"another answer", "smoke:\n- tool: add\n- tool: add\n  arguments: {a: 1}\n  expect: {equals: 4}\n",
			"the smoke call add {\"a\":1} was not answered as agentcloud.yaml expects: the answer should be 4\nWhat came: 3\n" +
				"The last lines of the server:\nadding\nfailing step: smoke call 2 of 2 (agentcloud.yaml line 3)",
		},
		{"no error", "smoke:\n- tool: add\n  expect: {is_error: true}\n", "an error was expected, and none came"},
		{"no such part", "smoke:\n- tool: add\n  expect: {path: result.7, equals: 3}\n", `What came: {"result":[3,{"ok":true}]}`},
		{"no such tool", "smoke:\n- tool: sub\n", `agentcloud.yaml line 2: smoke.0.tool: this app has no tool "sub"; it has: add, grow`},
		{"an async tool", "smoke:\n- tool: grow\n", `smoke.0.tool: the tool "grow" only begins a run`},
	} {
		res := w.deploy(t, tt.file)
		if got := res.GetOutcome(); (got == live) != (tt.want == "") || !strings.Contains(res.GetError(), tt.want) {
			t.Errorf("%s: Deploy() = %v, want %q", tt.name, res, tt.want)
		}
	}
	if want := []string{"add ", `add {"a":1}`, "add "}; len(w.agents.calls) < 3 || cmp.Diff(want, w.agents.calls[:3]) != "" {
		t.Errorf("calls = %q, want %q first", w.agents.calls, want)
	}
}
