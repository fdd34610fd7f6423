package flow

import (
	"cmp"
	"fmt"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/workflow"

	"github.com/mcpagentcloud/agentcloud/pkg/agentenv"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/payloads"
)

// ActivityPolicy is how a tool's body is run; it travels in the run's memo, so that
// a run keeps the policy it began with.
//
// How long one try may take is not in it: the agent's host keeps that limit, for it
// knows when the body waits for a person.
type ActivityPolicy struct {
	Heartbeat time.Duration `json:"heartbeat"`
	// MaxTries bounds what crashes of the agent may repeat. Errors of the tool itself
	// are bounded by the host, which makes the last one final.
	MaxTries int32 `json:"max_tries"`

	// ScheduleToClose bounds all tries with the waits between them; 0: nothing does.
	ScheduleToClose time.Duration `json:"schedule_to_close,omitempty"`
	// InitialInterval, Backoff and MaxInterval are the wait after the first failed try, how
	// much longer each is than the one before, and its bound; 0: 1 s, 2, 30 s.
	InitialInterval time.Duration `json:"initial_interval,omitempty"`
	Backoff         float64       `json:"backoff,omitempty"`
	MaxInterval     time.Duration `json:"max_interval,omitempty"`
	// NonRetryable are types of errors after which no try follows.
	NonRetryable []string `json:"non_retryable,omitempty"`
}

// retry is the policy in Temporal's words.
func (p ActivityPolicy) retry() *temporal.RetryPolicy {
	longest := cmp.Or(p.MaxInterval, max(30*time.Second, p.InitialInterval))
	return &temporal.RetryPolicy{
		InitialInterval: min(cmp.Or(p.InitialInterval, time.Second), longest), BackoffCoefficient: cmp.Or(p.Backoff, 2),
		MaximumInterval: longest, MaximumAttempts: p.MaxTries, NonRetryableErrorTypes: p.NonRetryable,
	}
}

// outOfReach is a limit that Temporal insists on. A person may take for ever; a body
// whose process has died is found by its missing heartbeat.
const outOfReach = 10 * 365 * 24 * time.Hour

// RunTool is the workflow of every tool: its body runs as one activity in the
// agent's server, is tried again when the agent dies, and its value is the result.
// Large values pass through here as claims.
func RunTool(ctx workflow.Context, args converter.EncodedValues) (any, error) {
	tool, ok := agentenv.ToolOfWorkflow(workflow.GetInfo(ctx).WorkflowType.Name)
	if !ok {
		return nil, temporal.NewNonRetryableApplicationError("this queue runs tools only", "NoSuchWorkflow", nil)
	}
	var input converter.RawValue
	if err := args.Get(&input); err != nil {
		return nil, temporal.NewNonRetryableApplicationError("a tool takes one object of arguments", "BadArguments", err)
	}
	place, err := toolPlace(ctx)
	if err != nil {
		return nil, err
	}
	queue, policy := place.Queue, place.Policy
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{
		TaskQueue: queue, StartToCloseTimeout: outOfReach, ScheduleToCloseTimeout: policy.ScheduleToClose,
		HeartbeatTimeout: policy.Heartbeat, RetryPolicy: policy.retry(),
	})
	var value converter.RawValue
	if err := workflow.ExecuteActivity(ctx, agentenv.ToolActivity(tool), input).Get(ctx, &value); err != nil {
		return nil, err
	}
	wrapped, err := payloads.Wrap(value.Payload())
	if err != nil {
		return nil, temporal.NewNonRetryableApplicationError("the tool's value cannot be shown", "BadResult", err)
	}
	return converter.NewRawValue(wrapped), nil
}

// ToolPlace is where the body of a tool runs, and how.
type ToolPlace struct {
	Queue     string         `json:"queue"`
	VersionID string         `json:"version_id"`
	Policy    ActivityPolicy `json:"policy"`
}

// toolPlace is what the starter of the run said. A schedule says nothing, since it
// lives longer than a version: its runs ask for the one that is live when they begin.
func toolPlace(ctx workflow.Context) (place ToolPlace, err error) {
	memo := workflow.GetInfo(ctx).Memo.GetFields()
	if memo[MemoSchedule] != nil {
		return beginScheduled(ctx)
	}
	if err = fromMemo(memo[MemoToolsQueue], &place.Queue); err == nil {
		err = fromMemo(memo[MemoActivity], &place.Policy)
	}
	if err != nil {
		return place, temporal.NewNonRetryableApplicationError("the run was started without a tools queue", "BadMemo", err)
	}
	return place, nil
}

func beginScheduled(ctx workflow.Context) (place ToolPlace, err error) {
	target, _ := workflow.GetTypedSearchAttributes(ctx).GetKeyword(temporal.NewSearchAttributeKeyKeyword(TargetAttribute))
	local := workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: heartbeat,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 300 * time.Millisecond, BackoffCoefficient: 2, MaximumInterval: 30 * time.Second},
	})
	if err := workflow.ExecuteLocalActivity(local, BeginScheduled, target).Get(ctx, &place); err != nil {
		return place, err
	}
	// The version is not retired while it has open runs, which are found by this.
	return place, workflow.UpsertTypedSearchAttributes(ctx, temporal.NewSearchAttributeKeyKeyword(VersionAttribute).ValueSet(place.VersionID))
}

func fromMemo(payload *commonpb.Payload, v any) error {
	if payload == nil {
		return fmt.Errorf("a memo field is missing")
	}
	return converter.GetDefaultDataConverter().FromPayload(payload, v)
}
