package flow

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
)

// ActivityPolicy is how a tool's body is run; it travels in the run's memo, so that
// a run keeps the policy it began with.
type ActivityPolicy struct {
	StartToClose time.Duration `json:"start_to_close"`
	Heartbeat    time.Duration `json:"heartbeat"`
	// MaxTries bounds what crashes of the agent may repeat. Errors of the tool itself
	// are bounded by the host, which makes the last one final.
	MaxTries int32 `json:"max_tries"`
}

// toolResult is what a finished run shows, like a workflow result of the agents' own SDK.
type toolResult struct {
	Kind      string          `json:"kind"`
	Value     json.RawMessage `json:"value"`
	Metadata  struct{}        `json:"metadata"`
	StartTime *float64        `json:"start_time"`
	EndTime   *float64        `json:"end_time"`
}

// RunTool is the workflow of every tool: its body runs as one activity in the
// agent's server, is tried again when the agent dies, and its value is the result.
func RunTool(ctx workflow.Context, args converter.EncodedValues) (any, error) {
	tool, ok := agentenv.ToolOfWorkflow(workflow.GetInfo(ctx).WorkflowType.Name)
	if !ok {
		return nil, temporal.NewNonRetryableApplicationError("this queue runs tools only", "NoSuchWorkflow", nil)
	}
	var input converter.RawValue
	if err := args.Get(&input); err != nil {
		return nil, temporal.NewNonRetryableApplicationError("a tool takes one object of arguments", "BadArguments", err)
	}
	queue, policy, err := toolMemo(ctx)
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError("the run was started without a tools queue", "BadMemo", err)
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: queue, StartToCloseTimeout: policy.StartToClose, HeartbeatTimeout: policy.Heartbeat,
		RetryPolicy: &temporal.RetryPolicy{
			InitialInterval: time.Second, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second, MaximumAttempts: policy.MaxTries,
		},
	})
	var value converter.RawValue
	if err := workflow.ExecuteActivity(ctx, agentenv.ToolActivity(tool), input).Get(ctx, &value); err != nil {
		return nil, err
	}
	encoded, err := jsonOf(value.Payload())
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError("the tool's value cannot be shown", "BadResult", err)
	}
	return toolResult{Kind: "workflow_result", Value: encoded}, nil
}

// toolMemo reads what the starter of the run said.
func toolMemo(ctx workflow.Context) (queue string, policy ActivityPolicy, err error) {
	memo := workflow.GetInfo(ctx).Memo.GetFields()
	if err := fromMemo(memo[MemoToolsQueue], &queue); err != nil {
		return "", policy, err
	}
	return queue, policy, fromMemo(memo[MemoActivity], &policy)
}

func fromMemo(payload *commonpb.Payload, v any) error {
	if payload == nil {
		return fmt.Errorf("a memo field is missing")
	}
	return converter.GetDefaultDataConverter().FromPayload(payload, v)
}

// jsonOf is a payload's content as JSON, whatever its encoding.
func jsonOf(p *commonpb.Payload) (json.RawMessage, error) {
	encoding := string(p.GetMetadata()[converter.MetadataEncoding])
	switch {
	case p == nil, encoding == converter.MetadataEncodingNil:
		return json.RawMessage("null"), nil
	case strings.HasPrefix(encoding, "json/"):
		return p.GetData(), nil
	case encoding == converter.MetadataEncodingBinary:
		return json.Marshal(base64.StdEncoding.EncodeToString(p.GetData()))
	}
	return nil, fmt.Errorf("unknown encoding %q", encoding)
}
