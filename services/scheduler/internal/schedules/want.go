package schedules

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/mcpagentcloud/agentcloud/pkg/fault"
	schedulerv1 "github.com/mcpagentcloud/agentcloud/proto/agentcloud/scheduler/v1"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/priorities"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/runs"
	"github.com/mcpagentcloud/agentcloud/services/scheduler/internal/store"
)

// want is a schedule as Temporal should have it.
type want struct {
	action *client.ScheduleWorkflowAction
	times  *client.ScheduleSpec
	policy *client.SchedulePolicies
	limit  int64
	digest string
}

// want says how a schedule of a version should be, whose runs take a share. It fails
// with fault.NotFound when the version has no such workflow, with fault.Invalid, and
// with fault.Denied when the share does not allow the priority.
func (s *Service) want(t store.Target, v store.Version, name string, spec *schedulerv1.ScheduleSpec, share priorities.Share) (want, error) {
	w := want{limit: spec.GetLimit()}
	var err error
	if w.times, err = times(spec); err != nil {
		return w, err
	}
	if w.policy, err = policies(spec); err != nil {
		return w, err
	}
	action, err := s.deps.Runs.Action(t, v, runs.Scheduled{
		Schedule: name, Name: spec.GetWorkflow(), ArgumentsJSON: spec.GetArgumentsJson(), Share: share, Priority: spec.GetPriority(),
	})
	if err != nil {
		return w, err
	}
	o := action.Options
	w.action = &client.ScheduleWorkflowAction{
		ID: o.ID, Workflow: action.Type, Args: action.Payloads, TaskQueue: o.TaskQueue,
		WorkflowExecutionTimeout: o.WorkflowExecutionTimeout, WorkflowRunTimeout: o.WorkflowRunTimeout, WorkflowTaskTimeout: o.WorkflowTaskTimeout,
		RetryPolicy: o.RetryPolicy, Memo: o.Memo, TypedSearchAttributes: o.TypedSearchAttributes, Priority: o.Priority,
	}
	w.digest, err = digest(action, spec)
	return w, err
}

// digest tells a wanted schedule from others, so that a deploy that changes nothing
// about it does not touch it: Temporal takes what is due before an update for settled.
func digest(a runs.Action, spec *schedulerv1.ScheduleSpec) (string, error) {
	asked, err := proto.MarshalOptions{Deterministic: true}.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("encode specification: %w", err)
	}
	var payloads [][]byte
	for _, p := range a.Payloads {
		if raw, ok := p.(converter.RawValue); ok {
			payloads = append(payloads, raw.Payload().GetData())
		}
	}
	o := a.Options
	text, err := json.Marshal([]any{
		asked, a.Type, payloads, o.TaskQueue, o.Memo, o.RetryPolicy, o.Priority,
		[]time.Duration{o.WorkflowExecutionTimeout, o.WorkflowRunTimeout, o.WorkflowTaskTimeout, usualCatchup},
	})
	if err != nil {
		return "", fmt.Errorf("encode action: %w", err)
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:]), nil
}

// live finds the version that serves. It fails with fault.Unavailable when none does.
func (s *Service) live(ctx context.Context, t store.Target) (store.Version, error) {
	if t.Live == "" {
		return store.Version{}, fault.Unavailable.Errorf("this app has no live version; deploy it first")
	}
	return s.deps.Store.Version(ctx, t.Live)
}
