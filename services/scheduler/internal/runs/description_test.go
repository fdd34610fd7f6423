package runs

import (
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/converter"

	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/flow"
)

func TestWhoAndHowEarlyInLists(t *testing.T) {
	t.Parallel()
	fields := func(key string, value any) map[string]*commonpb.Payload {
		p, err := converter.GetDefaultDataConverter().ToPayload(value)
		if err != nil {
			t.Fatal(err)
		}
		return map[string]*commonpb.Payload{key: p}
	}
	caller := &commonpb.SearchAttributes{IndexedFields: fields(flow.CallerAttribute, "u_1")}
	for desc, tt := range map[string]struct {
		info     *workflowpb.WorkflowExecutionInfo
		by       string
		priority int32
	}{
		"a usual run":          {&workflowpb.WorkflowExecutionInfo{SearchAttributes: caller}, "u_1", 3},
		"an urgent one":        {&workflowpb.WorkflowExecutionInfo{SearchAttributes: caller, Memo: &commonpb.Memo{Fields: fields(flow.MemoPriority, 1)}}, "u_1", 1},
		"described":            {&workflowpb.WorkflowExecutionInfo{Priority: &commonpb.Priority{PriorityKey: 5}}, "", 5},
		"a child":              {&workflowpb.WorkflowExecutionInfo{ParentExecution: &commonpb.WorkflowExecution{RunId: "r"}}, "", 0},
		"from before the name": {&workflowpb.WorkflowExecutionInfo{Memo: &commonpb.Memo{Fields: fields(flow.MemoStartedBy, "u_0")}}, "u_0", 3},
	} {
		if by, priority := startedBy(tt.info), priorityOf(tt.info); by != tt.by || priority != tt.priority {
			t.Errorf("%s: by %q with priority %d, want %q and %d", desc, by, priority, tt.by, tt.priority)
		}
	}
}
