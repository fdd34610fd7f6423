package namespaces_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/client"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/namespaces"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/temporaltest"
)

func TestMain(m *testing.M) { temporaltest.Main(m) }

func TestANewNamespaceIsUsableAtOnce(t *testing.T) {
	t.Parallel()
	directory, org := temporaltest.Directory(t), temporaltest.Org()
	begin := time.Now()
	c, err := directory.Client(t.Context(), org)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("new namespace usable after %s", time.Since(begin))
	_, err = c.ExecuteWorkflow(t.Context(), client.StartWorkflowOptions{ID: "w", TaskQueue: "q"}, "W")
	if err != nil {
		t.Fatalf("start in the new namespace: %v", err)
	}
	_, err = c.CountWorkflow(t.Context(), &workflowservice.CountWorkflowExecutionsRequest{Query: flow.TargetAttribute + " = 'app_1'"})
	if err != nil {
		t.Fatalf("count by our own attribute: %v", err)
	}
	described, err := c.WorkflowService().DescribeNamespace(t.Context(), &workflowservice.DescribeNamespaceRequest{Namespace: org})
	if aliases := described.GetConfig().GetCustomSearchAttributeAliases(); err != nil || aliases["Keyword01"] != flow.TargetAttribute || aliases["Keyword02"] != flow.CallerAttribute {
		t.Errorf("the attributes are in %v, %v; the server's indexes are for the app in Keyword01 and the caller in Keyword02", aliases, err)
	}
	again, err := directory.Client(t.Context(), org)
	if err != nil || again != c {
		t.Errorf("Client() again = %v, %v; want the same", again, err)
	}
	directory.Forget(org)
	if _, err := directory.Client(t.Context(), org); err != nil {
		t.Errorf("Client() of a namespace that is there = %v", err)
	}
}

func TestTemporalIsAway(t *testing.T) {
	t.Parallel()
	directory, err := namespaces.New(namespaces.Config{Address: "127.0.0.1:1", Retention: time.Hour, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatalf("New() while Temporal is away = %v", err)
	}
	t.Cleanup(directory.Close)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if err := directory.Check(ctx); !fault.Unavailable.Is(err) {
		t.Errorf("Check() = %v, want unavailable", err)
	}
	if _, err := directory.Client(ctx, "org_1"); !fault.Unavailable.Is(err) {
		t.Errorf("Client() = %v, want unavailable", err)
	}
}
